# tests/model/model.mk - the model: all orders of a few threads' steps. Included by the Makefile.
# SPDX-License-Identifier: MIT
#
# The sources under the model, and the cases, are compiled with -fsanitize=thread, whose calls are
# tests/model/hooks.c; the rest is the model. gcc's, whatever CC is: clang's lets nobody take that
# option for anything but ThreadSanitizer.

MODEL_CC    ?= gcc
model_src   := $(addprefix src/,$(addsuffix .c,$(addprefix sched/,bias freshq lock park spawn \
                   steal timer wait worker) $(addprefix sync/,barrier chan cond future mutex once \
                   rwlock scope select sem waitgroup waitq)))
model_cases := tests/model/kit.c tests/model/litmus.c $(wildcard tests/model/case_*.c)
model_own   := $(filter-out $(model_cases),$(wildcard tests/model/*.c)) \
               $(wildcard src/arch/$(cpu)/*.c src/arch/$(cpu)/*.S)
model_flags := -std=gnu11 -D_GNU_SOURCE $(warnings) -Wno-missing-field-initializers -O2 -g \
               -DCOIR_FREESTANDING -fno-omit-frame-pointer -fcf-protection=none \
               -Itests/model/shim -Isrc -Iinclude -Itests/model -MMD -MP
model_hooks := -fsanitize=thread -U__SANITIZE_THREAD__ -Wno-tsan -fno-optimize-sibling-calls
model_in     = $(patsubst %,$(1)/in/%.o,$(model_src) $(model_cases))
model_out   := $(patsubst %,$(BUILD)/model/out/%.o,$(model_own))

$(BUILD)/model/model: $(call model_in,$(BUILD)/model) $(model_out)
	$(say) link $@
	$(q)$(MODEL_CC) -no-pie -o $@ $^

$(BUILD)/model/in/%.o: %
	@mkdir -p $(@D)
	$(say) cc $<
	$(q)$(MODEL_CC) $(model_flags) $(model_hooks) -c -o $@ $<

$(BUILD)/model/out/%.o: %
	@mkdir -p $(@D)
	$(say) cc $<
	$(q)$(MODEL_CC) $(model_flags) -c -o $@ $<

# Part of `make test` where gcc is the host's: the quick cases, and quick mutants of the sources.
model_usable  = $(if $(variant)$(cross),,$(shell command -v $(MODEL_CC)))
model_test    = $(if $(model_usable),$(BUILD)/model/model)
model_mutants = tests/model/mutants.py $(1) $(BUILD)/model $(MODEL_CC) \
                $(filter-out -MMD -MP,$(model_flags)) $(model_hooks)

.PHONY: model
model: $(BUILD)/model/model ## all orders of steps of a few threads: the larger cases, and mutants
	@$(BUILD)/model/model --larger
	@$(call model_mutants,--all)
