/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recorder's life: open, switch on and off, close. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bqlrec_private.h"

/* Field 22 of /proc/self/stat; the name in field 2 may contain anything, so start at its end. */
static uint64_t process_start_time(void)
{
    char buffer[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t size = file != NULL ? fread(buffer, 1, sizeof(buffer) - 1, file) : 0;
    char *at;

    if (file != NULL) {
        fclose(file);
    }
    buffer[size] = '\0';
    at = strrchr(buffer, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

static void read_process_name(char *name, size_t size)
{
    FILE *file = fopen("/proc/self/comm", "re");

    if (file == NULL) {
        return;
    }
    if (fgets(name, (int)size, file) != NULL) {
        name[strcspn(name, "\n")] = '\0';
    }
    fclose(file);
}

static void describe_layout(BqlRecHeader *header)
{
    header->version = BQLREC_VERSION;
    header->header_size = sizeof(*header);
    header->file_size = BQLREC_FILE_SIZE;
    header->live_offset = BQLREC_LIVE_OFFSET;
    header->sites_offset = BQLREC_SITES_OFFSET;
    header->handover_offset = BQLREC_HANDOVER_OFFSET;
    header->rows_offset = BQLREC_ROWS_OFFSET;
    header->threads_offset = BQLREC_THREADS_OFFSET;
    header->queues_offset = BQLREC_QUEUES_OFFSET;
    header->spill_offset = BQLREC_SPILL_OFFSET;
    header->sites_capacity = BQLREC_SITES;
    header->sites_stride = sizeof(BqlRecSite);
    header->handover_capacity = BQLREC_HANDOVERS;
    header->handover_stride = sizeof(BqlRecHandover);
    header->rows_capacity = BQLREC_ROWS;
    header->rows_stride = sizeof(BqlRecRow);
    header->threads_capacity = BQLREC_THREADS;
    header->threads_stride = BQLREC_THREAD_STRIDE;
    header->blame_offset = BQLREC_BLAME_OFFSET;
    header->blame_capacity = BQLREC_BLAMES;
    header->blame_stride = sizeof(BqlRecBlame);
    header->events_offset = BQLREC_EVENTS_OFFSET;
    header->events_capacity = BQLREC_EVENTS;
    header->events_stride = sizeof(BqlRecEvent);
    header->queues_capacity = BQLREC_QUEUES;
    header->queues_stride = sizeof(BqlRecQueue);
    header->buckets = BQLREC_BUCKETS;
    header->near_buckets = BQLREC_NEAR_BUCKETS;
    header->spill_stride = sizeof(BqlRecSpill);
}

static uint32_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? (uint32_t)st.st_ino : 0;
}

static void fill_header(BqlRec *rec, const BqlRecConfig *config)
{
    BqlRecHeader *header = rec->header;

    describe_layout(header);
    header->pid = (uint32_t)getpid();
    header->clock_kind = rec->tsc ? BQLREC_CLOCK_TSC : BQLREC_CLOCK_MONOTONIC;
    header->process_start_time = process_start_time();
    header->inode = inode_of(rec->shared->fd);
    read_process_name(header->process_name, sizeof(header->process_name));
    if (config->vm_name != NULL) {
        strncpy(header->vm_name, config->vm_name, sizeof(header->vm_name) - 1);
    }
    bqlrec_clock_start(rec);
    bqlrec_set(header->rows_used, BQLREC_THREADS); /* row t is thread t's row of site 0 */
    bqlrec_set(header->state, BQLREC_FILE_OPEN);
    bqlrec_set(header->enabled, config->start_disabled ? 0 : 1);
    /* Release: partner is a reader's acquire load of magic before it trusts anything else. */
    atomic_store_explicit(&header->magic, BQLREC_MAGIC, memory_order_release);
}

static void free_recorder(BqlRec *rec)
{
    BqlRecShared *shared = rec->shared;

    if (rec->header != NULL) {
        munmap(rec->header, BQLREC_FILE_SIZE);
    }
    bqlrec_sites_free(rec->sites);
    if (shared != NULL) {
        if (shared->fd >= 0) {
            close(shared->fd);
        }
        for (unsigned i = 0; i < BQLREC_THREADS; i++) {
            if (shared->selves[i] != NULL) {
                free(shared->selves[i]->parts);
                free(shared->selves[i]->blame_index);
                free(shared->selves[i]);
            }
        }
        for (BqlRecSelf *self = shared->lost, *next; self != NULL; self = next) {
            next = self->next_lost;
            free(self);
        }
        free(shared->path);
        free(shared);
    }
    free(rec);
}

/* Everything that can fail. 0 or an errno, with err set. */
static int set_up(BqlRec *rec, const BqlRecConfig *config, char *err)
{
    BqlRecShared *shared = calloc(1, sizeof(*shared));
    uint8_t *base;

    if (shared == NULL) {
        bqlrec_error(err, "out of memory");
        return ENOMEM;
    }
    rec->shared = shared;
    pthread_mutex_init(&shared->mutex, NULL);
    shared->pid = getpid();
    shared->fd = bqlrec_file_create(config->path, rec->serial, &shared->path, err);
    if (shared->fd < 0) {
        return errno;
    }
    base = mmap(NULL, BQLREC_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd, 0);
    if (base == MAP_FAILED) {
        int error = errno;
        bqlrec_error(err, "cannot map %s: %s", shared->path, strerror(error));
        return error;
    }
    rec->header = (BqlRecHeader *)base;
    rec->live = (BqlRecLive *)(base + BQLREC_LIVE_OFFSET);
    rec->handovers = (BqlRecHandover *)(base + BQLREC_HANDOVER_OFFSET);
    rec->rows = (BqlRecRow *)(base + BQLREC_ROWS_OFFSET);
    rec->spill = (BqlRecSpill *)(base + BQLREC_SPILL_OFFSET);
    rec->threads = base + BQLREC_THREADS_OFFSET;
    rec->site_table = (BqlRecSite *)(base + BQLREC_SITES_OFFSET);
    rec->sites =
        bqlrec_sites_new(rec->site_table, &rec->header->sites_used, &rec->header->sites_lost);
    if (rec->sites == NULL) {
        bqlrec_error(err, "out of memory");
        return ENOMEM;
    }
    return 0;
}

BqlRec *bqlrec_open(const BqlRecConfig *config, char *err)
{
    static const BqlRecConfig defaults;
    BqlRec *rec = aligned_alloc(_Alignof(BqlRec), sizeof(*rec));
    int error;

    if (rec == NULL) {
        bqlrec_error(err, "out of memory");
        errno = ENOMEM;
        return NULL;
    }
    memset(rec, 0, sizeof(*rec));
    config = config != NULL ? config : &defaults;
    rec->serial = bqlrec_unique_serial();
    rec->tsc = config->clock != BQLREC_CLOCK_MONOTONIC && bqlrec_clock_has_invariant_tsc();
    error = set_up(rec, config, err);
    if (error == 0) {
        fill_header(rec, config);
        error = bqlrec_registry_add(rec);
    }
    if (error != 0) {
        if (rec->header != NULL) {
            unlink(rec->shared->path);
        }
        free_recorder(rec);
        errno = error;
        return NULL;
    }
    return rec;
}

/* Threads that are still registered are marked dead; the file says that it is complete. */
static void mark_closed(BqlRec *rec)
{
    bqlrec_set(rec->header->enabled, 0);
    bqlrec_clock_sync(rec);
    bqlrec_thread_retire_all(rec);
    atomic_store_explicit(&rec->header->state, BQLREC_FILE_CLOSED, memory_order_release);
}

void bqlrec_finish(BqlRec *rec)
{
    if (!rec->shared->forked) {
        mark_closed(rec);
    }
}

void bqlrec_close(BqlRec *rec, bool unlink_file)
{
    BqlRecShared *shared;

    if (rec == NULL) {
        return;
    }
    shared = rec->shared;
    bqlrec_registry_unlink(rec);
    bqlrec_registry_remove(rec);
    if (!shared->forked) {
        mark_closed(rec);
        if (unlink_file) {
            unlink(shared->path);
        }
    }
    free_recorder(rec);
}

const char *bqlrec_path(const BqlRec *rec)
{
    return rec->shared->path;
}

const BqlRecHeader *bqlrec_header(const BqlRec *rec)
{
    return rec->header;
}

bool bqlrec_is_enabled(const BqlRec *rec)
{
    return bqlrec_recording(rec);
}

void bqlrec_set_enabled(BqlRec *rec, bool enabled)
{
    if (rec->shared->forked) {
        return;
    }
    /* A wait that spans a change cannot account for holds that were not recorded: the epoch is odd
     * before any hold can go unrecorded, and even again only when every new wait would see the
     * new state. Partners: bqlrec_wait_begin(), split_wait(). Switching on, a holder that looked
     * just before and unlocks just after appends nothing: the rest of its hold, a few instructions
     * unless it is preempted there, counts as handoff. */
    pthread_mutex_lock(&rec->shared->mutex);
    if (bqlrec_recording(rec) != enabled) {
        atomic_fetch_add_explicit(&rec->epoch, 1, memory_order_acq_rel);
        atomic_store_explicit(&rec->header->enabled, enabled ? 1 : 0, memory_order_release);
        atomic_fetch_add_explicit(&rec->epoch, 1, memory_order_release);
    }
    pthread_mutex_unlock(&rec->shared->mutex);
}

bool bqlrec_claim(BqlRec *rec)
{
    bool free_before;

    pthread_mutex_lock(&rec->shared->mutex);
    free_before = !rec->shared->claimed;
    rec->shared->claimed = true;
    pthread_mutex_unlock(&rec->shared->mutex);
    return free_before;
}

void bqlrec_unclaim(BqlRec *rec)
{
    pthread_mutex_lock(&rec->shared->mutex);
    rec->shared->claimed = false;
    pthread_mutex_unlock(&rec->shared->mutex);
}

uint32_t bqlrec_site(BqlRec *rec, const char *file, uint32_t line, const char *func,
                     const char *region)
{
    return rec->shared->forked ? 0 : bqlrec_sites_intern(rec->sites, file, line, func, region);
}
