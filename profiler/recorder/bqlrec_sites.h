/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The call site table: interns (file, line, function, region) into small ids. Usable without a
 * recorder, so that a lock that is not recorded can still name its call sites.
 */
#ifndef PROFILER_RECORDER_BQLREC_SITES_H
#define PROFILER_RECORDER_BQLREC_SITES_H

#include <stdint.h>

#include "bqlrec_layout.h"

typedef struct BqlRecSites BqlRecSites;

/* Never returns the same number twice in a process; never 0. For caches of site ids. */
uint32_t bqlrec_unique_serial(void);

/* table has BQLREC_SITES zeroed entries; used and lost are its counters. NULL: out of memory. */
BqlRecSites *bqlrec_sites_new(BqlRecSite *table, _Atomic uint32_t *used, _Atomic uint32_t *lost);
void bqlrec_sites_free(BqlRecSites *sites);
/* [any thread] Names too long for their field are cut; the end of the file name is kept. */
uint32_t bqlrec_sites_intern(BqlRecSites *sites, const char *file, uint32_t line, const char *func,
                             const char *region);

#endif
