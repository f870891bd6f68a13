/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An iothread: a thread named "IO <id>" that runs one AioContext and never takes the BQL. */
#ifndef VMM_NATIVE_IOTHREAD_H
#define VMM_NATIVE_IOTHREAD_H

#include "aio.h"
#include "bqlrec.h"

typedef struct IoThread IoThread;
/* config->poll_max_ns defaults are the caller's (QEMU: 32768). cpu: pin, or -1. NULL with errno. */
IoThread *iothread_new(const char *id, const AioConfig *config, int cpu, BqlRec *rec);
AioContext *iothread_context(IoThread *iothread);
int iothread_tid(const IoThread *iothread);
/* Stops the loop, joins, frees the context. All handlers must have been removed before. */
void iothread_free(IoThread *iothread);

#endif
