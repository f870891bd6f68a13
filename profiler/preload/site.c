/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a call site, and the exit it serves, to the id under which the recording counts it.
 *
 * A thread keeps the last few in a table of its own; what is not there takes the slow path, which
 * writes the names and interns them. Every device access of QEMU comes from one source line, so
 * the address is part of the key, and a guest that touches a whole frame buffer would fill the
 * site table with it. Therefore addresses are exact for the first few hundred that occur, then
 * pages, then only the kind of access. An address that was exact once remains exact.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "preload.h"
#include "real.h"

#define KEYS 2048       /* power of two, more than twice what is granted */
#define EXACT 384u      /* addresses with a site of their own */
#define PAGES 256u      /* pages */
#define PIO_PAGE 0x100u /* ports */
#define MMIO_PAGE 0x1000u

typedef struct Grants {
    uint32_t used;
    BqlPreExit keys[KEYS];
} Grants;

static struct {
    pthread_mutex_t mutex;
    uint32_t serial; /* of the recorder whose site table is shared out */
    Grants exact, pages;
} granted = {.mutex = PTHREAD_MUTEX_INITIALIZER};

_Thread_local BqlPreSelf bqlpre_self;

static bool grant_locked(Grants *grants, uint32_t limit, BqlPreExit key)
{
    uint32_t at = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 53) % KEYS;

    for (; grants->keys[at] != 0; at = (at + 1) % KEYS) {
        if (grants->keys[at] == key) {
            return true;
        }
    }
    if (grants->used >= limit) {
        return false;
    }
    grants->keys[at] = key;
    grants->used++;
    return true;
}

/* 1: the exact address has a site of its own; a page's size: only its page has; 0: neither. */
static unsigned granularity(BqlRec *rec, BqlPreExit exit)
{
    bool is_port = BQLPRE_EXIT_KIND(exit) == BQLPRE_EXIT_PIO;
    unsigned page = is_port ? PIO_PAGE : MMIO_PAGE, granted_size = 0;
    uint64_t value = BQLPRE_EXIT_VALUE(exit);

    real()->mutex_lock(&granted.mutex);
    if (granted.serial != rec->serial) {
        granted.serial = rec->serial;
        memset(&granted.exact, 0, sizeof(granted.exact));
        memset(&granted.pages, 0, sizeof(granted.pages));
    }
    if (grant_locked(&granted.exact, EXACT, exit)) {
        granted_size = 1;
    } else if (grant_locked(&granted.pages, PAGES,
                            BQLPRE_EXIT(BQLPRE_EXIT_KIND(exit), value - value % page))) {
        granted_size = page;
    }
    real()->mutex_unlock(&granted.mutex);
    return granted_size;
}

static void describe_access(BqlRec *rec, BqlPreExit exit, char *text, size_t size)
{
    const char *kind = BQLPRE_EXIT_KIND(exit) == BQLPRE_EXIT_PIO ? "pio" : "mmio";
    unsigned long long value = BQLPRE_EXIT_VALUE(exit);
    unsigned grain = granularity(rec, exit);

    if (grain == 1) {
        snprintf(text, size, "%s 0x%llx", kind, value);
    } else if (grain != 0) {
        snprintf(text, size, "%s 0x%llx+0x%x", kind, value - value % grain, grain);
    } else {
        snprintf(text, size, "%s", kind);
    }
}

static const char *reason_name(unsigned reason)
{
    switch (reason) {
    case BQLPRE_REASON_INTR:
    case KVM_EXIT_INTR:
        return "intr";
    case KVM_EXIT_HLT:
        return "hlt";
    case KVM_EXIT_SHUTDOWN:
        return "shutdown";
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return "irq-window";
    case KVM_EXIT_FAIL_ENTRY:
        return "fail-entry";
    case KVM_EXIT_INTERNAL_ERROR:
        return "internal-error";
    case KVM_EXIT_SYSTEM_EVENT:
        return "system-event";
    case KVM_EXIT_DEBUG:
        return "debug";
    default:
        return NULL;
    }
}

static void describe_exit(BqlRec *rec, BqlPreExit exit, char *text, size_t size)
{
    unsigned reason = (unsigned)BQLPRE_EXIT_VALUE(exit);
    const char *name;

    if (BQLPRE_EXIT_KIND(exit) != BQLPRE_EXIT_OTHER) {
        describe_access(rec, exit, text, size);
        return;
    }
    name = reason_name(reason);
    if (name != NULL) {
        snprintf(text, size, "exit %s", name);
    } else {
        snprintf(text, size, "exit %u", reason);
    }
}

/* No line is known: the symbol before the address, and the distance from it. */
static uint32_t site_of_code(BqlRec *rec, const void *caller, const char *region)
{
    char function[64] = "";
    const char *file = "(unknown)";
    Dl_info info;

    if (dladdr(caller, &info) != 0) {
        if (info.dli_fname != NULL) {
            const char *slash = strrchr(info.dli_fname, '/');
            file = slash != NULL ? slash + 1 : info.dli_fname;
        }
        if (info.dli_sname != NULL) {
            snprintf(function, sizeof(function), "%s+0x%lx", info.dli_sname,
                     (unsigned long)((const char *)caller - (const char *)info.dli_saddr));
        }
    }
    return bqlrec_site(rec, file, 0, function, region);
}

static __attribute__((noinline)) uint32_t intern(BqlRec *rec, const void *caller, BqlPreExit exit)
{
    const char *file = bqlpre_self.file;
    char region[64] = "";
    int saved = errno;
    uint32_t site;

    if (exit != 0) {
        describe_exit(rec, exit, region, sizeof(region));
    }
    if (file == NULL) {
        site = site_of_code(rec, caller, region);
    } else {
        while (strncmp(file, "../", 3) == 0) {
            file += 3; /* the build directory's way to the source tree */
        }
        site = bqlrec_site(rec, file, (uint32_t)bqlpre_self.line, NULL, region);
    }
    errno = saved;
    return site;
}

uint32_t bqlpre_site(BqlRec *rec, const void *caller, BqlPreExit exit)
{
    BqlPreSelf *self = &bqlpre_self;
    const void *file = self->file != NULL ? (const void *)self->file : caller;
    int line = self->file != NULL ? self->line : -1;
    uint64_t hash = (exit ^ (uintptr_t)file ^ (uint64_t)line) * UINT64_C(0x9e3779b97f4a7c15);
    unsigned at = (unsigned)(hash >> 58) % BQLPRE_CACHE;

    if (BQLPRE_UNLIKELY(self->cache_serial != rec->serial)) {
        memset(self->cache, 0, sizeof(self->cache));
        self->cache_serial = rec->serial;
    }
    if (BQLPRE_UNLIKELY(self->cache[at].file != file || self->cache[at].line != line ||
                        self->cache[at].exit != exit)) {
        self->cache[at].site = intern(rec, caller, exit);
        self->cache[at].file = file;
        self->cache[at].line = line;
        self->cache[at].exit = exit;
    }
    return self->cache[at].site;
}
