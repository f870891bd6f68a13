/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layout of a recording: the shared-memory file that a process keeps of its big lock.
 *
 * Rules
 *  1. Little endian, fixed-width types, no pointers; all offsets are bytes from the start of the
 *     file. A reader takes offsets, strides and capacities from the header, never from here, and
 *     refuses a file whose magic or version it does not know.
 *  2. The writer never waits for a reader. A reader maps the file read-only and retries.
 *  3. Times and durations are ticks of the clock that BqlRecHeader.clock_kind names. After a jump
 *     back of that clock (suspended host, migrated machine) counts and durations go on; instants
 *     from before and after it cannot be compared, and the calibration stays that of before.
 *  4. The file is sparse. What was never used reads as zeroes; "not in use" is all zeroes. Rows
 *     t in [threads_used, BQLREC_THREADS) and what lies above a high-water mark are holes: looking
 *     at a hole through a mapping raises SIGBUS when the file system is full, read(2) does not.
 *
 *   offset (header field)   what                                        written by
 *   0                       BqlRecHeader                                any thread, rarely
 *   live_offset             BqlRecLive                                  waiters, the lock's holder
 *   sites_offset            BqlRecSite[sites_capacity]                  interning thread, once
 *   handover_offset         BqlRecHandover[handover_capacity]           the lock's holder
 *   rows_offset             BqlRecRow[rows_capacity]                    the row's thread
 *   spill_offset            BqlRecSpill[rows_capacity]                  the row's thread, seldom
 *   threads_offset          threads_capacity blocks, threads_stride:    the block's thread
 *     + 0                     BqlRecThread
 *     + blame_offset          BqlRecBlame[blame_capacity]  (the first blames_used are in use)
 *     + events_offset         BqlRecEvent[events_capacity] (an overwriting ring)
 *   queues_offset           BqlRecQueue[queues_capacity]                whoever processes the queue
 *
 * Bit plan of `who`, which names a holder:  31..16 thread index + 1, 15..0 site id
 *   0 = nobody; thread part 0xffff = a thread that got no block (BQLREC_NO_THREAD).
 *
 * Conservation laws (ticks and counts are exact; per row unless said otherwise)
 *   acquisitions[lock] + [trylock] + [cond] = sum of the histogram of holds
 *   contended = sum of the histogram of waits; an uncontended wait is 0 and is stored nowhere, so
 *     a reader adds acquisitions - contended to bucket 0 to get the histogram of all waits
 *   sum of blocked_ticks <= hold_total
 *   sum of ticks over the thread's BqlRecBlame with waiter_site == site
 *     + handoff + unknown = wait_total
 *   per thread: acquisitions of all rows = events_head + events_lost;
 *     of these, ring slots hold the last min(events_head, events_capacity)
 * A row is updated after the unlock, in one seqcount section, so the laws hold for every
 * consistent copy of a row; a hold still in progress shows in BqlRecLive only. The laws that span
 * rows and a thread's blame table or ring hold for a copy taken while BqlRecThread.seq was even
 * and unchanged.
 */
#ifndef PROFILER_RECORDER_BQLREC_LAYOUT_H
#define PROFILER_RECORDER_BQLREC_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BQLREC_MAGIC UINT64_C(0x314345524c5142) /* the bytes "BQLREC1\0" */
#define BQLREC_VERSION 4u

#define BQLREC_THREADS 256u
#define BQLREC_SITES 1024u       /* site 0 is "(other)": what no other site has room for */
#define BQLREC_ROWS 4096u        /* row t < BQLREC_THREADS is thread t's row of site 0 */
#define BQLREC_EVENTS 16384u     /* per thread, power of two */
#define BQLREC_HANDOVERS 8192u   /* power of two */
#define BQLREC_BLAMES 1024u      /* per thread, power of two */
#define BQLREC_QUEUES 64u        /* disk queues, one for each placement they ever had */
#define BQLREC_NO_THREAD 0xfffeu /* thread index of a thread without a block */

