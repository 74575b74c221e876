# coir - build, test, measure, install.   `make help` lists the targets; there is no configure step.
# SPDX-License-Identifier: MIT

VERSION  := 0.1.0
SOVERSION := 0

# Where things are built; each variant (compiler, sanitizer, switch) has a directory of its own.
BUILD    ?= build
CC       ?= cc
CXX      ?= c++
AR       ?= ar
# The switch: the CPU's own port, or ARCH=boost for Boost.Context's fcontext.
cpu       = $(shell $(CC) -dumpmachine | sed 's/-.*//')
ARCH     ?= $(cpu)
PREFIX   ?= /usr/local
DESTDIR  ?=
# What the tests run on, where both make a difference: "uring" leaves epoll out.
ENGINES  ?= uring epoll
# 1 to 100: how large the tests' counts are. The slow variants below lower it.
TEST_SCALE ?= 100

CFLAGS   ?= -O2 -g
CXXFLAGS ?= -O2 -g
SAN      ?=

# DEBUG=1: mistakes of the program, such as unlocking what it has not locked, end it with a message.
DEBUG    ?=
# V=1 shows the commands.
V        ?=
q        := $(if $(V),,@)
say      := @$(if $(V),:,printf '  %-4s %s\n')

# Another CPU's compiler (make cross), whose programs qemu-user runs, or another libc's (make musl):
# headers that are the same for all, liburing's and the kernel's, by links; and a small stand-in for
# cmocka, which has no library there.
cross     := $(filter-out $(shell uname -m),$(cpu))
musl      := $(findstring musl-gcc,$(CC))
foreign   := $(cross)$(musl)
cross_inc := $(if $(foreign),-Itests/support/cross -isystem $(BUILD)/include)
cmocka    := $(if $(foreign),,-lcmocka) -lm
linked    := /usr/include/liburing.h /usr/include/liburing \
             $(if $(musl),$(addprefix /usr/include/,linux asm-generic \
                                                    $(shell gcc -print-multiarch)/asm))

warnings  := -Wall -Wextra -Werror
includes  := -Iinclude -Isrc $(cross_inc) $(if $(filter boost,$(ARCH)),-DTEST_BOOST) \
             $(if $(filter x86_64,$(cpu)),,-DTEST_LARGE_FRAMES)
branch    := $(if $(filter x86_64,$(cpu)),-fcf-protection=branch)
branch    += $(if $(filter aarch64,$(cpu)),-mbranch-protection=bti)
debug     := $(if $(DEBUG),-DCOIR_DEBUG)
# Of unwinders: musl-gcc does not ask the linker for it.
eh_frame  := -Wl,--eh-frame-hdr
cflags     = -std=gnu11 -D_GNU_SOURCE $(warnings) $(includes) -fvisibility=hidden -fPIC -pthread \
             -fasynchronous-unwind-tables $(branch) $(debug) $(CFLAGS) $(SAN) -MMD -MP
cxxflags   = -std=c++17 $(warnings) $(includes) -pthread $(CXXFLAGS) $(SAN) -MMD -MP
ldflags    = -pthread $(if $(musl),$(eh_frame)) $(LDFLAGS) $(SAN)

