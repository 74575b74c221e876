/* tests/model/memory.c - every access to memory: races, what is gone, and what to put back.
 * SPDX-License-Identifier: MIT
 *
 * Memory is cells of eight bytes. For each thread a cell knows when it last accessed which of the
 * bytes, and how. Two accesses of different threads, not both atomic, one of them a write, are a
 * race unless the later one's thread has seen the earlier, in the sense of the C standard. That an
 * object is gone counts as a write to all of it.
 *
 * What an execution has written is put back when it ends, so that all begin alike; stacks are not:
 * they begin empty. */
#include "inside.h"

#include "sched/stack.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { CELLS = 1 << 14, CELL_BYTES = 8, KINDS = 4, DEPTH_MAX = 256, FOREIGN_MAX = 128 };

struct cell {
    uintptr_t address; /* CELL_BYTES aligned */
    uint32_t execution;
    bool saved, gone, foreign;
    uint8_t bytes[KINDS][THREADS];
    tick when[KINDS][THREADS];
};

/* What is known of a stack: frames, from the outermost on, and which cells others than its owner
 * have accessed. */
struct stack {
    unsigned depth, foreign_len;
    uintptr_t frames[DEPTH_MAX];
    struct cell *foreign[FOREIGN_MAX];
};

struct saved {
    uint64_t *address;
    uint64_t value;
};

static struct {
    struct cell cells[CELLS];
    bool on; /* in an execution: what is written is to be put back */
    unsigned cells_len, saved_len;
    struct saved saved[CELLS];
    struct stack stacks[STACKS];
    char *stacks_low;
} mem;

static const uint8_t conflicts[KINDS] = {
    [PLAIN_READ] = 1 << PLAIN_WRITE | 1 << ATOMIC_WRITE,
    [PLAIN_WRITE] = 1 << PLAIN_READ | 1 << PLAIN_WRITE | 1 << ATOMIC_READ | 1 << ATOMIC_WRITE,
    [ATOMIC_READ] = 1 << PLAIN_WRITE,
    [ATOMIC_WRITE] = 1 << PLAIN_READ | 1 << PLAIN_WRITE,
};

static struct cell *cell_of(uintptr_t address)
{
    address &= ~(uintptr_t)(CELL_BYTES - 1);
    for (uint32_t i = (uint32_t)(address * 0x9e3779b97f4a7c15u >> 40);; i++) {
        struct cell *c = &mem.cells[i % CELLS];
        if (c->execution == machine.execution && c->address == address)
            return c;
        if (c->execution != machine.execution) {
            *c = (struct cell){ .address = address, .execution = machine.execution };
            if (++mem.cells_len > CELLS / 2)
                model_fail("more memory is in use than the model has cells for");
            return c;
        }
    }
}

static unsigned stack_at(uintptr_t address)
{
    uintptr_t offset = address - (uintptr_t)mem.stacks_low;
    return offset < (uintptr_t)STACKS << STACK_SHIFT ? (unsigned)(offset >> STACK_SHIFT) : STACKS;
}

char *memory_stack_low(unsigned stack)
{
    return mem.stacks_low + ((size_t)stack << STACK_SHIFT);
}

void memory_stack_clean(unsigned stack)
{
    mem.stacks[stack].depth = 0;
    mem.stacks[stack].foreign_len = 0;
}