#define BQLREC_WHO(thread, site) ((((uint32_t)(thread) + 1u) << 16) | (uint32_t)(site))
#define BQLREC_WHO_THREAD(who) (((who) >> 16) - 1u)
#define BQLREC_WHO_SITE(who) ((who) & 0xffffu)

/*
 * Histogram buckets, log-linear: a value below 8 is its own bucket; above, bucket
 * (e - 2) * 8 + ((v >> (e - 3)) & 7) where e is the position of v's highest set bit. So bucket
 * b >= 8 starts at (8 + b % 8) << (b / 8 - 1) and is 1 << (b / 8 - 1) wide: at most 12.5 % of its
 * value. The last bucket takes everything above.
 */
#define BQLREC_BUCKETS 360u /* up to 2^47 ticks */

/*
 * The two histograms of a row. As two plain arrays of 64-bit counts they would be nearly all of a
 * recording, nearly all zeroes, and what every reader copies every second. So a row has 16-bit
 * counts of the near buckets, which are values up to 2^26 ticks. Every 65536th sample of one of
 * them, and each sample above, is counted in the row's spill, which has a 64-bit place for each
 * bucket and lies elsewhere. A reader looks there only if the row's count of spills has changed.
 *
 *   bucket b of histogram h = spill.count[h][b] + near[h][b], if b < BQLREC_NEAR_BUCKETS
 *
 * Rejected: octaves of all rows side by side in the file, of which a reader copies those in use (a
 * few rows with long holds make it copy that octave of all), and octaves that get a place with
 * their first sample (the look-up of the place made an acquisition 3 ns slower).
 */
#define BQLREC_NEAR_BUCKETS 192u

enum BqlRecClock { BQLREC_CLOCK_TSC = 1, BQLREC_CLOCK_MONOTONIC = 2 /* one tick is 1 ns */ };

enum BqlRecRole {
    BQLREC_ROLE_OTHER = 0,
    BQLREC_ROLE_MAIN = 1,
    BQLREC_ROLE_VCPU = 2,
    BQLREC_ROLE_IOTHREAD = 3,
    BQLREC_ROLE_VNC = 4,
    BQLREC_ROLE_MIGRATION = 5,
    BQLREC_ROLE_WORKER = 6,
    BQLREC_ROLE_RCU = 7,
    BQLREC_ROLES = 8
};

/* Why a holder sleeps inside its hold. Column GIL also takes what bql_gil_waited() reports. */
enum BqlRecBlocked {
    BQLREC_BLOCKED_NONE = 0,
    BQLREC_BLOCKED_GIL = 1,
    BQLREC_BLOCKED_DRAIN = 2,
    BQLREC_BLOCKED_JOIN = 3,
    BQLREC_BLOCKED_FILE_IO = 4,
    BQLREC_BLOCKED_STOP_VCPUS = 5,
    BQLREC_BLOCKED_COND = 6,
    BQLREC_BLOCKED_POLL = 7,
    BQLREC_BLOCKED_OTHER = 8,
    BQLREC_BLOCKED_LOCK = 9, /* another mutex, or a futex */
    BQLREC_BLOCKED_REASONS = 10
};

enum BqlRecKind {
    BQLREC_KIND_LOCK = 0,
    BQLREC_KIND_TRYLOCK = 1,
    BQLREC_KIND_COND = 2, /* re-acquisition at the end of a condition wait */
    BQLREC_KINDS = 3
};

/* What a vCPU came back to user space for. */
enum BqlRecExit {
    BQLREC_EXIT_PIO = 0,
    BQLREC_EXIT_MMIO = 1,
    BQLREC_EXIT_INTERRUPTED = 2, /* by a signal: kicked */
    BQLREC_EXIT_EMULATION = 3,   /* an instruction that the kernel could not emulate */
    BQLREC_EXIT_HLT = 4,
    BQLREC_EXIT_IRQ_WINDOW = 5,
    BQLREC_EXIT_SHUTDOWN = 6,
    BQLREC_EXIT_OTHER = 7,
    BQLREC_EXITS = 8
};

