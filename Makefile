# SPDX-License-Identifier: GPL-2.0-or-later
# The one entry point: every target prepares what it needs on a plain Debian or Ubuntu machine.
# Set-up is remembered by stamp files that are older than their inputs only when something changed,
# so a second run starts at once. How C is compiled is native.mk's business.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
SANITIZE_TESTS ?= tests/stateful $$($(BIN)/python -m tests.support.native_users tests/unit)
FUZZ_SECONDS ?= 60

DEPS := $(VENV)/.deps
TOOLS := $(VENV)/.test-tools
INSTALLED := $(VENV)/.installed
NATIVE_INPUTS := native.mk setup.py pyproject.toml $(wildcard vmm/native/build.py \
	vmm/native/*.[ch] vmm/native/cdef/*.[ch] profiler/recorder/*.[ch] \
	profiler/preload/*.[ch] profiler/preload/*.map \
	vmm/guest/*.[chS] vmm/guest/*.ld vmm/guest/Makefile)
SOURCE_DIRS := $(wildcard vmm profiler exporters grafana tests)
C_FILES = $(shell find $(SOURCE_DIRS) -name '*.[ch]' ! -name _native.c)
PY_FILES = $(shell find $(SOURCE_DIRS) setup.py -name '*.py')

.PHONY: help setup compare test build lint format asan tsan stress fuzz bench linux-guest bench-deps metrics-doc monitor-doc dashboards demo-metrics dashboard-images lock clean distclean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done
	@echo
	@echo "  Options go through ARGS, as in: make compare ARGS='--trials 9'"

$(DEPS): requirements/dev.txt scripts/bootstrap.sh
	scripts/bootstrap.sh --venv $(VENV)
	@touch $@

$(TOOLS): scripts/bootstrap.sh scripts/qemu_versions.sh | $(DEPS)
	scripts/bootstrap.sh --test-tools
	scripts/qemu_versions.sh build/qemu
	@touch $@

$(INSTALLED): $(DEPS) $(NATIVE_INPUTS)
	@mkdir -p build
	@echo 'compiling and installing (log: build/install.log)'
	@$(BIN)/python -m pip install --no-deps --no-build-isolation -e . >build/install.log 2>&1 \
		|| { cat build/install.log; exit 1; }
	@touch $@

setup: $(DEPS) ## create .venv and install the locked dependencies

build: $(INSTALLED) ## compile the native parts and install bqlscope into .venv (editable)

compare: build ## measure virtio-blk in the main loop against an iothread, side by side
	$(BIN)/bqlscope compare $(ARGS)

test: build $(TOOLS) ## run all tests; guests boot wherever /dev/kvm opens
	$(BIN)/python -m pytest $(ARGS)

lint: setup ## ruff, mypy --strict, clang-format, syntax of scripts; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python -m py_compile $(PY_FILES)
	bash -n .ci/run $(wildcard scripts/*.sh)
	@$(if $(C_FILES),$(BIN)/clang-format --dry-run --Werror $(C_FILES))
	@echo "lint: clean"

format: setup ## rewrite Python and C sources in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(C_FILES),$(BIN)/clang-format -i $(C_FILES))

asan: setup ## C test programs and SANITIZE_TESTS under AddressSanitizer and UBSan
	$(MAKE) -f native.mk VARIANT=asan check
	scripts/sanitize.sh --python $(BIN)/python asan $(SANITIZE_TESTS) $(ARGS)

tsan: setup ## C test programs and SANITIZE_TESTS under ThreadSanitizer
	$(MAKE) -f native.mk VARIANT=tsan check
	scripts/sanitize.sh --python $(BIN)/python tsan $(SANITIZE_TESTS) $(ARGS)

stress: build $(TOOLS) ## property-based and stateful tests with 2000 examples each
	HYPOTHESIS_PROFILE=stress $(BIN)/python -m pytest --timeout=3600 tests/stateful tests/unit $(ARGS)

fuzz: build ## libFuzzer harnesses in tests/fuzz (clang), FUZZ_SECONDS each, then its pytest files
	scripts/fuzz.sh --python $(BIN)/python --seconds $(FUZZ_SECONDS)

bench: build ## what recording costs, and every other benchmark of this machine
	$(BIN)/bqlscope bench $(ARGS)

linux-guest: build ## build a small Linux from Debian's source and boot it from a virtio-blk root
	scripts/linux_guest.sh $(ARGS)

bench-deps: ## as root on Debian 12: QEMU 10 from backports, fio, for side-by-side runs
	scripts/bootstrap.sh --qemu

metrics-doc: build ## write docs/metrics.md anew from the table of metrics
	$(BIN)/python -m exporters.reference docs/metrics.md

monitor-doc: build ## write docs/monitor.md anew from the declarations of monitor commands
	$(BIN)/python -m vmm.monitor.reference docs/monitor.md

dashboards: build ## write grafana's dashboards and rules anew from their Python source
	$(BIN)/python -m grafana $(ARGS)

demo-metrics: build ## Prometheus against two live VMs under load, until Ctrl-C; installs prometheus
	@scripts/bootstrap.sh --prometheus
	@$(BIN)/python -m grafana.demo $(ARGS)

dashboard-images: build ## draw the dashboards with live figures to docs/images
	@scripts/bootstrap.sh --prometheus
	$(BIN)/python -m grafana.images $(ARGS)

lock: setup ## pin the newest versions that pyproject.toml allows into requirements/dev.txt
	$(BIN)/python -m piptools compile --quiet --upgrade --extra dev --allow-unsafe \
		--generate-hashes --strip-extras --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --no-emit-options --no-header -o requirements/dev.txt pyproject.toml
	@sed -i '1i # Locked development and test environment: every file by hash, no index address. Made by `make lock`.' \
		requirements/dev.txt

clean: ## remove everything built; keeps .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(INSTALLED)
	rm -f vmm/_native*.so vmm/_native.c vmm/guest/*.elf vmm/guest/*.o profiler/preload/*.so
	find vmm profiler exporters grafana tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv too
	rm -rf $(VENV)
