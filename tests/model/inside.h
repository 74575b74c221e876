/* tests/model/inside.h - between the files of the model.
 * SPDX-License-Identifier: MIT
 *
 *   explore.c   which orders are still to be seen
 *   machine.c   threads, their steps, store buffers, and what they wait for
 *   memory.c    who has accessed what: races, what is gone, what is to be put back
 *   hooks.c     the compiler's calls: accesses to memory, atomics, function entry and exit
 *   world.c     what the sources ask of the host, the kernel and the rest of the library
 *
 * Two clocks of each thread, not to be mixed up. `order` counts steps, and tells which of them
 * depend on which, as they were executed: for the exploration. `seen` is what the memory model of C
 * guarantees, by acquire and release: for races. */
#ifndef MODEL_INSIDE_H
#define MODEL_INSIDE_H

#include "model.h"

enum {
    THREADS = MODEL_THREADS_MAX,
    /* Each thread, and its store buffer, which drains when it likes: two who take steps. */
    PROCS = 2 * THREADS,
    STEPS_MAX = 2000,
    BUFFER_MAX = 64,
    STACK_SHIFT = 17,
    STACKS = 16,
    /* Different places that a spin loop reads in a turn, but for the clock, with MODEL_SPINS; else
     * it is one. */
    LOOP_READS_MAX = 2,
};

typedef uint16_t tick; /* a number of a step, from 1 */

struct order {
    tick of[PROCS];
};

struct seen {
    tick of[THREADS];
};

/* Something that steps access: an atomic, by its address, or what the kernel keeps. */
struct place {
    uintptr_t key;
    uint32_t execution;
    uint32_t version; /* counts its changes */
    bool is_counter;  /* model_counter */
    tick last_write[PROCS], last_read[PROCS], last_count[PROCS];
    struct seen released; /* what who acquires it has seen then; */
    struct seen own; /* the part of it by the thread that has stored last: a release sequence */
    int8_t owner;    /* goes on with that thread's later stores, and with anybody's changes */
};

enum kind {
    STEP_START,
    STEP_READ,
    STEP_WRITE,
    STEP_CHANGE, /* read and write in one */
    STEP_FENCE,
    STEP_AWAIT, /* a spin loop: until something of what it reads has changed */
    STEP_BARRIER,
    STEP_CALL,  /* into the kernel */
    STEP_QUIET, /* when nobody else can go on */
    STEP_DRAIN,
};

enum how_accessed { READS, COUNTS, WRITES };

struct access {
    struct place *place;
    enum how_accessed how;
};

/* What a thread is about to do. */
struct step {
    enum kind kind;
    bool drained; /* its store buffer must be empty */
    uint8_t accesses_len;
    uint8_t barrier_of; /* STEP_BARRIER: whose buffer must be empty */
    struct access accesses[3];
    bool (*ready)(void *); /* NULL: always */
    /* STEP_CHANGE that may turn out to be a read only: it writes if what is there is `expected`,
     * or, with `unequal`, if it is not. bytes 0: it always writes. */
    const void *compared;
    uint64_t expected;
    uint8_t bytes;
    bool unequal;
    void *arg;
    const char *what;
    uintptr_t code;
};

struct store {
    struct place *place;
    void *to;
    uint64_t value;
    uint8_t bytes; /* 0: void */
    uintptr_t code;
    struct order order;
    struct seen released;
};

struct thread {
    const char *name;
    void (*fn)(void *);
    void *arg;
    void *sp;
    void *worker; /* what coir__arch_self tells it */
    enum { THREAD_READY, THREAD_ENDED } state;
    struct step step;
    struct store buffer[BUFFER_MAX];
    unsigned first, last; /* of buffer: how many have left it, and have entered it */
    /* Since its last turn of a spin loop: the last places that it has read, and their versions. */
    struct {
        struct place *place;
        uint32_t version;
    } reads[LOOP_READS_MAX];
    unsigned reads_len;
    uint32_t clock_version; /* of the clock, when it last looked at it, */
    uint32_t turns;         /* and turns of spin loops since */
    /* For C's memory model. */
    struct seen seen, to_acquire, released_by_fence;
};

