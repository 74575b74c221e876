# tools/targets.mk - the targets that are not the build itself. Included by the Makefile.
# SPDX-License-Identifier: MIT

MAN      ?= $(PREFIX)/share/man
# How tests are run: RUN="--prefix valgrind". Which: ONLY="sched cxx", folders of build/tests.
RUN      ?=
ONLY     ?=
headers  := include/coir.h include/coir.hpp $(wildcard include/coir/*.h include/coir/*.hpp)
make_in   = $(MAKE) --no-print-directory BUILD=$(BUILD)/$(1)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' \
	    $(MAKEFILE_LIST) | sort
	@echo "Variables: CC CXX CFLAGS BUILD=dir ARCH=boost DEBUG=1 V=1 TEST_SCALE=1..100"
	@echo "           ENGINES=uring PREFIX= DESTDIR="

.PHONY: setup
setup: ## install what building and testing needs (tools/setup --help)
	@tools/setup

.PHONY: demo
demo: setup ## ten thousand real downloads on one OS thread, every byte checked
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) tools/demo.sh

.PHONY: tests
tests: $(tests) ## build the tests, do not run them

.PHONY: test
test: setup ## all tests: of the library, of the samples, and the freestanding proof
	@$(MAKE) --no-print-directory run-tests

# The compiler's target decides whether the freestanding build can be made: x86-64 so far.
chosen     = $(foreach d,$(ONLY),$(filter $(BUILD)/tests/$(d)/%,$(tests)))
wanted     = $(filter-out $(if $(findstring valgrind,$(RUN)),$(no_valgrind)),\
                          $(if $(ONLY),$(chosen),$(tests)))
variant    = $(SAN)$(RUN)$(ONLY)$(DEBUG)
free_tests = "tests/freestanding.py $(BUILD)/freestanding/core.o" \
             "tests/lto_tls.py --worker $(BUILD)/freestanding/core.o"
free_core  = $(if $(filter x86_64,$(ARCH)),$(if $(variant),,$(BUILD)/freestanding/core.o))

# What uses the process's engine runs on epoll once more; tests of io choose theirs by themselves.
on_engine  = $(filter $(addprefix $(BUILD)/tests/,sched_uring/% api/% cxx/% fetch/%),$(wanted))
on_epoll   = $(if $(filter epoll,$(ENGINES)),\
               $(foreach t,$(on_engine) $(samples_run),"COIR_IO=epoll $(t)"))
samples_run = $(if $(RUN)$(ONLY),,tests/samples/run.py)

.PHONY: run-tests
run-tests: all $(wanted) $(free_core) $(model_test)
	@TEST_SCALE=$(TEST_SCALE) BUILD=$(BUILD) CC=$(CC) CXX=$(CXX) SAN="$(SAN)" \
	    tools/run_tests.py $(RUN) \
	    $(wanted) $(if $(free_core),$(free_tests)) \
	    $(if $(model_test),$(model_test) "$(call model_mutants)") \
	    $(samples_run) $(on_epoll) $(if $(SAN)$(RUN)$(ONLY),,tests/headers.sh)

# The core as the drop-in will build it: no libc, no thread-locals, no vector registers.
# gcc makes calls of mem* from loops unless told not to; clang does not know the option.
free_flags := -DCOIR_FREESTANDING -mgeneral-regs-only -fno-stack-protector \
              $(if $(findstring clang,$(shell $(CC) --version)),,-fno-tree-loop-distribute-patterns)
free_obj   := $(patsubst %,$(BUILD)/freestanding/%.o,$(core_src))

.PHONY: freestanding
freestanding: $(BUILD)/freestanding/core.o ## build the core without libc, and prove it
	@tools/run_tests.py $(free_tests)

$(BUILD)/freestanding/core.o: $(free_obj)
	$(q)$(CC) -r -nostdlib -o $@ $^

$(BUILD)/freestanding/%.c.o: %.c
	@mkdir -p $(@D)
	$(say) free $<
	$(q)$(CC) $(cflags) $(free_flags) -c -o $@ $<

$(BUILD)/freestanding/%.S.o: %.S
	@mkdir -p $(@D)
	$(q)$(CC) $(cflags) -c -o $@ $<

# The slow ones run with smaller counts.
.PHONY: asan ubsan tsan valgrind
asan: setup ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@+ASAN_OPTIONS=detect_stack_use_after_return=1 \
	    $(call make_in,asan) run-tests TEST_SCALE=$(or $(SCALE),20) \
	    SAN="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	    -DTEST_UBSAN"
ubsan: setup ## the tests under UndefinedBehaviorSanitizer alone
	@+$(call make_in,ubsan) run-tests TEST_SCALE=$(or $(SCALE),20) \
	    SAN="-fsanitize=undefined -fno-sanitize-recover=all -DTEST_UBSAN"
# Clang's: gcc's runtime dies at 8128 fibers.
tsan: setup ## the tests under ThreadSanitizer
	@tools/setup dev
	@+TSAN_OPTIONS=die_after_fork=0:report_signal_unsafe=0 $(call make_in,tsan) run-tests \
	    CC=clang CXX=clang++ TEST_SCALE=$(or $(SCALE),5) \
	    SAN="-fsanitize=thread"
# Left out: valgrind knows no pidfd_open(2), and gives no signals to who runs on a stack of ours.
no_valgrind := $(addprefix %/io/,process_test wrong_kind_test signal_test)
valgrind: setup ## the tests under valgrind's memcheck
	@tools/setup dev
	@+$(call make_in,valgrind) run-tests CFLAGS="-O1 -g -DCOIR_VALGRIND" \
	    TEST_SCALE=$(or $(SCALE),2) \
	    RUN='--timeout 900 --prefix "valgrind -q --error-exitcode=99 --fair-sched=yes \
	    --suppressions=tests/valgrind.supp"'

# The library by both compilers at their boldest, and what they carry over a switch.
lto_lib    = $(BUILD)/lto-$(1)/libcoir.so.$(SOVERSION)

.PHONY: check-lto
check-lto: setup ## no thread pointer is carried over a switch in builds with -flto; x86-64
	@tools/setup dev
	@+$(call make_in,lto-gcc) CC=gcc CFLAGS="-O2 -flto=auto" $(call lto_lib,gcc)
	@+$(call make_in,lto-clang) CC=clang CFLAGS="-O2 -flto" LDFLAGS=-fuse-ld=lld \
	    $(call lto_lib,clang)
	@tools/run_tests.py "tests/lto_tls.py --self-test gcc clang" \
	    "tests/lto_tls.py $(call lto_lib,gcc) $(call lto_lib,clang)"

# Another CPU's programs are run by qemu-user, on epoll, since it has no io_uring. Samples are
# started by scripts of their names, so that their tests need not know of it.
qemu       = qemu-$(cpu) -L /usr/$(cpu)-linux-gnu
in_qemu    = $(patsubst $(BUILD)/%,$(BUILD)/qemu/%,$(samples))

$(BUILD)/qemu/samples/%: $(BUILD)/samples/%
	@mkdir -p $(@D)
	$(q)printf '#!/bin/sh\nexec $(qemu) -0 "$$0" $(abspath $<) "$$@"\n' > $@
	@chmod +x $@

.PHONY: run-in-qemu
run-in-qemu: all $(wanted) $(in_qemu)
	@TEST_QEMU=1 TEST_SCALE=$(TEST_SCALE) BUILD=$(BUILD)/qemu tools/run_tests.py --timeout 600 \
	    $(foreach t,$(wanted),"$(qemu) $t") $(samples_run)

.PHONY: cross
cross: ## cross-compile for aarch64 and riscv64; the tests under qemu-user
	@tools/setup cross
	@+status=0; for cpu in aarch64 riscv64; do \
	    $(MAKE) --no-print-directory run-in-qemu BUILD=$(BUILD)/$$cpu \
	        CC=$$cpu-linux-gnu-gcc CXX=$$cpu-linux-gnu-g++ AR=$$cpu-linux-gnu-ar \
	        TEST_SCALE=$(or $(SCALE),5) || status=1; \
	done; exit $$status

# C only: Debian has no C++ library for it.
.PHONY: musl
musl: ## the library with musl in place of glibc, and its tests in C
	@tools/setup cross
	@+$(call make_in,musl) run-tests-in-c CC=musl-gcc TEST_SCALE=$(or $(SCALE),20)

in_c       = $(filter-out $(BUILD)/tests/cxx/%,$(wanted))

.PHONY: run-tests-in-c
run-tests-in-c: $(in_c)
	@TEST_SCALE=$(TEST_SCALE) tools/run_tests.py $(RUN) $(in_c)

.PHONY: check-long
check-long: ## everything: compilers, Boost's switch, other CPUs, musl, sanitizers, valgrind
	tools/setup build dev bench cross
	tools/check_long.sh

.PHONY: tidy
tidy: ## the style check
	tools/tidy.py --self-test
	tools/tidy.py
	@case "$$(clang-format --version 2>/dev/null)" in \
	*'version 14'*) clang-format --dry-run -Werror $(headers) ;; \
	*) echo "tidy: no clang-format 14, layout not checked" ;; \
	esac
	@! command -v groff >/dev/null || { \
	    said=$$(cd docs/man && groff -mdoc -ww -z -Tutf8 *.[37] 2>&1); \
	    [ -z "$$said" ] || { echo "$$said"; exit 1; }; }

.PHONY: format
format: ## lay out the C sources by .clang-format
	clang-format -i $(headers) $(wildcard src/*/*.[ch] src/arch/*/*.[ch])

.PHONY: install
install: all install-man ## libraries, headers, pkg-config files and manual pages: PREFIX= DESTDIR=
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/coir
	install -m 644 $(BUILD)/libcoir.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(BUILD)/libcoir.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/
	ln -sf libcoir.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libcoir.so
	install -m 644 include/coir.h include/coir.hpp $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/coir/*.h include/coir/*.hpp $(DESTDIR)$(PREFIX)/include/coir/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(lib_libs)|' \
	    tools/coir.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/coir.pc
	install -m 644 $(BUILD)/libcoir-fetch.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(BUILD)/libcoir-fetch.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/
	ln -sf libcoir-fetch.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libcoir-fetch.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(fetch_libs)|' \
	    tools/coir-fetch.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/coir-fetch.pc

# A page that names several calls is found under each of them.
.PHONY: install-man
install-man: ## install the manual pages
	@for page in docs/man/*.[37]; do \
	    section=$${page##*.}; dir=$(DESTDIR)$(MAN)/man$$section; \
	    install -d $$dir && install -m 644 $$page $$dir/ || exit 1; \
	    sed -n '/^.Sh SYN/q; s/^.Nm \([A-Za-z0-9_]*\).*/\1/p' $$page | while read -r name; do \
	        [ -e $$dir/$$name.$$section ] || ln -s $${page##*/} $$dir/$$name.$$section; \
	    done; \
	done

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build