enum BqlRecRequest {
    BQLREC_REQUEST_READ = 0,
    BQLREC_REQUEST_WRITE = 1,
    BQLREC_REQUEST_FLUSH = 2,
    BQLREC_REQUEST_OTHER = 3, /* discard, write zeroes, get id, what is not supported */
    BQLREC_REQUESTS = 4
};

enum BqlRecHist {
    BQLREC_HIST_HOLD = 0,
    BQLREC_HIST_WAIT = 1, /* contended waits only */
    BQLREC_HISTS = 2
};

enum BqlRecThreadState {
    BQLREC_THREAD_FREE = 0,
    BQLREC_THREAD_LIVE = 1,
    BQLREC_THREAD_DEAD = 2 /* kept; taken over by a thread of the same role if no slot is free */
};

enum BqlRecFileState { BQLREC_FILE_OPEN = 1, BQLREC_FILE_CLOSED = 2 };

/* The same instant on three clocks. */
typedef struct BqlRecClockPair {
    uint64_t ticks;
    uint64_t monotonic_ns;
    uint64_t realtime_ns; /* since the epoch */
} BqlRecClockPair;

typedef struct BqlRecHeader {
    /* Fixed once the file exists; magic is stored last, with release order. */
    _Atomic uint64_t magic;
    uint32_t version;
    uint32_t header_size;
    uint64_t file_size;
    uint32_t pid;
    uint32_t clock_kind;         /* enum BqlRecClock */
    uint64_t process_start_time; /* field 22 of /proc/PID/stat: tells a reused pid apart */
    uint64_t live_offset;
    uint64_t sites_offset;
    uint64_t handover_offset;
    uint64_t rows_offset;
    uint64_t threads_offset;
    uint64_t queues_offset;
    uint64_t spill_offset;
    uint32_t sites_capacity, sites_stride;
    uint32_t handover_capacity, handover_stride;
    uint32_t rows_capacity, rows_stride;
    uint32_t threads_capacity, threads_stride;
    uint32_t blame_offset, blame_capacity, blame_stride;
    uint32_t events_offset, events_capacity, events_stride;
    uint32_t queues_capacity, queues_stride;
    uint32_t buckets;
    uint32_t inode; /* low half of the file's own inode number, so that a copy is known */
    uint32_t near_buckets;
    uint32_t spill_stride;
    char process_name[64]; /* UTF-8, zero terminated; as are all names below */
    char vm_name[64];
    BqlRecClockPair clock_start;

    /* The last clock synchronisation. Retry while clock_seq is odd or changes. Equal to
     * clock_start until the first one. */
    _Alignas(64) _Atomic uint32_t clock_seq;
    uint32_t reserved1;
    _Atomic uint64_t clock_ticks, clock_monotonic_ns, clock_realtime_ns;

    /* Read on every acquisition, written when recording is switched: a line of its own. */
    _Alignas(64) _Atomic uint32_t enabled; /* 1: acquisitions are recorded */
    _Atomic uint32_t state;                /* enum BqlRecFileState */

    /* High-water marks, and what could not be recorded. */
    _Alignas(64) _Atomic uint32_t threads_used; /* blocks [0, threads_used) may be in use */
    _Atomic uint32_t sites_used;                /* sites [0, sites_used) are or are being filled */
    _Atomic uint32_t rows_used;                 /* rows [0, rows_used) may be in use */
    _Atomic uint32_t queues_used;               /* queues [0, queues_used) are in use */
    _Atomic uint32_t sites_lost;                /* call sites merged into site 0 */
    _Atomic uint32_t queues_lost;               /* queues without a row: not counted */
    _Atomic uint64_t rows_lost;    /* (thread, site) pairs counted in the thread's row of site 0 */
    _Atomic uint64_t threads_lost; /* registrations refused: no slot, or no space in the fs */
    _Atomic uint64_t acquisitions_lost; /* by threads without a block; not in any row */
    _Atomic uint64_t trylocks_failed_lost;
} BqlRecHeader;

