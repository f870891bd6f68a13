# SPDX-License-Identifier: GPL-2.0-or-later
# How every line of C in this repository is compiled: the library behind the Python extension, the
# C test programs and the micro-guest, in one place and with one set of flags.
#
#   make -f native.mk [VARIANT=release|debug|asan|tsan] lib | tests | check | guest | recorder-so
#   make -f native.mk VARIANT=fuzz CC=clang fuzzers
#
# All but release check lock ranks on every acquisition (BQL_DEBUG).

VARIANT ?= release
OUT := build/$(VARIANT)
ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar

WARNINGS := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wno-unused-parameter
CPPFLAGS := -Ivmm/native -Iprofiler/recorder -Iprofiler/preload -Ivmm/guest -D_GNU_SOURCE
CFLAGS_release := -O2 -g
CFLAGS_debug := -O1 -g -DBQL_DEBUG
CFLAGS_asan := -O1 -g -DBQL_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -DBQL_DEBUG -fsanitize=thread
CFLAGS_fuzz := -O1 -g -DBQL_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CFLAGS := -std=gnu11 -fPIC -fvisibility=default -ftls-model=initial-exec -pthread $(WARNINGS) $(CFLAGS_$(VARIANT))
LDLIBS := -luring -lm -ldl

# The micro-guest's portable half, compiled for the host: the qtest accelerator's native guest.
GUEST_SRCS := $(filter-out vmm/guest/platform_bare.c,$(wildcard vmm/guest/*.c))
SRCS := $(wildcard vmm/native/*.c profiler/recorder/*.c) $(GUEST_SRCS)
# The kvm accelerator runs x86-64 guests on x86-64; elsewhere there is the qtest accelerator.
ifeq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
SRCS := $(filter-out $(addprefix vmm/native/,vcpu_kvm.c kvm_emulation.c kvm_state.c kvm_reset.c),$(SRCS))
endif
OBJS := $(SRCS:%.c=$(OUT)/%.o)
LIB := $(OUT)/libbqlvmm.a
RECORDER_OBJS := $(patsubst %.c,$(OUT)/%.o,$(wildcard profiler/recorder/*.c))
PRELOAD_OBJS := $(patsubst %.c,$(OUT)/%.o,$(wildcard profiler/preload/*.c))
RECORDER_SO := $(OUT)/libbqlrecorder.so
PRELOAD_EXPORTS := profiler/preload/exports.map
TEST_SRCS := $(wildcard tests/native/*_test.c)
TESTS := $(TEST_SRCS:%.c=$(OUT)/%)
FUZZ_SRCS := $(wildcard tests/fuzz/*_fuzz.c)
FUZZERS := $(FUZZ_SRCS:%.c=$(OUT)/%)

.PHONY: lib tests check guest fuzzers recorder-so
lib: $(LIB)
tests: $(TESTS)
fuzzers: $(FUZZERS)
recorder-so: $(RECORDER_SO)

$(OUT)/%.o: %.c
	@mkdir -p $(dir $@)
	@echo "  CC    $(OUT) $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(OBJS)
	@mkdir -p $(dir $@)
	@rm -f $@
	@$(AR) rcs $@ $(OBJS)

# ThreadSanitizer's runtime maps memory while it starts, by way of the interposed mmap.
$(OUT)/profiler/preload/hook_kvm.o $(OUT)/profiler/preload/real.o: \
	CFLAGS := $(filter-out -fsanitize=thread,$(CFLAGS))

# Only libc: it is loaded into other processes.
$(RECORDER_SO): $(RECORDER_OBJS) $(PRELOAD_OBJS) $(PRELOAD_EXPORTS)
	@echo "  LD    $@"
	@$(CC) $(CFLAGS) -shared -Wl,-z,defs -Wl,--version-script=$(PRELOAD_EXPORTS) -o $@ \
		$(RECORDER_OBJS) $(PRELOAD_OBJS) -ldl

# The preloaded recorder interposes functions of the C library, so only its own tests link it. It
# finds the lock's pointers by name: those programs export theirs.
$(OUT)/tests/native/preload%: $(OUT)/tests/native/preload%.o $(PRELOAD_OBJS) $(LIB)
	@echo "  LD    $@"
	@$(CC) $(CFLAGS) -rdynamic -o $@ $< $(PRELOAD_OBJS) $(LIB) $(LDLIBS)

$(OUT)/tests/native/%: $(OUT)/tests/native/%.o $(LIB)
	@echo "  LD    $@"
	@	$(CC) $(CFLAGS) -o $@ $< $(LIB) $(LDLIBS)

$(OUT)/tests/fuzz/%: $(OUT)/tests/fuzz/%.o $(LIB)
	@echo "  LD    $@"
	@	$(CC) $(CFLAGS) -fsanitize=fuzzer -o $@ $< $(LIB) $(LDLIBS)

# Address space randomisation off: ThreadSanitizer's shadow mapping does not fit every layout.
check: $(TESTS)
	@set -e; for t in $(TESTS); do echo "== $$t"; setarch -R $$t; done

guest:
	$(MAKE) -C vmm/guest

-include $(OBJS:.o=.d) $(PRELOAD_OBJS:.o=.d) $(TESTS:=.d) $(FUZZERS:=.d)
