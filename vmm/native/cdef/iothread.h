/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: iothread. Mirrors the header of the same name; see there for the contract. */
typedef ... IoThread;
IoThread *iothread_new(const char *id, const AioConfig *config, int cpu, BqlRec *rec);
AioContext *iothread_context(IoThread *iothread);
int iothread_tid(const IoThread *iothread);
void iothread_free(IoThread *iothread);
