/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QEMU thread is for: by its name, which QEMU sets with debug-threads=on; else by the call
 * site that first took the lock, because without it all threads have the process's name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"

typedef struct Rule {
    const char *prefix;
    int role;
} Rule;

/* Thread names of QEMU 7.2 to 10.2. */
static const Rule by_name[] = {
    {"CPU ", BQLREC_ROLE_VCPU},
    {"ALL CPUs", BQLREC_ROLE_VCPU}, /* TCG with one thread for all */
    {"IO ", BQLREC_ROLE_IOTHREAD},
    {"vnc_worker", BQLREC_ROLE_VNC},
    {"mig/", BQLREC_ROLE_MIGRATION},
    {"live_migration", BQLREC_ROLE_MIGRATION},
    {"bg_snapshot", BQLREC_ROLE_MIGRATION},
    {"multifd", BQLREC_ROLE_MIGRATION},
    {"postcopy", BQLREC_ROLE_MIGRATION},
    {"return path", BQLREC_ROLE_MIGRATION},
    {"worker", BQLREC_ROLE_WORKER},
    {"call_rcu", BQLREC_ROLE_RCU},
};

/* Files of QEMU's source tree. */
static const Rule by_file[] = {
    {"accel/", BQLREC_ROLE_VCPU},
    {"util/rcu.c", BQLREC_ROLE_RCU},
    {"util/main-loop.c", BQLREC_ROLE_MAIN},
    {"iothread.c", BQLREC_ROLE_IOTHREAD},
    {"ui/vnc", BQLREC_ROLE_VNC},
    {"migration/", BQLREC_ROLE_MIGRATION},
    {"util/thread-pool.c", BQLREC_ROLE_WORKER},
};

static int match(const Rule *rules, size_t count, const char *text)
{
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (strncmp(text, rules[i].prefix, strlen(rules[i].prefix)) == 0) {
            return rules[i].role;
        }
    }
    return BQLREC_ROLE_OTHER;
}

static const char *below_root(const char *file)
{
    while (file != NULL && strncmp(file, "../", 3) == 0) {
        file += 3;
    }
    return file;
}

int bqlpre_role(const char *name, bool is_main, const char *file)
{
    int role = BQLREC_ROLE_MAIN;

    if (!is_main) {
        role = match(by_name, sizeof(by_name) / sizeof(by_name[0]), name);
        if (role == BQLREC_ROLE_OTHER) {
            role = match(by_file, sizeof(by_file) / sizeof(by_file[0]), below_root(file));
        }
    }
    return role;
}

/* The name QEMU would give, for a thread of which only the role is known. Its own otherwise. */
static const char *name_of(int role, const char *name, const char *process_name, char *buffer,
                           size_t size)
{
    if (strcmp(name, process_name) != 0) {
        return name;
    }
    if (role == BQLREC_ROLE_VCPU && bqlpre_self.run != NULL) {
        snprintf(buffer, size, "CPU %d/KVM", bqlpre_self.vcpu_id);
        return buffer;
    }
    return role == BQLREC_ROLE_RCU ? "call_rcu" : name;
}

void bqlpre_register_thread(BqlRec *rec, const char *file)
{
    char name[16] = "", process_name[16] = "", buffer[16];
    bool is_main = syscall(SYS_gettid) == getpid();
    int saved = errno, role;

    prctl(PR_GET_NAME, name, 0, 0, 0);
    memcpy(process_name, bqlrec_header(rec)->process_name, sizeof(process_name) - 1);
    role = bqlpre_self.run != NULL ? BQLREC_ROLE_VCPU : bqlpre_role(name, is_main, file);
    bqlrec_thread_enter(rec, role, name_of(role, name, process_name, buffer, sizeof(buffer)));
    bqlpre_self.role = (uint32_t)role;
    bqlpre_self.known_serial = rec->serial;
    errno = saved;
}
