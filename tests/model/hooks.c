/* tests/model/hooks.c - what the compiler calls with -fsanitize=thread, instead of its runtime.
 * SPDX-License-Identifier: MIT
 *
 * `seen` follows the C standard: a release hands on what its thread has seen, by the place; an
 * acquire takes it; fences do so for the relaxed accesses around them; changing a value, whatever
 * the order, keeps what others have released there. */
#include "inside.h"

#include <string.h>

#define CODE ((uintptr_t)__builtin_return_address(0))

enum { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };

static bool acquires(int order)
{
    return order != RELAXED && order != RELEASE;
}

static bool releases(int order)
{
    return order >= RELEASE;
}

static struct thread *me(void)
{
    return &machine.threads[machine.current];
}

static void acquire(const struct seen *released, int order)
{
    seen_join(&me()->to_acquire, released);
    if (acquires(order))
        seen_join(&me()->seen, released);
}

/* What a store of that order hands on. What the thread does from now on is not in it. */
static struct seen release(int order)
{
    struct seen released = releases(order) ? me()->seen : me()->released_by_fence;
    if (releases(order))
        me()->seen.of[machine.current]++;
    return released;
}

static struct step step_of(enum kind kind, struct place *place, bool drained, uintptr_t code)
{
    return (struct step){ .kind = kind,
                          .drained = drained && machine.buffers,
                          .accesses_len = 1,
                          .accesses = { { place, kind == STEP_READ ? READS : WRITES } },
                          .code = code };
}

static void take(enum kind kind, struct place *place, bool drained, uintptr_t code)
{
    struct step step = step_of(kind, place, drained, code);
    machine_take(&step);
}

static uint64_t value_at(const volatile void *from, unsigned bytes)
{
    uint64_t value = 0;
    memcpy(&value, (const void *)from, bytes);
    return value;
}

static uint64_t load(const volatile void *address, unsigned bytes, int order, uintptr_t code)
{
    const void *from = (const void *)address;
    if (!machine.running)
        return value_at(from, bytes);
    struct place *place = place_of(from);
    take(STEP_READ, place, false, code);
    memory_access(from, bytes, ATOMIC_READ, code);
    machine_note_read(place);
    const struct store *own = machine_forwarded(from);
    if (own)
        return own->value;
    acquire(&place->released, order);
    return value_at(from, bytes);
}

static void store(volatile void *address, unsigned bytes, uint64_t value, int order, uintptr_t code)
{
    void *to = (void *)address;
    if (!machine.running) {
        memory_will_write(to, bytes);
        memcpy(to, &value, bytes);
        return;
    }
    struct place *place = place_of(to);
    bool buffered = machine.buffers && order != SEQ_CST;
    if (!buffered)
        take(STEP_WRITE, place, true, code);
    memory_access(to, bytes, ATOMIC_WRITE, code);
    struct seen released = release(order);
    if (buffered) {
        machine_buffer(place, to, bytes, value, &released, code);
        return;
    }
    place_write(place, to, bytes, value);
    place_store_released(place, machine.current, &released);
}

typedef uint64_t change(uint64_t old, uint64_t by);

static uint64_t set(uint64_t old, uint64_t by)
{
    (void)old;
    return by;
}

static uint64_t add(uint64_t old, uint64_t by)
{
    return old + by;
}

static uint64_t subtract(uint64_t old, uint64_t by)
{
    return old - by;
}

static uint64_t modify(volatile void *address, unsigned bytes, change *how, uint64_t by, int order,
                       uintptr_t code)
{
    void *to = (void *)address;
    uint64_t old = value_at(to, bytes);
    if (!machine.running) {
        place_write(place_of(to), to, bytes, how(old, by));
        return old;
    }
    struct place *place = place_of(to);
    struct step step = step_of(STEP_CHANGE, place, true, code);
    if (how == set && !releases(order)) {
        step.compared = to;
        step.expected = by;
        step.bytes = (uint8_t)bytes;
        step.unequal = true;
    }
    if (place->is_counter && (how == add || how == subtract)) {
        step.accesses[0].how = COUNTS;
        order = RELAXED;
    }
    machine_take(&step);
    memory_access(to, bytes, ATOMIC_WRITE, code);
    acquire(&place->released, order);
    struct seen released = release(order);
    old = value_at(to, bytes);
    place_write(place, to, bytes, how(old, by));
    place_change_released(place, machine.current, &released);
    return old;
}

