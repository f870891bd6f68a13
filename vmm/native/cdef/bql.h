/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: bql. Mirrors the header of the same name; see there for the contract. */
typedef ... Bql;
typedef ... BqlCond;
Bql *bql_new(const char *policy, BqlRec *rec);
void bql_free(Bql *bql);
uint32_t bql_site(Bql *bql, const char *file, int line, const char *func, const char *region);
void bql_lock_site(Bql *bql, uint32_t site);
bool bql_trylock_site(Bql *bql, uint32_t site);
void bql_unlock(Bql *bql);
bool bql_locked(Bql *bql);
BqlCond *bql_cond_new(Bql *bql);
void bql_cond_free(BqlCond *cond);
bool bql_cond_wait_site(BqlCond *cond, uint32_t site, int64_t timeout_ns);
void bql_cond_signal(BqlCond *cond);
void bql_cond_broadcast(BqlCond *cond);
void bql_blocked_begin(Bql *bql, int reason);
void bql_blocked_end(Bql *bql);
void bql_gil_waited(Bql *bql, uint64_t ticks);