void memory_begin(void)
{
    if (!mem.stacks_low)
        mem.stacks_low = mmap(NULL, (size_t)STACKS << STACK_SHIFT, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (machine.execution == 1)
        memset(mem.cells, 0, sizeof mem.cells);
    mem.cells_len = mem.saved_len = 0;
    mem.on = true;
}

void memory_end(void)
{
    mem.on = false;
    while (mem.saved_len) {
        struct saved *s = &mem.saved[--mem.saved_len];
        *s->address = s->value;
    }
}

static void fail_access(struct cell *c, const char *what, uintptr_t code)
{
    char where[128];
    memory_describe(where, sizeof where, c->address);
    model_fail("%s: %s, by %s at %#lx", what, where,
               machine.running ? machine.threads[machine.current].name : "main",
               (unsigned long)code - 1);
}

static bool has_returned(uintptr_t address)
{
    unsigned at = stack_at(address);
    if (at == STACKS || address >= (uintptr_t)memory_stack_low(at + 1) - sizeof(struct coir__stack))
        return false; /* a stack's head is no frame */
    const struct stack *s = &mem.stacks[at];
    return !s->depth || address < s->frames[s->depth - 1];
}

void memory_drained(const void *address, uintptr_t code)
{
    if (has_returned((uintptr_t)address))
        fail_access(cell_of((uintptr_t)address), "a store reaches a frame that has returned", code);
}

/* The caller's own frames may be overwritten at once; nobody else may know them any more. */
static void check_stack(struct cell *c, uintptr_t address, uintptr_t code)
{
    unsigned at = stack_at(address);
    if (at == STACKS || at == stack_at((uintptr_t)__builtin_frame_address(0)))
        return;
    struct stack *s = &mem.stacks[at];
    if (has_returned(address))
        fail_access(c, "an access to a frame that has returned", code);
    if (!c->foreign) {
        c->foreign = true;
        if (s->foreign_len == FOREIGN_MAX)
            model_fail("more of a stack is shared than the model has room for");
        s->foreign[s->foreign_len++] = c;
    }
}

static void check_races(const struct cell *c, uint8_t bytes, enum access_kind kind, uintptr_t code)
{
    static const char *const names[] = { "read", "write", "atomic read", "atomic write" };
    const struct seen *seen = &machine.threads[machine.current].seen;
    char what[128];
    for (int k = 0; k < KINDS; k++) {
        if (!(conflicts[kind] & 1 << k))
            continue;
        for (int t = 0; t < THREADS; t++)
            if (c->bytes[k][t] & bytes && c->when[k][t] > seen->of[t] && t != machine.current) {
                snprintf(what, sizeof what, "a race: %s, after an unordered %s by %s", names[kind],
                         names[k], machine.threads[t].name);
                fail_access((struct cell *)c, what, code);
            }
    }
}

static void access_cell(uintptr_t address, uint8_t bytes, enum access_kind kind, uintptr_t code)
{
    struct cell *c = cell_of(address);
    int me = machine.current;
    if (c->gone)
        fail_access(c, "an access to what is gone", code);
    check_stack(c, address, code);
    check_races(c, bytes, kind, code);
    tick now = machine.threads[me].seen.of[me];
    c->bytes[kind][me] = c->when[kind][me] == now ? c->bytes[kind][me] | bytes : bytes;
    c->when[kind][me] = now;
}

void memory_access(const void *address, size_t bytes, enum access_kind kind, uintptr_t code)
{
    uintptr_t at = (uintptr_t)address, end = at + bytes;
    if (kind == PLAIN_WRITE)
        memory_will_write(address, bytes);
    if (!machine.running)
        return;
    if (kind == PLAIN_WRITE)
        machine_void(at, end);
    while (at < end) {
        uintptr_t next = (at | (CELL_BYTES - 1)) + 1, to = end < next ? end : next;
        unsigned mask = ((1u << (to - at)) - 1) << (at % CELL_BYTES);
        access_cell(at, (uint8_t)mask, kind, code);
        at = to;
    }
}

void memory_will_write(const void *address, size_t bytes)
{
    uintptr_t at = (uintptr_t)address & ~(uintptr_t)(CELL_BYTES - 1);
    for (; mem.on && at < (uintptr_t)address + bytes; at += CELL_BYTES) {
        if (stack_at(at) != STACKS)
            continue;
        struct cell *c = cell_of(at);
        if (!c->saved) {
            c->saved = true;
            mem.saved[mem.saved_len++] = (struct saved){ (uint64_t *)at, *(uint64_t *)at };
        }
    }
}

void model_gone(const void *object, size_t bytes)
{
    uintptr_t code = (uintptr_t)__builtin_return_address(0);
    for (size_t i = 0; i < bytes; i += CELL_BYTES) {
        access_cell((uintptr_t)object + i, 0xff, PLAIN_WRITE, code);
        cell_of((uintptr_t)object + i)->gone = true;
    }
}

void memory_function_entry(uintptr_t frame)
{
    unsigned at = stack_at(frame);
    if (at == STACKS)
        return;
    struct stack *s = &mem.stacks[at];
    if (s->depth == DEPTH_MAX)
        model_fail("calls nest deeper than the model has room for");
    s->frames[s->depth++] = frame;
}

/* What others have accessed in the frame is gone now. */
void memory_function_exit(uintptr_t frame)
{
    unsigned at = stack_at(frame);
    if (at == STACKS || !mem.stacks[at].depth)
        return;
    struct stack *s = &mem.stacks[at];
    uintptr_t low = (uintptr_t)memory_stack_low(at + 1);
    if (--s->depth)
        low = s->frames[s->depth - 1];
    unsigned left = 0;
    for (unsigned i = 0; i < s->foreign_len; i++) {
        struct cell *c = s->foreign[i];
        if (c->address >= low) {
            s->foreign[left++] = c;
            continue;
        }
        if (machine.running)
            check_races(c, 0xff, PLAIN_WRITE, (uintptr_t)__builtin_return_address(0));
        c->foreign = false;
    }
    s->foreign_len = left;
    if (machine.running)
        machine_void((uintptr_t)memory_stack_low(at), low);
}

enum { NAMES_MAX = 64 };
static struct {
    uintptr_t at;
    size_t bytes;
    const char *name;
} names[NAMES_MAX];
static unsigned names_len;

/* A name is told in each execution: once is enough. */
void model_name(const void *object, size_t bytes, const char *name)
{
    for (unsigned i = 0; i < names_len; i++)
        if (names[i].at == (uintptr_t)object && names[i].bytes == bytes) {
            names[i].name = name;
            return;
        }
    if (names_len < NAMES_MAX) {
        names[names_len].at = (uintptr_t)object;
        names[names_len].bytes = bytes;
        names[names_len++].name = name;
    }
}

/* The smallest named thing that the address is in. */
void memory_describe(char *to, size_t size, uintptr_t address)
{
    const uintptr_t kernel = (uintptr_t)1 << 63;
    const char *in = address & kernel ? " (kernel)" : "";
    size_t best = SIZE_MAX;
    address &= ~kernel;
    unsigned stack = stack_at(address);
    if (stack < THREADS)
        snprintf(to, size, "%s's stack, %#lx%s", machine.threads[stack].name,
                 (unsigned long)address, in);
    else
        snprintf(to, size, "%#lx%s", (unsigned long)address, in);
    for (unsigned i = 0; i < names_len; i++)
        if (address - names[i].at < names[i].bytes && names[i].bytes < best) {
            best = names[i].bytes;
            snprintf(to, size, "%s+%lu%s", names[i].name, (unsigned long)(address - names[i].at),
                     in);
        }
}