# What the CPU can do is the CPU's own file, also under Boost's switch.
arch_src  := $(wildcard src/arch/$(ARCH)/*.c src/arch/$(ARCH)/*.S \
                        $(if $(filter boost,$(ARCH)),src/arch/$(cpu)/probe.c \
                                                     src/arch/$(cpu)/return.S))
core_src  := $(arch_src) $(wildcard src/sched/*.c src/sync/*.c src/io/*.c)
lib_src   := $(core_src) $(wildcard src/api/*.c)
lib_obj   := $(patsubst %,$(BUILD)/obj/%.o,$(lib_src))
lib_libs  := $(if $(filter boost,$(ARCH)),-lboost_context)

# libcoir-fetch: on the public headers only, and libcurl. Not for another CPU or libc, where there
# is no libcurl.
fetch_src := $(wildcard src/fetch/*.c)
fetch_obj := $(patsubst %,$(BUILD)/obj/%.o,$(fetch_src))
libfetch  := $(if $(foreign),,$(BUILD)/libcoir-fetch.a $(BUILD)/libcoir-fetch.so.$(SOVERSION))
fetch_libs := -lcurl

# A sample is samples/NAME.c, with the files of samples/NAME/ where one is not enough.
samples   := $(patsubst samples/%.c,$(BUILD)/samples/%,$(wildcard samples/*.c))
fetching  := $(patsubst samples/%.c,$(BUILD)/samples/%,\
               $(shell grep -l -e web.h -e coir/fetch.h samples/*.c))
samples   := $(if $(foreign),$(filter-out $(fetching),$(samples)),$(samples))

# Tests of sched and sync are built on a fake engine, which needs nothing of I/O; those of sched
# once more on the real one (sched_uring).
support_src := $(filter-out tests/support/use_%,$(wildcard tests/support/*.c)) \
               $(if $(musl),tests/support/cross/dl_find_object.c)
support_obj := $(patsubst %,$(BUILD)/obj/%.o,$(support_src))
# What sync says about mistakes is tested in a build that says it.
debug_src := $(wildcard src/sync/*.c src/api/sync.c)
debug_obj := $(patsubst %,$(BUILD)/debug/%.o,$(debug_src))
misuse    := $(BUILD)/tests/sync/misuse_test
fake_obj  := $(BUILD)/obj/tests/support/use_fake_engine.c.o
test_src  := $(foreach layer,arch sched sync io api,$(wildcard tests/$(layer)/*_test.c))
test_cxx  := $(wildcard tests/cxx/*_test.cc)
tests_on_fake := $(filter tests/sched/% tests/sync/%,$(test_src))
tests_fake  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(tests_on_fake))
tests_uring := $(patsubst tests/sched/%.c,$(BUILD)/tests/sched_uring/%,\
                 $(filter tests/sched/%,$(test_src)))
tests_other := $(patsubst tests/%.c,$(BUILD)/tests/%,\
                 $(filter-out $(tests_on_fake),$(test_src)))
tests_fetch := $(if $(foreign),,$(patsubst tests/%.c,$(BUILD)/tests/%,\
                                  $(wildcard tests/fetch/*_test.c)))
tests_cxx   := $(patsubst tests/%.cc,$(BUILD)/tests/%,$(test_cxx))
# The guards' blocks, at every level of optimisation, as C and as C++.
tests_flow    := $(foreach o,0 1 2 3,$(BUILD)/tests/api/timeout_flow_O$(o))
tests_flowxx  := $(foreach o,0 1 2 3,$(BUILD)/tests/cxx/timeout_flow_O$(o))
tests     := $(tests_other) $(tests_fake) $(tests_uring) $(tests_cxx) $(tests_flow) \
             $(tests_flowxx) $(tests_fetch)

libcoir   := $(BUILD)/libcoir.a $(BUILD)/libcoir.so.$(SOVERSION)
pc        := $(BUILD)/coir.pc $(BUILD)/coir-fetch.pc

.PHONY: all
all: $(libcoir) $(libfetch) $(pc) $(samples) ## the libraries and the samples (default)

$(BUILD)/libcoir.a: $(lib_obj)
	$(say) ar $@
	@rm -f $@
	$(q)$(AR) rcs $@ $^

$(BUILD)/libcoir.so.$(SOVERSION): $(lib_obj) src/coir.map
	$(say) link $@
	$(q)$(CC) -shared -Wl,-soname,libcoir.so.$(SOVERSION) -Wl,--version-script=src/coir.map \
	    $(if $(SAN),,-Wl,-z,defs) -Wl,-z,noexecstack -Wl,-z,nodelete \
	    $(ldflags) -o $@ $(lib_obj) $(lib_libs)
	@ln -sf libcoir.so.$(SOVERSION) $(BUILD)/libcoir.so

$(BUILD)/libcoir-fetch.a: $(fetch_obj)
	$(say) ar $@
	@rm -f $@
	$(q)$(AR) rcs $@ $^

$(BUILD)/libcoir-fetch.so.$(SOVERSION): $(fetch_obj) $(BUILD)/libcoir.so.$(SOVERSION) \
    src/fetch/fetch.map
	$(say) link $@
	$(q)$(CC) -shared -Wl,-soname,libcoir-fetch.so.$(SOVERSION) \
	    -Wl,--version-script=src/fetch/fetch.map \
	    $(if $(SAN),,-Wl,-z,defs) -Wl,-z,noexecstack -Wl,-z,nodelete \
	    $(ldflags) -o $@ $(fetch_obj) $(BUILD)/libcoir.so.$(SOVERSION) $(fetch_libs)
	@ln -sf libcoir-fetch.so.$(SOVERSION) $(BUILD)/libcoir-fetch.so

$(BUILD)/coir-fetch.pc: tools/coir-fetch.pc.in Makefile
	@mkdir -p $(@D)
	$(q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBS@|$(fetch_libs)|' $< > $@

$(BUILD)/coir.pc: tools/coir.pc.in Makefile
	@mkdir -p $(@D)
	$(q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBS@|$(lib_libs)|' $< > $@

$(if $(foreign),$(lib_obj): | $(BUILD)/include/liburing.h)
$(BUILD)/include/liburing.h:
	@mkdir -p $(@D)
	@ln -sfn $(linked) $(@D)/

$(BUILD)/obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(say) cc $<
	$(q)$(CC) $(cflags) -c -o $@ $<

$(BUILD)/obj/%.S.o: %.S
	@mkdir -p $(@D)
	$(say) cc $<
	$(q)$(CC) $(cflags) -c -o $@ $<

.SECONDEXPANSION:
# What the compiler says of headers is of one of the files only: it makes several in one go.
$(BUILD)/samples/%: samples/%.c $$(wildcard samples/%/*.c samples/%/*.h) $(wildcard samples/*.h) \
    $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CC) $(cflags) -Isamples -Isamples/$* $(ldflags) -o $@ $(filter %.c,$^) \
	    $(filter %fetch.a,$^) $(BUILD)/libcoir.a $(lib_libs)

$(fetching): $(BUILD)/libcoir-fetch.a
$(fetching): lib_libs += $(fetch_libs)

# Tests see the inside: they are linked with the static library, whose hidden names they may use.
link_test = $(CC) $(cflags) -Itests $(ldflags) -o $@ $(filter %.c %.o,$^) $(filter %.a,$^) \
            $(lib_libs) $(cmocka)

$(tests_fake): $(BUILD)/tests/%: tests/%.c $(fake_obj) $(support_obj) $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(link_test)

# Linked before the library, which is then not asked for these.
$(misuse): $(debug_obj)

$(BUILD)/debug/%.c.o: %.c
	@mkdir -p $(@D)
	$(say) cc $<
	$(q)$(CC) $(cflags) -DCOIR_DEBUG -c -o $@ $<

$(tests_uring): $(BUILD)/tests/sched_uring/%: tests/sched/%.c $(support_obj) $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(link_test)

$(tests_other): $(BUILD)/tests/%: tests/%.c $(support_obj) $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(link_test)

$(tests_fetch): $(BUILD)/tests/%: tests/%.c $(support_obj) $(BUILD)/libcoir-fetch.a \
    $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(link_test) $(fetch_libs)

$(tests_cxx): $(BUILD)/tests/%: tests/%.cc $(support_obj) $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CXX) $(cxxflags) -Itests $(ldflags) -o $@ $(filter %.cc %.o %.a,$^) \
	    $(lib_libs) $(cmocka)

$(tests_flow): $(BUILD)/tests/api/timeout_flow_O%: tests/api/timeout_flow.c $(support_obj) \
    $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(link_test) -O$*

$(tests_flowxx): $(BUILD)/tests/cxx/timeout_flow_O%: tests/api/timeout_flow.c $(support_obj) \
    $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(say) link $@
	$(q)$(CXX) $(cxxflags) -Itests $(ldflags) -O$* -o $@ -x c++ $< -x none \
	    $(filter %.o %.a,$^) $(lib_libs) $(cmocka)

$(BUILD)/obj/tests/%.c.o: cflags += -Itests

# Names in backtraces are those of the dynamic symbol table.
$(BUILD)/tests/api/dump_test $(BUILD)/tests/api/watchdog_test: ldflags += -rdynamic

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

include bench/bench.mk
include tests/model/model.mk
include tools/targets.mk
