/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: thread. Mirrors the header of the same name; see there for the contract. */
typedef ... VmmThread;
void vmm_thread_join(VmmThread *thread);
int vmm_thread_tid(const VmmThread *thread);
int vmm_thread_kill(VmmThread *thread, int sig);