/* One execution, and the machine it runs on. */
struct machine {
    bool running; /* threads take steps */
    bool buffers; /* stores are buffered: x86 */
    uint32_t execution;
    unsigned threads_len;
    int current; /* the thread */
    unsigned owed;
    struct thread threads[THREADS];
    struct order orders[PROCS];
    const struct model_case *test;
    void *main_sp;
    bool failed;
};
extern struct machine machine;

/* explore.c */
enum result { RESULT_GOES_ON, RESULT_ENDED, RESULT_REDUNDANT, RESULT_FAILED };

struct exploration {
    uint64_t executions; /* to their end */
    uint64_t redundant;  /* stopped when it was clear that they are like another */
    uint64_t outcomes[512];
    unsigned outcomes_len;
    unsigned steps_most;
    bool complete;
    bool failed;
    double seconds;
};

enum how { EXPLORE_ALL, EXPLORE_SAMPLE, EXPLORE_BLINDLY };
/* BLINDLY: without leaving out what is redundant; for the test of the model itself. */
struct exploration explore(const struct model_case *test, bool buffers, enum how how,
                           uint64_t executions_max, double seconds_max);
/* Who goes on? A thread or THREADS + the one whose buffer drains; -1: nobody, it has ended. */
int explore_choose(void);
/* The current thread's last step has put a store into its buffer: which a barrier may miss. */
void explore_buffered(void);
void explore_print(void);
double explore_seconds(void);

/* machine.c */
void machine_begin(const struct model_case *test, bool buffers);
enum result machine_run(void);
/* Bits: who could take a step now. */
unsigned machine_enabled(void);
const struct step *machine_step_of(int proc, struct step *drain);
/* The current thread is about to take that step; returns when it may. */
void machine_take(const struct step *step);
void machine_stop(enum result result) __attribute__((noreturn));
void machine_buffer(struct place *place, void *to, unsigned bytes, uint64_t value,
                    const struct seen *released, uintptr_t code);
/* What the current thread has in its buffer for [from, to) shall not reach memory any more: it has
 * written there since by a plain store, which needs no buffer, or the frame has gone. It drains all
 * the same. */
void machine_void(uintptr_t from, uintptr_t to);
/* The newest store to `from` in the current thread's own buffer. */
const struct store *machine_forwarded(const void *from);
/* The current thread has read it. When it has done so before in this turn of a spin loop, the first
 * time counts: it may be in the loop because of that. */
void machine_note_read(struct place *place);
struct place *place_of(const void *object);
/* The kernel's own: a second place for an address. */
struct place *place_in_kernel(const void *object);
void place_write(struct place *place, void *to, unsigned bytes, uint64_t value);
/* A store of that thread, or a change, has released that. */
void place_store_released(struct place *place, int thread, const struct seen *released);
void place_change_released(struct place *place, int thread, const struct seen *released);
void seen_join(struct seen *to, const struct seen *from);

/* memory.c */
void memory_begin(void);
void memory_end(void); /* puts everything back */
enum access_kind { PLAIN_READ, PLAIN_WRITE, ATOMIC_READ, ATOMIC_WRITE };
void memory_access(const void *address, size_t bytes, enum access_kind kind, uintptr_t code);
void memory_will_write(const void *address, size_t bytes);
/* A store gets there from a buffer. */
void memory_drained(const void *address, uintptr_t code);
void memory_function_entry(uintptr_t frame);
void memory_function_exit(uintptr_t frame);
/* Stacks: 0 to THREADS - 1 are the threads', the others for fibers. */
char *memory_stack_low(unsigned stack);
void memory_stack_clean(unsigned stack);
void memory_describe(char *to, size_t size, uintptr_t address);

/* world.c */
void world_begin(void);

#endif
