/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "memory.h"

static void test_a_span_must_lie_in_one_region(void)
{
    GuestMemory *mem = guest_memory_new();

    CHECK(guest_memory_add_ram(mem, 0, 0x2000) == 0);
    CHECK(guest_memory_add_ram(mem, 0x2000, 0x1000) == 0);
    CHECK(guest_memory_ptr(mem, 0, 0x2000));
    CHECK(guest_memory_ptr(mem, 0x1fff, 1));
    CHECK(!guest_memory_ptr(mem, 0x1fff, 2)); /* neighbours, but two mappings */
    CHECK(guest_memory_ptr(mem, 0x2fff, 1));
    CHECK(!guest_memory_ptr(mem, 0x3000, 1));
    CHECK(!guest_memory_ptr(mem, 0x2fff, 2));
    CHECK(!guest_memory_ptr(mem, 0, 0));
    guest_memory_free(mem);
    puts("a span must lie in one region");
}

static void test_sums_that_wrap_are_refused(void)
{
    GuestMemory *mem = guest_memory_new();

    CHECK(guest_memory_add_ram(mem, 0x1000, 0x1000) == 0);
    CHECK(!guest_memory_ptr(mem, 0x1800, UINT64_MAX));
    CHECK(!guest_memory_ptr(mem, 0x1800, UINT64_MAX - 0x17ff));
    CHECK(!guest_memory_ptr(mem, UINT64_MAX, 2));
    CHECK(!guest_memory_ptr(mem, 0xfff, 2));
    CHECK(guest_memory_add_ram(mem, UINT64_MAX - 0xfff, 0x2000) == -EINVAL);
    guest_memory_free(mem);
    puts("sums that wrap are refused");
}

static void test_bad_regions_are_refused(void)
{
    GuestMemory *mem = guest_memory_new();

    CHECK(guest_memory_add_ram(mem, 0x10000, 0x4000) == 0);
    CHECK(guest_memory_add_ram(mem, 0x13000, 0x1000) == -EINVAL);
    CHECK(guest_memory_add_ram(mem, 0xf000, 0x2000) == -EINVAL);
    CHECK(guest_memory_add_ram(mem, 0x8000, 0x10000) == -EINVAL);
    CHECK(guest_memory_add_ram(mem, 0x20000, 0) == -EINVAL);
    CHECK(guest_memory_add_ram(mem, 0x20800, 0x1000) == -EINVAL);
    CHECK(guest_memory_add_ram(mem, 0x20000, 0x801) == -EINVAL);
    for (unsigned i = 1; i < GUEST_MEMORY_MAX_REGIONS; i++) {
        CHECK(guest_memory_add_ram(mem, 0x100000u * i, 0x1000) == 0);
    }
    CHECK(guest_memory_add_ram(mem, 0x100000u * GUEST_MEMORY_MAX_REGIONS, 0x1000) == -ENOSPC);
    guest_memory_free(mem);
    puts("bad regions are refused");
}

static void test_checked_copies_move_all_or_nothing(void)
{
    GuestMemory *mem = guest_memory_new();
    char buf[8] = "unset";

    CHECK(guest_memory_add_ram(mem, 0x1000, 0x1000) == 0);
    CHECK(guest_memory_write(mem, 0x1ffc, "abcd", 4) == 0);
    CHECK(guest_memory_write(mem, 0x1ffc, "wxyzw", 5) == -EFAULT);
    CHECK(guest_memory_read(mem, 0x1ffc, buf, 5) == -EFAULT);
    CHECK(strcmp(buf, "unset") == 0);
    CHECK(guest_memory_read(mem, 0x1ffc, buf, 4) == 0);
    CHECK(memcmp(buf, "abcd", 4) == 0);
    CHECK(guest_memory_read(mem, 0, buf, 0) == 0);
    guest_memory_free(mem);
    puts("checked copies move all or nothing");
}

int main(void)
{
    test_a_span_must_lie_in_one_region();
    test_sums_that_wrap_are_refused();
    test_bad_regions_are_refused();
    test_checked_copies_move_all_or_nothing();
    return 0;
}
