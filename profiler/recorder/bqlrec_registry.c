/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process's open recorders, and which of them each thread uses.
 *
 * The only process-wide state of the recorder. It exists because three things are process-wide by
 * nature: a thread's end (pthread key destructor), fork() (pthread_atfork) and the rule that a
 * serial is never used twice. Threads keep their links by serial, so that the end of a thread
 * that outlives a recorder touches nothing of it.
 *
 * fork(): the child gets zeroed read-only memory in place of each mapping. Zeroed means "recording
 * is off", so no lock operation has to ask whether it runs in a child; the cold functions do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bqlrec_private.h"

typedef struct Link {
    struct Link *next;
    uint32_t serial;
    BqlRecSelf *self;
} Link;

static struct {
    pthread_mutex_t mutex;
    pthread_once_t once;
    int error; /* of the once */
    pthread_key_t key;
    _Atomic uint32_t last_serial;
    BqlRec *recs;
} registry = {.mutex = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

_Thread_local BqlRecTls bqlrec_tls;

/* Key destructor: the calling thread ends. */
static void retire_links(void *first)
{
    bqlrec_tls = (BqlRecTls){0, NULL};
    pthread_mutex_lock(&registry.mutex);
    for (Link *link = first, *next; link != NULL; link = next) {
        next = link->next;
        for (BqlRec *rec = registry.recs; rec != NULL; rec = rec->shared->next) {
            if (rec->serial == link->serial) {
                bqlrec_thread_retire(rec, link->self);
            }
        }
        free(link);
    }
    pthread_mutex_unlock(&registry.mutex);
}

static void before_fork(void)
{
    pthread_mutex_lock(&registry.mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&registry.mutex);
}

static void after_fork_in_child(void)
{
    for (BqlRec *rec = registry.recs; rec != NULL; rec = rec->shared->next) {
        BqlRecShared *shared = rec->shared;

        /* Read-only costs no memory commitment, so this does not fail where fork() worked. */
        mmap(rec->header, BQLREC_FILE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0);
        rec->holder = NULL;
        close(shared->fd);
        shared->fd = -1;
        shared->forked = true;
        /* A thread that does not exist here may have held it. */
        pthread_mutex_init(&shared->mutex, NULL);
    }
    pthread_mutex_unlock(&registry.mutex);
}

static void init_once(void)
{
    registry.error = pthread_key_create(&registry.key, retire_links);
    if (registry.error == 0) {
        registry.error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    }
}

uint32_t bqlrec_unique_serial(void)
{
    return atomic_fetch_add_explicit(&registry.last_serial, 1, memory_order_relaxed) + 1;
}

int bqlrec_registry_add(BqlRec *rec)
{
    pthread_once(&registry.once, init_once);
    if (registry.error != 0) {
        return registry.error;
    }
    pthread_mutex_lock(&registry.mutex);
    rec->shared->next = registry.recs;
    registry.recs = rec;
    pthread_mutex_unlock(&registry.mutex);
    return 0;
}

void bqlrec_registry_remove(BqlRec *rec)
{
    pthread_mutex_lock(&registry.mutex);
    for (BqlRec **at = &registry.recs; *at != NULL; at = &(*at)->shared->next) {
        if (*at == rec) {
            *at = rec->shared->next;
            break;
        }
    }
    pthread_mutex_unlock(&registry.mutex);
}

bool bqlrec_registry_has_path(const char *path)
{
    bool found = false;

    pthread_mutex_lock(&registry.mutex);
    for (BqlRec *rec = registry.recs; rec != NULL; rec = rec->shared->next) {
        found = found || (!rec->shared->forked && strcmp(rec->shared->path, path) == 0);
    }
    pthread_mutex_unlock(&registry.mutex);
    return found;
}

bool bqlrec_registry_link(BqlRec *rec, BqlRecSelf *self)
{
    Link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        return false;
    }
    *link = (Link){pthread_getspecific(registry.key), rec->serial, self};
    if (pthread_setspecific(registry.key, link) != 0) {
        free(link);
        return false;
    }
    bqlrec_tls = (BqlRecTls){rec->serial, self};
    return true;
}

BqlRecSelf *bqlrec_registry_find(const BqlRec *rec)
{
    for (Link *link = pthread_getspecific(registry.key); link != NULL; link = link->next) {
        if (link->serial == rec->serial) {
            bqlrec_tls = (BqlRecTls){rec->serial, link->self};
            return link->self;
        }
    }
    return NULL;
}

void bqlrec_registry_unlink(const BqlRec *rec)
{
    Link *first = pthread_getspecific(registry.key);

    for (Link **at = &first; *at != NULL; at = &(*at)->next) {
        if ((*at)->serial == rec->serial) {
            Link *link = *at;
            *at = link->next;
            free(link);
            break;
        }
    }
    pthread_setspecific(registry.key, first);
    bqlrec_tls = (BqlRecTls){0, NULL};
}
