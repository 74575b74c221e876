/* bench/switch.c - one switch, through coir__arch_switch and through Boost.Context's jump_fcontext,
 * in one program and one loop shape, taking turns.   Try: switch d1s1 2000
 * SPDX-License-Identifier: MIT
 *
 * Two contexts pass control to each other; each step chases a pointer to the next one, as from a
 * run queue. The cells:
 *   d0, d1, d3   noinline frames between a context's loop and the switch: that many returns more
 *                to be predicted, or not
 *   s1, s2       both contexts run one body, or each its own: they return to other addresses
 * N is the number of repetitions of each side, 2000 switches each: most go undisturbed. */
#include "arch/arch.h"
#include "report.h"

enum { STEPS = 1000, STACK_BYTES = 64 * 1024 };

struct context {
    void *saved;
    struct context *next; /* the run queue: a ring of two */
    void (*body)(void);   /* never returns */
};

static struct context home, *running;

#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
/* Keeps a call from becoming a jump and, by its text, two equal functions from becoming one. */
#define KEEP(text) __asm__ volatile("/* " #text " */" ::: "memory")

/* Save the running context in *from and continue *to. */
typedef void go_fn(struct context *from, struct context *to);

INLINE void step(go_fn *go)
{
    struct context *self = running;
    running = self->next;
    go(self, self->next);
}

/* frame: how to make one step; NULL: right here, at depth 0. */
INLINE void loop(go_fn *go, void (*frame)(void))
{
    for (;;) {
        for (long i = 0; i < STEPS; i++) {
            if (frame)
                frame();
            else
                step(go);
        }
        go(running, &home);
    }
}

/* One repetition, in ns per switch. The first context comes home from the end of its loop; the
 * second is inside its last step then, and is let out to the end of its own. */
INLINE double rep(go_fn *go, struct context *pair)
{
    int64_t t0 = clock_ns();
    for (int i = 0; i < 2; i++) {
        running = &pair[i];
        go(&home, running);
    }
    return (double)(clock_ns() - t0) / (2 * STEPS + 4);
}

#define FUNCTION(name, does)                                                                       \
    NOINLINE void name(void)                                                                       \
    {                                                                                              \
        KEEP(name);                                                                                \
        does;                                                                                      \
        KEEP(name);                                                                                \
    }

#define SIDE(s)                                                                                    \
    FUNCTION(s##_frame1, step(s##_go))                                                             \
    FUNCTION(s##_frame2, s##_frame1())                                                             \
    FUNCTION(s##_frame3, s##_frame2())                                                             \
    FUNCTION(s##_d0_a, loop(s##_go, NULL))                                                         \
    FUNCTION(s##_d0_b, loop(s##_go, NULL))                                                         \
    FUNCTION(s##_d1_a, loop(s##_go, s##_frame1))                                                   \
    FUNCTION(s##_d1_b, loop(s##_go, s##_frame1))                                                   \
    FUNCTION(s##_d3_a, loop(s##_go, s##_frame3))                                                   \
    FUNCTION(s##_d3_b, loop(s##_go, s##_frame3))                                                   \
    NOINLINE double s##_rep(struct context *pair)                                                  \
    {                                                                                              \
        return rep(s##_go, pair);                                                                  \
    }                                                                                              \
    static void (*const s##_bodies[3][2])(                                                         \
        void) = { { s##_d0_a, s##_d0_b }, { s##_d1_a, s##_d1_b }, { s##_d3_a, s##_d3_b } };

INLINE void coir_go(struct context *from, struct context *to)
{
    coir__arch_switch(&from->saved, &to->saved, 0);
}
SIDE(coir)

#ifdef BENCH_BOOST
/* boost/context/detail/fcontext.hpp is C++, but the functions have C linkage. */
struct transfer {
    void *context, *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *top, size_t bytes, void (*fn)(struct transfer));

/* The context that is left is known only to the one that is entered: data says where to keep it. */
INLINE void boost_go(struct context *from, struct context *to)
{
    struct transfer t = jump_fcontext(to->saved, &from->saved);
    *(void **)t.data = t.context;
}
SIDE(boost)

static void boost_entry(struct transfer t)
{
    *(void **)t.data = t.context;
    running->body();
}
#endif

/* A fresh stack's top. Tops differ in their offset within a page: no two share cache sets. */
static void *stack_top(void)
{
    static size_t colour;
    char *stack = aligned_alloc(4096, STACK_BYTES);
    if (!stack)
        die("aligned_alloc");
    colour += 256;
    return stack + STACK_BYTES - colour;
}

static void pair_init(struct context *pair, void (*const *bodies)(void), int sites)
{
    for (int i = 0; i < 2; i++) {
        pair[i].next = &pair[1 - i];
        pair[i].body = bodies[i % sites];
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *results(long reps)
{
    double *ns = calloc((size_t)reps, sizeof *ns);
    if (!ns)
        die("calloc");
    return ns;
}

int main(int argc, char **argv)
{
    static const char depths[] = "013";
    int depth = -1, sites = 0;
    long reps = argc == 3 ? atol(argv[2]) : 0;
    if (reps > 0 && strlen(argv[1]) == 4 && argv[1][0] == 'd' && argv[1][2] == 's') {
        const char *d = strchr(depths, argv[1][1]);
        depth = d && *d ? (int)(d - depths) : -1;
        sites = argv[1][3] - '0';
    }
    if (depth < 0 || sites < 1 || sites > 2) {
        fprintf(stderr, "usage: %s d{0,1,3}s{1,2} N\n", argv[0]);
        return 2;
    }
    struct context coir[2];
    double *coir_ns = results(reps);
    pair_init(coir, coir_bodies[depth], sites);
    for (int i = 0; i < 2; i++)
        coir[i].saved = coir__arch_init(stack_top(), coir[i].body);
#ifdef BENCH_BOOST
    struct context boost[2];
    double *boost_ns = results(reps);
    pair_init(boost, boost_bodies[depth], sites);
    for (int i = 0; i < 2; i++)
        boost[i].saved = make_fcontext(stack_top(), STACK_BYTES / 2, boost_entry);
#endif
    for (long r = 0; r < reps; r++) {
        coir_ns[r] = coir_rep(coir);
#ifdef BENCH_BOOST
        boost_ns[r] = boost_rep(boost);
#endif
    }
    qsort(coir_ns, (size_t)reps, sizeof *coir_ns, ascending);
    printf("{\"row\": \"%s\", \"ns\": %.3f, \"ns_min\": %.3f, \"ops\": %ld", argv[1],
           coir_ns[reps / 2], coir_ns[0], reps * 2 * STEPS);
#ifdef BENCH_BOOST
    qsort(boost_ns, (size_t)reps, sizeof *boost_ns, ascending);
    printf(", \"boost_ns\": %.3f, \"boost_ns_min\": %.3f", boost_ns[reps / 2], boost_ns[0]);
#endif
    puts("}");
    return 0;
}
