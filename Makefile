# Unsay: build, test, install. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3
CC ?= gcc
SCRATCH ?= .build

VERSION := $(shell sed -n 's/^\#define UNSAY_VERSION_\(MAJOR\|MINOR\|PATCH\) *//p' include/unsay.h | paste -sd.)
ABI := $(shell sed -n 's/^\#define UNSAY_ABI_VERSION *\([0-9]*\).*/\1/p' include/unsay.h)
SONAME := libunsay.so.$(ABI)

# Without manifest caching: SwiftPM 6.3 cannot read its cached build description back
# ("unknown build description").
SWIFT_FLAGS := --explicit-target-dependency-import-check error --disable-build-manifest-caching
BUILT := $(SCRATCH)/release/libunsay.so
PACKAGED := bindings/python/src/unsay/libunsay.so
VENV := .venv
IN_VENV := PYTHONPATH=bindings/python/src $(VENV)/bin/python
TINY := Tests/Models/tiny-v10
C_FLAGS := -std=c11 -O1 -g -Wall -Wextra -Werror -Iinclude
C_LINK := -Lbuild/lib -lunsay -Wl,-rpath,$(CURDIR)/build/lib -lm -lpthread
C_SOURCES = $(shell find Sources include Tests/c examples/c -name '*.c' -o -name '*.h' \
    -o -name '*.cpp' -o -name '*.cc' | sort)

.PHONY: help setup build demo test test-swift test-threads test-c test-python test-large \
    test-memory-faults sanitize leaks soak killing fuzz bench results bench-products \
    bench-tokenizers install format lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## check the toolchain and the libraries; as root, install what is missing
	@scripts/setup.sh

build: setup ## build libunsay.so into build/lib and beside the Python package
	swift build -c release --product unsay --scratch-path $(SCRATCH) $(SWIFT_FLAGS)
	@mkdir -p build/lib
	@# Without debug information, which valgrind 3.19 cannot read from this compiler.
	@strip --strip-debug -o build/lib/$(SONAME) $(BUILT)
	@ln -sf $(SONAME) build/lib/libunsay.so
	@install -m 755 build/lib/$(SONAME) $(PACKAGED)
	@scripts/check_exports.sh build/lib/$(SONAME)

demo: build ## the point in two minutes: a model unsays a word, measured on held-out inputs
	@PYTHONPATH=bindings/python/src $(PYTHON) examples/python/demo.py

test: build ## every test; ends with the totals of the runners
	@mkdir -p build/test
	@$(MAKE) --no-print-directory test-swift 2>&1 | tee build/test/swift.log
	@$(MAKE) --no-print-directory test-c 2>&1 | tee build/test/c.log
	@$(MAKE) --no-print-directory test-python 2>&1 | tee build/test/python.log
	@echo; scripts/totals.sh

test-swift: ## the Swift tests alone
	# One test at a time: some choose the processor level, which is the process's.
	swift test -c release -Xswiftc -enable-testing $(SWIFT_FLAGS) --scratch-path build/swift-test \
	    --no-parallel

test-threads: ## serving while patching, under ThreadSanitizer
	SANITIZE=1 swift test -c release -Xswiftc -enable-testing --sanitize=thread $(SWIFT_FLAGS) \
	    --scratch-path build/tsan --no-parallel --filter ConcurrencyTests

C_TESTS := $(addprefix build/test/,every_function story bad_arguments leaks memory_faults soak)

test-c: $(C_TESTS) ## the C tests alone, the story under valgrind
	@scripts/check_header.sh
	build/test/every_function
	@rm -rf build/test/scratch && mkdir -p build/test/scratch
	valgrind --quiet --leak-check=full --show-leak-kinds=definite \
	    --errors-for-leak-kinds=definite \
	    --error-exitcode=1 build/test/story $(TINY) build/test/scratch
	build/test/bad_arguments $(TINY) build/test/scratch
	build/test/leaks $(TINY) 120 60
	@# A prime, so that every kind of allocation has its turn.
	build/test/memory_faults $(TINY) build/test/scratch 1999 2> build/test/memory_faults.log
	build/test/soak $(TINY) build/test/scratch 3

build/test/every_function: Tests/c/every_function.c include/unsay.h build/lib/libunsay.so
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $< -o $@ $(C_LINK)

build/test/story: $(wildcard Tests/c/story*) include/unsay.h build/lib/libunsay.so
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(filter %.c,$^) -o $@ $(C_LINK)

build/test/bad_arguments_cases.c: Tests/c/make_bad_arguments.py Tests/c/bad_argument_values.py include/unsay.h
	@mkdir -p $(@D)
	$(PYTHON) $< > $@

BAD_ARGUMENTS := Tests/c/bad_arguments.c Tests/c/bad_arguments_world.c \
    build/test/bad_arguments_cases.c

build/test/bad_arguments: $(BAD_ARGUMENTS) Tests/c/bad_arguments.h build/lib/libunsay.so
	$(CC) $(C_FLAGS) -ITests/c $(BAD_ARGUMENTS) -o $@ $(C_LINK)

build/test/leaks: Tests/c/leaks.c Tests/c/resident.h build/lib/libunsay.so
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $< -o $@ $(C_LINK)

build/test/memory_faults: $(wildcard Tests/Faults/memory*) build/lib/libunsay.so
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(filter %.c,$^) -o $@ $(C_LINK)