/* What happens right now. Readable while the lock is stuck. */
typedef struct BqlRecLive {
    /* Threads between a failed attempt and their acquisition. */
    _Alignas(64) _Atomic uint32_t waiters;

    /*
     * Written by the holder: since before holder after acquiring, holder = 0 before unlocking.
     * A reader takes holder, since, holder again and retries if holder changed.
     */
    _Alignas(64) _Atomic uint32_t holder; /* who, 0 = free */
    _Atomic uint32_t blocked;             /* enum BqlRecBlocked of the current hold */
    _Atomic uint64_t since;               /* ticks of the acquisition */
    _Atomic uint64_t blocked_since;       /* valid while blocked != 0 */
    _Atomic uint64_t handover_head; /* entries ever appended; entry n is in slot n % capacity */
} BqlRecLive;

typedef struct BqlRecSite {
    _Atomic uint32_t ready; /* 1 once the rest is filled (release) */
    uint32_t line;
    char file[120];
    char func[64];
    /* Empty, or what a vCPU's exit was for. The VMM's own recordings name the device. Those of a
     * preloaded recorder, which does not know devices, say where the access went:
     *   "pio 0x3f8", "mmio 0xfeb00e50"     exact
     *   "mmio 0xa0000+0x1000"              a page (of ports: 0x100): too many to keep each
     *   "pio", "mmio"                      too many even for that
     *   "exit NAME"                        another reason than an access, "exit intr" */
    char region[64];
} BqlRecSite;

/*
 * One hold during which somebody waited. seq is 2n + 1 while entry n is written and 2n + 2 when
 * it is complete; a reader that finds another value before or after its copy lost the entry.
 */
typedef struct BqlRecHandover {
    _Atomic uint64_t seq;
    _Atomic uint64_t acquired;
    _Atomic uint64_t released;
    _Atomic uint32_t who;
    uint32_t reserved;
} BqlRecHandover;

/*
 * Statistics of one thread at one call site. Retry while seq is odd or changes; that guards the
 * row's spill, too. An acquisition without a wait writes the first line and a count of near.
 */
typedef struct BqlRecRow {
    _Alignas(64) _Atomic uint32_t seq;
    _Atomic uint32_t in_use; /* 1 once thread and site are set (release) */
    _Atomic uint32_t thread;
    _Atomic uint32_t site;
    _Atomic uint64_t acquisitions[BQLREC_KINDS];
    _Atomic uint64_t hold_total;
    _Atomic uint64_t max_hold;
    _Atomic uint32_t spills; /* additions to the row's spill; 0: it is all zero */
    uint32_t reserved1;
    _Atomic uint64_t max_hold_at; /* when that hold began */
    _Atomic uint64_t contended;
    _Atomic uint64_t wait_total;
    _Atomic uint64_t handoff; /* part of wait_total when nobody held the lock: wake-up latency */
    _Atomic uint64_t unknown; /* part of wait_total whose holder is not known any more */
    _Atomic uint64_t max_wait;
    _Atomic uint64_t max_wait_at;  /* when that wait began */
    _Atomic uint32_t max_wait_who; /* the holder with the largest part of it, 0 = not known */
    uint32_t reserved2;
    _Atomic uint64_t trylock_failed;                        /* attempts, not acquisitions */
    _Atomic uint64_t blocked_ticks[BQLREC_BLOCKED_REASONS]; /* part of hold_total */
    _Atomic uint64_t blocked_count[BQLREC_BLOCKED_REASONS];
    _Alignas(64) _Atomic uint16_t near[BQLREC_HISTS][BQLREC_NEAR_BUCKETS];
} BqlRecRow;

typedef struct BqlRecSpill {
    _Alignas(64) _Atomic uint64_t count[BQLREC_HISTS][BQLREC_BUCKETS];
} BqlRecSpill;

