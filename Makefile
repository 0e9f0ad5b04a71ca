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
# The same bytes wherever the checkout lies: no path of it in messages, no digest of the
# compiler's arguments, and no debug information, which names caches, before the build id is taken.
REPRODUCIBLE := -Xswiftc -file-prefix-map -Xswiftc $(CURDIR)=. -Xcc -ffile-prefix-map=$(CURDIR)=. \
    -Xswiftc -Xfrontend -Xswiftc -disable-incremental-llvm-codegen -Xlinker --strip-debug \
    --disable-local-rpath
BUILT := $(SCRATCH)/release/libunsay.so
PACKAGED := bindings/python/src/unsay/libunsay.so
VENV := .venv
IN_VENV := PYTHONPATH=bindings/python/src $(VENV)/bin/python
TINY := Tests/Models/tiny-v10
C_FLAGS := -std=c11 -O1 -g -Wall -Wextra -Werror -Iinclude
C_LINK := -Lbuild/lib -lunsay -Wl,-rpath,$(CURDIR)/build/lib -lm -lpthread
C_SOURCES = $(shell find Sources include Tests/c Tests/abi/client.c examples/c -name '*.c' -o -name '*.h' \
    -o -name '*.cpp' -o -name '*.cc' | sort)

PYTHON_SOURCES := Benchmarks bindings examples scripts Tests

.PHONY: help setup build demo test test-swift test-threads test-c test-python test-large \
    test-memory-faults sanitize leaks soak killing fuzz bench study train-debsum \
    bench-products bench-tokenizers install install-files deb hosts test-package test-by-version wheel docs \
    docs-swift abi reproducible format lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## check the toolchain and the libraries; as root, install what is missing
	@scripts/setup.sh

build: setup ## build libunsay.so into build/lib and beside the Python package
	swift build -c release --product unsay --scratch-path $(SCRATCH) $(SWIFT_FLAGS) $(REPRODUCIBLE)
	@mkdir -p build/lib
	@# Without debug information, which valgrind 3.19 cannot read from this compiler either.
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
	    --errors-for-leak-kinds=definite --suppressions=Tests/c/valgrind.supp \
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

hosts: $(VENV)/ready build/lib/libunsay.so ## the examples in Rust and Go, built against an installed library
	$(IN_VENV) -m pytest -q -rs Tests/python/test_hosts.py

test-package: $(VENV)/ready ## the Swift package as a dependency, and docs/swift.md; builds it anew, minutes
	$(IN_VENV) -m pytest -q -rs Tests/python/swift_package.py

test-by-version: $(VENV)/ready ## the same of the last commit, by version from a repository; minutes
	$(IN_VENV) -m pytest -q -rs Tests/python/swift_version.py

abi: ## the binary interface beside the first release's (abigail-tools)
	$(PYTHON) scripts/check_abi.py

reproducible: ## two builds in different folders: the same bytes? twice as long as a build
	scripts/check_reproducible.sh

test-large: $(VENV)/ready build/lib/libunsay.so ## a model of 2.6 GB, opened, trained and saved; needs 16 GB of memory and of disk
	$(IN_VENV) -m pytest -q -s Tests/python/large.py

$(VENV)/ready: scripts/requirements.txt examples/paper/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

STRIDE ?= 1

test-memory-faults: build/test/memory_faults ## every STRIDE-th (1) allocation fails in turn; an hour
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

STUDY ?= debsum
OUT ?= build/$(STUDY)
IN_STUDY = PYTHONPATH=bindings/python/src:examples $(VENV)/bin/python -m paper
STUDY_OPTIONS = --settings examples/paper/studies/$(STUDY).json --out $(OUT)

study: build $(VENV)/ready ## the paper's experiment, resumable: STUDY (debsum) into OUT (build/STUDY); hours
	$(IN_STUDY) data $(STUDY_OPTIONS)
	$(IN_STUDY) estimate $(STUDY_OPTIONS)
	$(IN_STUDY) all $(STUDY_OPTIONS)

train-debsum: build $(VENV)/ready ## the embedded model anew from random weights, resumable; 12 hours
	$(MAKE) --no-print-directory study STUDY=train-debsum

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

install: build install-files ## install library, header, unsay.pc and CMake's files under PREFIX (honours DESTDIR, LIBDIR)
	@# The loader's cache, where it is this machine's and may be written.
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig

LIBDIR ?= lib
INTO := $(DESTDIR)$(PREFIX)
# From LIBDIR/cmake/unsay back to PREFIX.
UP = $(shell realpath -sm --relative-to=/x/$(LIBDIR)/cmake/unsay /x)
FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' \
    -e 's|@SONAME@|$(SONAME)|' -e 's|@UP@|$(UP)|'

install-files: build/lib/libunsay.so
	install -d $(INTO)/$(LIBDIR)/pkgconfig $(INTO)/$(LIBDIR)/cmake/unsay $(INTO)/include
	install -m 644 build/lib/$(SONAME) $(INTO)/$(LIBDIR)/libunsay.so.$(VERSION)
	strip --strip-unneeded --remove-section=.comment $(INTO)/$(LIBDIR)/libunsay.so.$(VERSION)
	ln -sf libunsay.so.$(VERSION) $(INTO)/$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(INTO)/$(LIBDIR)/libunsay.so
	install -m 644 include/unsay.h $(INTO)/include/unsay.h
	$(FILL) packaging/unsay.pc.in > $(INTO)/$(LIBDIR)/pkgconfig/unsay.pc
	for file in unsay-config unsay-config-version; do $(FILL) packaging/cmake/$$file.cmake.in \
	    > $(INTO)/$(LIBDIR)/cmake/unsay/$$file.cmake; done

deb: build ## Debian packages of library, development files and Python package, in build/deb
	scripts/make_deb.sh

docs-swift: build ## the reference of the Swift interface, by docc, in build/docs/swift
	scripts/make_swift_docs.sh $(SCRATCH) $(SWIFT_FLAGS) $(REPRODUCIBLE)

wheel: $(VENV)/ready build ## a wheel with every library inside, in build/wheel
	@$(VENV)/bin/python scripts/wheel.py

docs: $(VENV)/ready build/lib/libunsay.so ## the pages of the Python package, in build/docs
	@$(VENV)/bin/python scripts/api_docs.py

format: $(VENV)/ready ## format Swift, C, C++ and Python
	swift format format -i -r Package.swift Sources Tests examples/swift
	clang-format -i $(filter-out include/unsay.h,$(C_SOURCES))
	$(VENV)/bin/ruff format -q --config bindings/python/pyproject.toml $(PYTHON_SOURCES)

lint: $(VENV)/ready ## formatters as judges, type checks, header rules, floors
	swift format lint -s -r Package.swift Sources Tests examples/swift
	clang-format --dry-run -Werror $(filter-out include/unsay.h,$(C_SOURCES))
	$(VENV)/bin/ruff format -q --check --config bindings/python/pyproject.toml $(PYTHON_SOURCES)
	$(VENV)/bin/ruff check -q --config bindings/python/pyproject.toml $(PYTHON_SOURCES)
	cd bindings/python && $(CURDIR)/$(VENV)/bin/mypy
	scripts/check_header.sh
	$(PYTHON) scripts/check_floors.py
	$(PYTHON) scripts/check_tuples.py
	$(PYTHON) scripts/check_arithmetic.py

clean: ## remove what was built
	rm -rf $(SCRATCH) build $(PACKAGED) $(VENV) $(PEERS)