static uint64_t compare_exchange(volatile void *address, unsigned bytes, uint64_t expected,
                                 uint64_t value, int order, int fail_order, uintptr_t code)
{
    void *to = (void *)address;
    struct place *place = place_of(to);
    if (machine.running) {
        struct step step = step_of(STEP_CHANGE, place, true, code);
        step.compared = to;
        step.expected = expected;
        step.bytes = (uint8_t)bytes;
        machine_take(&step);
        memory_access(to, bytes, ATOMIC_READ, code);
    }
    uint64_t old = value_at(to, bytes);
    bool equal = old == expected;
    if (machine.running) {
        acquire(&place->released, equal ? order : fail_order);
    }
    if (equal) {
        if (machine.running) {
            memory_access(to, bytes, ATOMIC_WRITE, code);
            struct seen released = release(order);
            place_change_released(place, machine.current, &released);
        }
        place_write(place, to, bytes, value);
    }
    if (machine.running)
        machine_note_read(place);
    return old;
}

static uint64_t with(uint64_t old, uint64_t by)
{
    return old | by;
}

static uint64_t within(uint64_t old, uint64_t by)
{
    return old & by;
}

static uint64_t apart(uint64_t old, uint64_t by)
{
    return old ^ by;
}

#define MODIFY(bits, name, how)                                                                    \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile void *a, uint##bits##_t v, int order)     \
    {                                                                                              \
        return (uint##bits##_t)modify(a, bits / 8, how, v, order, CODE);                           \
    }

#define COMPARE(bits, name)                                                                        \
    bool __tsan_atomic##bits##_compare_exchange_##name(                                            \
        volatile void *a, uint##bits##_t *expected, uint##bits##_t v, int order, int fail_order)   \
    {                                                                                              \
        uint##bits##_t was =                                                                       \
            (uint##bits##_t)compare_exchange(a, bits / 8, *expected, v, order, fail_order, CODE);  \
        bool equal = was == *expected;                                                             \
        *expected = was;                                                                           \
        return equal;                                                                              \
    }

#define ATOMIC(bits)                                                                               \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *a, int order)                   \
    {                                                                                              \
        return (uint##bits##_t)load(a, bits / 8, order, CODE);                                     \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile void *a, uint##bits##_t v, int order)                \
    {                                                                                              \
        store(a, bits / 8, v, order, CODE);                                                        \
    }                                                                                              \
    MODIFY(bits, exchange, set)                                                                    \
    MODIFY(bits, fetch_add, add)                                                                   \
    MODIFY(bits, fetch_sub, subtract)                                                              \
    MODIFY(bits, fetch_or, with)                                                                   \
    MODIFY(bits, fetch_and, within)                                                                \
    MODIFY(bits, fetch_xor, apart)                                                                 \
    COMPARE(bits, strong)                                                                          \
    COMPARE(bits, weak)

ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_thread_fence(int order)
{
    if (!machine.running)
        return;
    struct thread *t = me();
    if (order == SEQ_CST && machine.buffers && t->first != t->last)
        machine_take(&(struct step){ .kind = STEP_FENCE, .drained = true, .code = CODE });
    if (acquires(order))
        seen_join(&t->seen, &t->to_acquire);
    if (releases(order)) {
        t->released_by_fence = t->seen;
        t->seen.of[machine.current]++;
    }
}

/* The order of the compiled code is what is looked at. */
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

#define PLAIN(bytes)                                                                               \
    void __tsan_read##bytes(void *a)                                                               \
    {                                                                                              \
        memory_access(a, bytes, PLAIN_READ, CODE);                                                 \
    }                                                                                              \
    void __tsan_write##bytes(void *a)                                                              \
    {                                                                                              \
        memory_access(a, bytes, PLAIN_WRITE, CODE);                                                \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void *a)                                                     \
    {                                                                                              \
        memory_access(a, bytes, PLAIN_READ, CODE);                                                 \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *a)                                                    \
    {                                                                                              \
        memory_access(a, bytes, PLAIN_WRITE, CODE);                                                \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *a, size_t bytes)
{
    memory_access(a, bytes, PLAIN_READ, CODE);
}

void __tsan_write_range(void *a, size_t bytes)
{
    memory_access(a, bytes, PLAIN_WRITE, CODE);
}

void __tsan_vptr_update(void **a, void *v)
{
    (void)a, (void)v;
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
    (void)pc;
    memory_function_entry((uintptr_t)__builtin_frame_address(0));
    me()->reads_len = 0; /* a loop is in one function, with what is inlined there */
}

void __tsan_func_exit(void)
{
    memory_function_exit((uintptr_t)__builtin_frame_address(0));
}
