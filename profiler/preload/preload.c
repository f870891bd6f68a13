/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The library's constructor: is this a QEMU, what does its user want, and what must its children
 * not inherit.
 *
 *   BQLSCOPE_RECORDING=PATH   where the recording goes; unset: the default place
 *   BQLSCOPE_VM_NAME=NAME     shown to people
 *   BQLSCOPE_WINDOW=1         copy the recording to PATH.begin and PATH.end at the marks that the
 *                             measuring guest writes to port 0x5f0
 *   BQLSCOPE_PROBE=FD         record nothing; write one line to the descriptor: the program's name
 *                             and the lock's symbol, or "-"
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"
#include "real.h"

#define LIBRARY "libbqlrecorder.so"

BqlPre bqlpre = {.gate = PTHREAD_MUTEX_INITIALIZER};

static char *setting(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? strdup(value) : NULL;
}

static bool looks_like_qemu(void)
{
    const char *name = program_invocation_short_name;

    return strncmp(name, "qemu-system", 11) == 0 || strncmp(name, "qemu-kvm", 8) == 0 ||
           strcmp(name, "kvm") == 0;
}

static void answer_probe(const char *descriptor)
{
    const char *symbol = bqlpre_lock_symbol();
    char line[256];
    int length = snprintf(line, sizeof(line), "%s %s\n", program_invocation_short_name,
                          symbol != NULL ? symbol : "-");

    (void)!write(atoi(descriptor), line, (size_t)length);
}

/* LD_PRELOAD without this library: QEMU's helpers have no lock to record. */
static void leave_children_alone(void)
{
    const char *list = getenv("LD_PRELOAD");
    char *copy = list != NULL ? strdup(list) : NULL;
    char *rest = copy != NULL ? calloc(1, strlen(copy) + 1) : NULL;
    char *word, *next = copy;

    while (rest != NULL && (word = strsep(&next, ": ")) != NULL) {
        size_t length = strlen(word), ours = strlen(LIBRARY);
        bool is_ours = length >= ours && strcmp(word + length - ours, LIBRARY) == 0;
        if (word[0] != '\0' && !is_ours) {
            if (rest[0] != '\0') {
                strcat(rest, ":");
            }
            strcat(rest, word);
        }
    }
    if (rest != NULL && rest[0] != '\0') {
        setenv("LD_PRELOAD", rest, 1);
    } else if (rest != NULL) {
        unsetenv("LD_PRELOAD");
    }
    free(rest);
    free(copy);
}

static __attribute__((constructor)) void start(void)
{
    bool found = bqlpre_find_qemu();
    const char *probe = getenv("BQLSCOPE_PROBE");
    const char *window = getenv("BQLSCOPE_WINDOW");

    if (probe != NULL) {
        answer_probe(probe);
        return;
    }
    if (!found) {
        if (looks_like_qemu()) {
            bqlpre_complain("this QEMU exports neither bql_mutex_lock_func nor "
                            "qemu_bql_mutex_lock_func: nothing is recorded; 'bqlscope attach' can "
                            "read its sync-profile");
        }
        return;
    }
    bqlpre.path = setting("BQLSCOPE_RECORDING");
    bqlpre.vm_name = setting("BQLSCOPE_VM_NAME");
    bqlpre.window = window != NULL && strcmp(window, "1") == 0;
    if (pthread_atfork(NULL, NULL, bqlpre_after_fork_in_child) != 0) {
        bqlpre_complain("out of memory; nothing is recorded");
        return;
    }
    leave_children_alone();
    bqlpre.is_qemu = true;
    bqlpre_hook();
}

static __attribute__((destructor)) void end(void)
{
    if (bqlpre.is_qemu) {
        bqlpre_end();
    }
}
