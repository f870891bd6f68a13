/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the recorder's own files share: its cold state and the functions between them. */
#ifndef PROFILER_RECORDER_BQLREC_PRIVATE_H
#define PROFILER_RECORDER_BQLREC_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include "bqlrec_sites.h"
#include "bqlrec_steps.h"

/* Offsets of the parts; the header repeats them for readers. */
enum {
    BQLREC_PAGE = 4096,
    BQLREC_LIVE_OFFSET = BQLREC_PAGE,
    BQLREC_SITES_OFFSET = 2 * BQLREC_PAGE,
    BQLREC_HANDOVER_OFFSET = BQLREC_SITES_OFFSET + (int)(BQLREC_SITES * sizeof(BqlRecSite)),
    BQLREC_ROWS_OFFSET = BQLREC_HANDOVER_OFFSET + (int)(BQLREC_HANDOVERS * sizeof(BqlRecHandover)),
    BQLREC_SPILL_OFFSET = BQLREC_ROWS_OFFSET + (int)(BQLREC_ROWS * sizeof(BqlRecRow)),
    BQLREC_THREADS_OFFSET = BQLREC_SPILL_OFFSET + (int)(BQLREC_ROWS * sizeof(BqlRecSpill)),
    BQLREC_BLAME_OFFSET = BQLREC_PAGE, /* in a thread block */
    BQLREC_EVENTS_OFFSET = BQLREC_BLAME_OFFSET + (int)(BQLREC_BLAMES * sizeof(BqlRecBlame)),
    BQLREC_THREAD_STRIDE = BQLREC_EVENTS_OFFSET + (int)(BQLREC_EVENTS * sizeof(BqlRecEvent)),
    BQLREC_QUEUES_OFFSET = BQLREC_THREADS_OFFSET + (int)BQLREC_THREADS * BQLREC_THREAD_STRIDE,
    BQLREC_FILE_SIZE = BQLREC_QUEUES_OFFSET + (int)(BQLREC_QUEUES * sizeof(BqlRecQueue)),
    BQLREC_ROW_CHUNK = 16 /* rows that get their pages at once */
};
_Static_assert(BQLREC_THREADS_OFFSET % BQLREC_PAGE == 0, "thread blocks start on a page");
_Static_assert(BQLREC_EVENTS_OFFSET % BQLREC_PAGE == 0, "event rings start on a page");

typedef struct BqlRecShared {
    pthread_mutex_t mutex; /* the tables' allocation; never held on a lock's path */
    BqlRec *next;          /* list of the process's recorders */
    pid_t pid;
    int fd;
    bool forked; /* in a child: the mapping is private memory, the file is the parent's */
    bool claimed;
    bool has_row_chunk[(BQLREC_ROWS + BQLREC_ROW_CHUNK - 1) / BQLREC_ROW_CHUNK];
    _Atomic uint64_t next_sync; /* ticks */
    uint64_t sync_interval;     /* ticks, about a second */
    char *path;
    BqlRecSelf *selves[BQLREC_THREADS];
    BqlRecSelf *lost;
} BqlRecShared;

/* bqlrec_file.c. Return a descriptor, or -1 with errno and err set. *path is allocated. */
int bqlrec_file_create(const char *explicit_path, uint32_t serial, char **path, char *err);
/* Give [offset, offset + size) of the file its pages, so that a store cannot raise SIGBUS. */
bool bqlrec_file_reserve(BqlRec *rec, size_t offset, size_t size);
void bqlrec_error(char *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* bqlrec_clock.c */
bool bqlrec_clock_has_invariant_tsc(void);
void bqlrec_clock_start(BqlRec *rec);
void bqlrec_clock_sync_if_due(BqlRec *rec, uint64_t now);

/* bqlrec_registry.c: the process's open recorders. */
int bqlrec_registry_add(BqlRec *rec); /* 0 or an errno */
void bqlrec_registry_remove(BqlRec *rec);
bool bqlrec_registry_has_path(const char *path);
/* Note that the calling thread uses rec, so that its end is noticed. False: out of memory. */
bool bqlrec_registry_link(BqlRec *rec, BqlRecSelf *self);
/* The calling thread's state for rec, or NULL. */
BqlRecSelf *bqlrec_registry_find(const BqlRec *rec);
void bqlrec_registry_unlink(const BqlRec *rec);

/* bqlrec_thread.c */
void bqlrec_thread_retire(BqlRec *rec, BqlRecSelf *self);
void bqlrec_thread_retire_all(BqlRec *rec);

#endif
