/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The recorder: times every acquisition of one lock into a shared-memory file (bqlrec_layout.h).
 * Depends on libc only. Two users: the VMM's own big lock, and a library preloaded into another
 * process whose lock it times. This header opens recorders and registers threads and call sites;
 * the steps that surround a lock operation are in bqlrec_steps.h.
 *
 * A recorder records one lock. A process may have several recorders, a thread may use several.
 * Nothing here ends the process: what cannot be recorded is counted in the header's *_lost.
 */
#ifndef PROFILER_RECORDER_BQLREC_H
#define PROFILER_RECORDER_BQLREC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bqlrec_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct BqlRec BqlRec;

#define BQLREC_ERR_SIZE 256

typedef struct BqlRecConfig {
    const char *path;    /* NULL: <pid>.bql in the default directory, see bqlrec_open() */
    const char *vm_name; /* shown to people; NULL: empty */
    uint32_t clock;      /* enum BqlRecClock; 0: invariant TSC, else CLOCK_MONOTONIC */
    bool start_disabled; /* record nothing until bqlrec_set_enabled(rec, true) */
} BqlRecConfig;

/*
 * Create the file and map it. config may be NULL. The default directory is
 * $XDG_RUNTIME_DIR/bqlscope, else $TMPDIR (or /tmp)/bqlscope-<uid>; it is created with mode 0700
 * and refused if it is a link, belongs to someone else or is open to others. At a path that was
 * given, a recording or an empty file is replaced by a new one, anything else is refused; links are
 * never followed. Returns NULL with errno set
 * and a one-line message in err (BQLREC_ERR_SIZE bytes; may be NULL).
 */
BqlRec *bqlrec_open(const BqlRecConfig *config, char *err);

/*
 * Mark the recording closed and unmap it. No thread may be between two steps on it or use it
 * afterwards; threads that stay registered are marked dead. NULL is ignored. In a forked child
 * the file is the parent's and is left alone.
 */
void bqlrec_close(BqlRec *rec, bool unlink_file);

/*
 * Mark the recording closed because the process ends, with threads that may still be between two
 * steps: what they do is not recorded any more, and everything stays mapped.
 */
void bqlrec_finish(BqlRec *rec);

const char *bqlrec_path(const BqlRec *rec);
void bqlrec_set_enabled(BqlRec *rec, bool enabled); /* [any thread] holds in progress finish */
bool bqlrec_is_enabled(const BqlRec *rec);
/* Take a new (ticks, monotonic, realtime) triple; readers derive the tick rate from it. */
void bqlrec_clock_sync(BqlRec *rec);
/* Ticks of the recording's clock, ordered after all earlier instructions. */
uint64_t bqlrec_ticks(const BqlRec *rec);

/*
 * Register the calling thread. Idempotent: a second call changes role and name. name NULL: the
 * OS name. Returns the thread's index in the table, or -1 (no slot or no space: its acquisitions
 * are counted as lost). A thread that never entered is registered on its first acquisition with
 * role "other". The thread's end is noticed without help; bqlrec_thread_exit() is for threads
 * that stop using the lock earlier.
 */
int bqlrec_thread_enter(BqlRec *rec, int role, const char *name);
void bqlrec_thread_exit(BqlRec *rec);

/* Intern a call site. region may be NULL. Returns its id, or 0 when the table is full. */
uint32_t bqlrec_site(BqlRec *rec, const char *file, uint32_t line, const char *func,
                     const char *region);

/* Reserve the recorder for one lock. False if it already serves one. */
bool bqlrec_claim(BqlRec *rec);
void bqlrec_unclaim(BqlRec *rec);

/* The mapped recording, for tests and tools inside the process. */
const BqlRecHeader *bqlrec_header(const BqlRec *rec);

#ifdef __cplusplus
}
#endif

#endif
