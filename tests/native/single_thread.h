/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recorder whose steps the test takes itself, without a lock. */
#ifndef TESTS_NATIVE_SINGLE_THREAD_H
#define TESTS_NATIVE_SINGLE_THREAD_H

#include "recording.h"

#define ODD 23

static char work[64]; /* a private directory, made by make_work() */

static inline void make_work(void)
{
    snprintf(work, sizeof(work), "/tmp/recorder_test.XXXXXX");
    CHECK(mkdtemp(work) != NULL);
}

static inline BqlRec *open_named(const char *name, char *path)
{
    BqlRecConfig config = {.path = path, .vm_name = "test vm"};
    char err[BQLREC_ERR_SIZE] = "";
    BqlRec *rec;

    snprintf(path, 128, "%s/%s", work, name);
    rec = bqlrec_open(&config, err);
    if (rec == NULL) {
        fprintf(stderr, "%s\n", err);
    }
    CHECK(rec != NULL);
    return rec;
}

static inline void acquire(BqlRec *rec, uint32_t site, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        BqlRecSelf *self = bqlrec_self(rec);
        CHECK(self != NULL);
        bqlrec_acquired(rec, self, site, BQLREC_KIND_LOCK);
        CHECK(bqlrec_release_prepare(rec) == self);
        bqlrec_release_finish(rec, self);
    }
}

#endif