build/test/soak: $(wildcard Tests/Soak/*) Tests/c/resident.h build/lib/libunsay.so
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(filter %.c,$^) -o $@ $(C_LINK)

build/lib/libunsay.so:
	@$(MAKE) --no-print-directory build

test-python: $(VENV)/ready build/lib/libunsay.so ## the Python tests alone
	$(IN_VENV) -m pytest -q Tests/python

test-large: $(VENV)/ready build/lib/libunsay.so ## a model of 2.6 GB, opened, trained and saved; needs 16 GB of memory and of disk
	$(IN_VENV) -m pytest -q -s Tests/python/large.py

$(VENV)/ready: scripts/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

STRIDE ?= 1

test-memory-faults: build/test/memory_faults ## every STRIDE-th (1) allocation fails in turn; hours
	@mkdir -p build/test/faults
	build/test/memory_faults $(TINY) build/test/faults $(STRIDE) 2> build/test/memory_faults.log

sanitize: build build/test/story build/test/bad_arguments ## the C tests under Address-, Undefined- and ThreadSanitizer and valgrind
	@scripts/sanitize.sh $(TINY)

leaks: build build/test/leaks ## 10,000 openings and 1,000 patches: memory stays as it is
	build/test/leaks $(TINY) 10000 1000

MINUTES ?= 60
REST ?= 0

soak: build build/test/soak ## eight threads generate for MINUTES (60) while patches come and go
	@mkdir -p build/test/soaked
	build/test/soak $(TINY) build/test/soaked $$(($(MINUTES) * 60)) $(REST)

KILLS ?= 200

killing: build $(VENV)/ready ## SIGKILL at KILLS (200) random moments of writing: old or new
	@rm -rf build/test/killed && mkdir -p build/test/killed
	$(IN_VENV) Tests/Killing/killing.py build/test/killed $(KILLS)

FUZZ_RUNTIME = $(shell find "$$(dirname "$$(readlink -f "$$(command -v swift)")")/../lib/clang" \
    -name 'libclang_rt.fuzzer_no_main-x86_64.a' | head -1)
SECONDS ?= 20

fuzz: setup $(VENV)/ready build/lib/libunsay.so ## run each fuzz target for SECONDS (20) under AddressSanitizer
	FUZZ=1 FUZZ_RUNTIME=$(FUZZ_RUNTIME) swift build -c release --product fuzz --sanitize=address \
	    --scratch-path build/fuzz $(SWIFT_FLAGS)
	@$(IN_VENV) Tests/Fuzz/make_seeds.py build/fuzz/seeds
	@Tests/Fuzz/run.sh build/fuzz/release/fuzz build/fuzz $(SECONDS)

PEERS := $(VENV)-peers
RESULTS := $(VENV)-results

$(RESULTS)/ready: scripts/requirements-results.txt scripts/requirements.txt
	$(PYTHON) -m venv $(RESULTS)
	$(RESULTS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

results: build $(RESULTS)/ready ## docs/results.md anew: every loss on debsum; half an hour
	PYTHONPATH=bindings/python/src $(RESULTS)/bin/python scripts/results.py

$(PEERS)/ready: Benchmarks/requirements.txt scripts/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

BENCH ?=

bench: build $(PEERS)/ready ## every speed beside its peers, and docs/performance.md; BENCH=--quick for fewer
	$(PEERS)/bin/python Benchmarks/bench.py --report $(BENCH)

bench-products: ## products of each type beside OpenBLAS (libopenblas-dev), one thread
	$(MAKE) --no-print-directory -C Benchmarks/products

bench-tokenizers: build $(PEERS)/ready ## encoding beside sentencepiece and tokenizers
	PYTHONPATH=bindings/python/src $(PEERS)/bin/python Benchmarks/encoding.py

install: build ## install library, header and unsay.pc under PREFIX (honours DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 build/lib/$(SONAME) $(DESTDIR)$(PREFIX)/lib/libunsay.so.$(VERSION)
	strip --strip-unneeded $(DESTDIR)$(PREFIX)/lib/libunsay.so.$(VERSION)
	ln -sf libunsay.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libunsay.so
	install -m 644 include/unsay.h $(DESTDIR)$(PREFIX)/include/unsay.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' unsay.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/unsay.pc

format: $(VENV)/ready ## format Swift, C, C++ and Python
	swift format format -i -r Package.swift Sources Tests
	clang-format -i $(filter-out include/unsay.h,$(C_SOURCES))
	$(VENV)/bin/ruff format -q --config bindings/python/pyproject.toml bindings examples Tests/python scripts

lint: $(VENV)/ready ## formatters as judges, type checks, header rules, floors
	swift format lint -s -r Package.swift Sources Tests
	clang-format --dry-run -Werror $(filter-out include/unsay.h,$(C_SOURCES))
	$(VENV)/bin/ruff format -q --check --config bindings/python/pyproject.toml bindings examples Tests/python scripts
	$(VENV)/bin/ruff check -q --config bindings/python/pyproject.toml bindings examples Tests/python scripts
	cd bindings/python && $(CURDIR)/$(VENV)/bin/mypy
	scripts/check_header.sh
	$(PYTHON) scripts/check_floors.py

clean: ## remove what was built
	rm -rf $(SCRATCH) build $(PACKAGED) $(VENV) $(PEERS) $(RESULTS)
