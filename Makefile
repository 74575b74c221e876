# coir - build, test, measure, install.   `make help` lists the targets; there is no configure step.
# SPDX-License-Identifier: MIT

VERSION  := 0.1.0
SOVERSION := 0

# Where things are built; each variant (compiler, sanitizer, switch) has a directory of its own, so none spoils another.
BUILD    ?= build
# The switch: this machine's own port, or ARCH=boost for Boost.Context's fcontext.
ARCH     ?= $(shell $(CC) -dumpmachine | sed 's/-.*//')
PREFIX   ?= /usr/local
DESTDIR  ?=
# 1 to 100: how large the tests' counts are. The slow variants below lower it.
TEST_SCALE ?= 100

CC       ?= cc
CXX      ?= c++
AR       ?= ar
CFLAGS   ?= -O2 -g
CXXFLAGS ?= -O2 -g
SAN      ?=

warnings  := -Wall -Wextra -Werror
includes  := -Iinclude -Isrc
branch    := $(if $(filter x86_64,$(ARCH)),-fcf-protection=branch)$(if $(filter aarch64,$(ARCH)),-mbranch-protection=bti)
cflags     = -std=gnu11 -D_GNU_SOURCE $(warnings) $(includes) -fvisibility=hidden -fPIC -pthread $(branch) $(CFLAGS) $(SAN) -MMD -MP
cxxflags   = -std=c++17 $(warnings) $(includes) -pthread $(CXXFLAGS) $(SAN) -MMD -MP
ldflags    = -pthread $(LDFLAGS) $(SAN)

arch_src  := $(wildcard src/arch/$(ARCH)/*.c src/arch/$(ARCH)/*.S)
core_src  := $(arch_src) $(wildcard src/sched/*.c src/sync/*.c src/io/*.c)
lib_src   := $(core_src) $(wildcard src/api/*.c)
lib_obj   := $(patsubst %,$(BUILD)/obj/%.o,$(lib_src))
lib_libs  := $(if $(filter boost,$(ARCH)),-lboost_context)

sample_src := $(wildcard samples/*.c)
samples   := $(patsubst samples/%.c,$(BUILD)/samples/%,$(sample_src))

support_obj := $(patsubst %,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c))
test_src  := $(wildcard tests/arch/*_test.c tests/sched/*_test.c tests/io/*_test.c tests/api/*_test.c tests/samples/*_test.c)
test_cxx  := $(wildcard tests/cxx/*_test.cc)
tests     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(test_src)) $(patsubst tests/%.cc,$(BUILD)/tests/%,$(test_cxx))

.PHONY: all
all: $(BUILD)/libcoir.a $(BUILD)/libcoir.so.$(SOVERSION) $(BUILD)/coir.pc $(samples)  ## the libraries and the samples (default)

$(BUILD)/libcoir.a: $(lib_obj)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/libcoir.so.$(SOVERSION): $(lib_obj) src/coir.map
	$(CC) -shared -Wl,-soname,libcoir.so.$(SOVERSION) -Wl,--version-script=src/coir.map -Wl,-z,defs -Wl,-z,noexecstack \
	    $(ldflags) -o $@ $(lib_obj) $(lib_libs)
	@ln -sf libcoir.so.$(SOVERSION) $(BUILD)/libcoir.so

$(BUILD)/coir.pc: tools/coir.pc.in Makefile
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(lib_libs)|' $< > $@

$(BUILD)/obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(cflags) -c -o $@ $<

$(BUILD)/obj/%.S.o: %.S
	@mkdir -p $(@D)
	$(CC) $(cflags) -c -o $@ $<

$(BUILD)/samples/%: samples/%.c $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(CC) $(cflags) $(ldflags) -o $@ $< $(BUILD)/libcoir.a $(lib_libs)

# Tests see the inside: they are linked with the static library, whose hidden names they may use.
$(BUILD)/tests/%_test: tests/%_test.c $(support_obj) $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(CC) $(cflags) -Itests $(ldflags) -o $@ $< $(support_obj) $(BUILD)/libcoir.a $(lib_libs) -lcmocka

$(BUILD)/tests/%_test: tests/%_test.cc $(support_obj) $(BUILD)/libcoir.a
	@mkdir -p $(@D)
	$(CXX) $(cxxflags) -Itests $(ldflags) -o $@ $< $(support_obj) $(BUILD)/libcoir.a $(lib_libs) -lcmocka

$(BUILD)/obj/tests/%.c.o: cflags += -Itests

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

include tools/targets.mk
