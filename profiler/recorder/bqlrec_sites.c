/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bqlrec_sites.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (2 * BQLREC_SITES) /* power of two; never more than half full */

struct BqlRecSites {
    pthread_mutex_t mutex;
    BqlRecSite *table;
    _Atomic uint32_t *used;
    _Atomic uint32_t *lost;
    uint16_t ids[BUCKETS]; /* open addressing; 0 = empty, which is why site 0 is not in it */
};

static void fill(BqlRecSite *site, const char *file, uint32_t line, const char *func,
                 const char *region)
{
    size_t length = strlen(file);

    if (length >= sizeof(site->file)) {
        file += length - (sizeof(site->file) - 1);
    }
    /* Every byte of the fields takes part in the comparison: strncpy's padding is wanted. */
    memset(site, 0, sizeof(*site));
    strncpy(site->file, file, sizeof(site->file) - 1);
    strncpy(site->func, func != NULL ? func : "", sizeof(site->func) - 1);
    strncpy(site->region, region != NULL ? region : "", sizeof(site->region) - 1);
    site->line = line;
}

static void publish(BqlRecSites *sites, uint32_t id, const BqlRecSite *key)
{
    BqlRecSite *site = &sites->table[id];

    site->line = key->line;
    memcpy(site->file, key->file, sizeof(site->file));
    memcpy(site->func, key->func, sizeof(site->func));
    memcpy(site->region, key->region, sizeof(site->region));
    /* Release: partner is a reader's acquire load before it reads the names. */
    atomic_store_explicit(&site->ready, 1, memory_order_release);
    atomic_store_explicit(sites->used, id + 1, memory_order_release);
}

BqlRecSites *bqlrec_sites_new(BqlRecSite *table, _Atomic uint32_t *used, _Atomic uint32_t *lost)
{
    BqlRecSites *sites = calloc(1, sizeof(*sites));
    BqlRecSite other;

    if (sites == NULL) {
        return NULL;
    }
    pthread_mutex_init(&sites->mutex, NULL);
    sites->table = table;
    sites->used = used;
    sites->lost = lost;
    fill(&other, "(other)", 0, NULL, NULL);
    publish(sites, 0, &other);
    return sites;
}

void bqlrec_sites_free(BqlRecSites *sites)
{
    if (sites != NULL) {
        pthread_mutex_destroy(&sites->mutex);
        free(sites);
    }
}

static bool equal(const BqlRecSite *a, const BqlRecSite *b)
{
    return a->line == b->line && memcmp(a->file, b->file, sizeof(a->file)) == 0 &&
           memcmp(a->func, b->func, sizeof(a->func)) == 0 &&
           memcmp(a->region, b->region, sizeof(a->region)) == 0;
}

/* FNV-1a over the bytes that equal() compares. */
static uint32_t hash(const BqlRecSite *site)
{
    const uint8_t *bytes = (const uint8_t *)site->file;
    size_t size = sizeof(site->file) + sizeof(site->func) + sizeof(site->region);
    uint32_t value = 2166136261u ^ site->line;

    for (size_t i = 0; i < size; i++) {
        value = (value ^ bytes[i]) * 16777619u;
    }
    return value;
}

_Static_assert(offsetof(BqlRecSite, func) == offsetof(BqlRecSite, file) + 120 &&
                   offsetof(BqlRecSite, region) == offsetof(BqlRecSite, func) + 64,
               "hash() reads the three names as one run of bytes");

static uint32_t intern_locked(BqlRecSites *sites, const BqlRecSite *key)
{
    uint32_t used = atomic_load_explicit(sites->used, memory_order_relaxed);
    uint32_t slot = hash(key) % BUCKETS;

    for (; sites->ids[slot] != 0; slot = (slot + 1) % BUCKETS) {
        if (equal(&sites->table[sites->ids[slot]], key)) {
            return sites->ids[slot];
        }
    }
    if (used >= BQLREC_SITES) {
        atomic_fetch_add_explicit(sites->lost, 1, memory_order_relaxed);
        return 0;
    }
    publish(sites, used, key);
    sites->ids[slot] = (uint16_t)used;
    return used;
}

uint32_t bqlrec_sites_intern(BqlRecSites *sites, const char *file, uint32_t line, const char *func,
                             const char *region)
{
    BqlRecSite key;
    uint32_t id;

    fill(&key, file, line, func, region);
    pthread_mutex_lock(&sites->mutex);
    id = intern_locked(sites, &key);
    pthread_mutex_unlock(&sites->mutex);
    return id;
}
