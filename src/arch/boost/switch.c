/* arch/boost/switch.c - the contract of ../arch.h on Boost.Context's two C entry points: for a CPU
 * without a switch of ours, and a yardstick for those that have one. port.h is the real CPU's.
 * SPDX-License-Identifier: MIT
 *
 * What differs from our own ports, all of it Boost's:
 *   - the floating-point control bits belong to the context: a switch saves and loads them, and a
 *     new context has those of its maker;
 *   - it returns by an indirect jump, so the CPU's return predictor falls out of step; - no unwind
 *   information inside jump_fcontext, no coir__arch_entry, no landing pads.
 *
 * jump_fcontext tells the context that was left only to the one that is entered. So both places
 * where a context can be entered - first(), and behind the jump - write *save there. */
#include "../arch.h"

typedef void *fcontext_t;
typedef struct {
    fcontext_t fctx;
    void *data;
} transfer_t;

extern transfer_t jump_fcontext(fcontext_t to, void *data);
extern fcontext_t make_fcontext(void *top, size_t bytes, void (*fn)(transfer_t));

/* For code under which the thread pointer changes: a stack protector compares with a word that it
 * finds by it, and TSan's notes of calls and returns are kept behind it. */
#ifdef __clang__
#define BARE __attribute__((no_stack_protector, disable_sanitizer_instrumentation))
#else
#define BARE __attribute__((no_stack_protector, no_sanitize("address,thread")))
#endif

/* What the context that is left tells the one that is entered. On the stack that is left. */
struct hop {
    void **save;
    void *to;
    uintptr_t tp;
};

/* The bytes from a new context up to the word that holds its entry function, where the room that
 * make_fcontext takes ends. They are the same for every context: each of its ports takes a fixed
 * number of bytes below a top that is a multiple of 16. */
static size_t room;

static inline __attribute__((always_inline)) void arrive(transfer_t from)
{
    struct hop *hop = from.data;
    if (hop->tp)
        coir__arch_tp_set(hop->tp);
    *hop->save = from.fctx;
}

BARE void coir__arch_switch(void **save, void *const *load, uintptr_t tp)
{
    struct hop hop = { .save = save, .to = *load, .tp = tp };
    arrive(jump_fcontext(hop.to, &hop));
}

BARE static void first(transfer_t from)
{
    char *self = ((struct hop *)from.data)->to;
    void (*entry)(void) = *(void (**)(void))(self + __atomic_load_n(&room, __ATOMIC_RELAXED));
    arrive(from);
    entry();
}

void *coir__arch_init(void *top, void (*entry)(void))
{
    char *end = (char *)((uintptr_t)top & ~(uintptr_t)15) - 16;
    *(void (**)(void))end = entry;
    char *self = make_fcontext(end, 0, first); /* the size is of use on Windows only */
    __atomic_store_n(&room, (size_t)(end - self), __ATOMIC_RELAXED);
    return self;
}

/* What jump_fcontext saves has no unwind information. */
int coir__arch_pose(void *context, void (*fn)(void *), void *arg)
{
    (void)context, (void)fn, (void)arg;
    return 0;
}