typedef struct BqlRecThread {
    /* Odd while the owner updates its rows, blame table and ring after an acquisition. */
    _Alignas(64) _Atomic uint32_t seq;
    _Atomic uint32_t state; /* enum BqlRecThreadState */
    _Atomic uint32_t tid;
    _Atomic uint32_t role;         /* enum BqlRecRole */
    _Atomic uint32_t incarnations; /* threads that have used this block, totals run on */
    uint32_t reserved;
    _Atomic uint64_t name[2];               /* 16 bytes, the OS name of the latest incarnation */
    _Atomic uint64_t first_seen, last_exit; /* ticks; of the first and of the latest dead one */

    _Alignas(64) _Atomic uint64_t events_head; /* events ever written; event n in n % capacity */
    _Atomic uint64_t events_lost;              /* acquisitions that had no ring to go to */
    _Atomic uint64_t blame_lost;               /* blamed parts moved to unknown: table full */
    _Atomic uint32_t blames_used;              /* entries of its blame table */
    uint32_t reserved2;
    _Atomic uint64_t exits[BQLREC_EXITS]; /* of a vCPU; each counts by itself, without seq */

    _Alignas(64) _Atomic uint16_t row_of_site[BQLREC_SITES]; /* row + 1, 0 = none yet */
} BqlRecThread;

/* Ticks that waiter_site (of the thread whose table this is) waited for a holder. */
typedef struct BqlRecBlame {
    _Atomic uint32_t used; /* 1 once the key is set (release) */
    _Atomic uint32_t waiter_site;
    _Atomic uint32_t holder; /* who */
    uint32_t reserved;
    _Atomic uint64_t ticks;
    _Atomic uint64_t count; /* waits in which this holder had a part */
    _Atomic uint64_t max;   /* largest part of one wait */
} BqlRecBlame;

/*
 * One acquisition, written after its release. A reader copies slots, then reads events_head
 * again: entries up to and including events_head - capacity may be torn and are discarded.
 */
typedef struct BqlRecEvent {
    _Atomic uint64_t acquired;
    _Atomic uint64_t wait; /* the request was at acquired - wait */
    _Atomic uint64_t hold; /* the release was at acquired + hold */
    /* bits 15..0 site, 17..16 kind (enum BqlRecKind), 18 contended, 31..19 zero,
     * 63..32 who held the lock at the request (0: not known or uncontended) */
    _Atomic uint64_t detail;
} BqlRecEvent;

/*
 * Requests of one disk queue while it had one placement. Retry while seq is odd or changes; for a
 * consistent copy sum of requests = sum of duration_hist. A queue is processed by one thread at a
 * time, which is its writer.
 */
typedef struct BqlRecQueue {
    _Alignas(64) _Atomic uint32_t seq;
    _Atomic uint32_t in_use; /* 1 once the names are set (release) */
    uint32_t index;          /* of the queue in its device */
    uint32_t reserved;
    char device[48];
    char placement[32];                         /* vcpu, mainloop, iothread */
    _Atomic uint64_t requests[BQLREC_REQUESTS]; /* completed */
    _Atomic uint64_t errors;
    _Atomic uint64_t read_bytes, written_bytes;
    _Atomic uint64_t inflight; /* taken from the ring, not completed: right now */
    _Atomic uint64_t max_inflight;
    /* From the batch in which a request was taken to the batch in which it was completed. */
    _Atomic uint64_t duration_total, max_duration;
    _Atomic uint64_t duration_hist[BQLREC_BUCKETS];
} BqlRecQueue;

#define BQLREC_EVENT_CONTENDED (UINT64_C(1) << 18)

_Static_assert(sizeof(BqlRecHeader) <= 4096, "the header is one page");
_Static_assert(sizeof(BqlRecSite) == 256, "site stride");
_Static_assert(sizeof(BqlRecHandover) == 32, "hand-over stride");
_Static_assert(sizeof(BqlRecBlame) == 40, "blame stride");
_Static_assert(sizeof(BqlRecEvent) == 32, "event stride");
_Static_assert(sizeof(BqlRecRow) % 64 == 0, "rows do not share cache lines");
_Static_assert(offsetof(BqlRecRow, max_hold_at) == 64, "what every acquisition writes: a line");
_Static_assert(sizeof(BqlRecQueue) % 64 == 0, "queues do not share cache lines");
_Static_assert(sizeof(BqlRecThread) <= 4096, "a thread's head is one page");

#endif
