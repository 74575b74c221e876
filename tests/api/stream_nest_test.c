/* tests/api/stream_nest_test.c - rows and trees of streams: nothing is lost, dropped twice or left
 * running, wherever they are left.
 * SPDX-License-Identifier: MIT
 *
 * Method: random trees of generators, channels and combinators, read for a while by fibers and
 * plain threads, under short deadlines and cancels, and freed. Every element has a number: in the
 * end each that was emitted was received or dropped, once. */
#include "stream_kit.h"
#include "support/fail_alloc.h"

enum { DEPTH_MAX = 7, LEAVES_MAX = 64, EACH = 200, IDS = LEAVES_MAX * EACH };

struct leaf {
    struct tree *tree;
    int base, count;
    coir_chan *chan; /* it is one */
    _Atomic int started, ended;
};

struct tree {
    unsigned seed;
    struct leaf leaves[LEAVES_MAX];
    int leaves_len;
    coir_stream *stream;
    int wrong;
};

/* Of each element; only one tree at a time. */
static _Atomic unsigned char given[IDS], got[IDS], dropped[IDS];

static unsigned random_below(struct tree *t, unsigned n)
{
    t->seed = t->seed * 1103515245 + 12345;
    return (t->seed >> 8) % n;
}

static void drop(void *elem)
{
    dropped[*(int *)elem]++;
}

static int emit_ids(coir_stream *s, void *arg)
{
    struct leaf *leaf = arg;
    int result = 0;
    leaf->started++;
    generators++;
    for (int i = 0; i < leaf->count && result == 0; i++) {
        int id = leaf->base + i;
        given[id] = 1; /* at once: it may be received before emit returns */
        if (coir_stream_emit(s, &id) < 0) {
            given[id] = 0;
            result = -1;
        }
        if (id % 5 == 0)
            coir_yield();
    }
    leaf->ended++;
    generators--;
    return result;
}

static int move(void *out, void *in, void *arg)
{
    (void)arg;
    *(int *)out = *(int *)in;
    return 0;
}

static int keep_most(const void *elem, void *arg)
{
    (void)arg;
    return *(const int *)elem % 3 != 0;
}

static int keep_first(void *out, void *a, void *b, void *arg)
{
    (void)arg;
    *(int *)out = *(int *)a;
    drop(b);
    return 0;
}

static coir_stream *make_leaf(struct tree *t)
{
    struct leaf *leaf = &t->leaves[t->leaves_len++];
    *leaf = (struct leaf){ .tree = t, .base = (int)(leaf - t->leaves) * EACH };
    leaf->count = random_below(t, 4) ? EACH : (int)random_below(t, 5);
    if (random_below(t, 5)) {
        size_t buffer = random_below(t, 4);
        coir_stream *s = coir_stream_new_with(NULL, sizeof(int), buffer, emit_ids, leaf);
        coir_stream_on_drop(s, drop);
        return s;
    }
    leaf->chan = coir_chan_new(sizeof(int), EACH);
    coir_chan_on_drop(leaf->chan, drop);
    for (int id = leaf->base; id < leaf->base + leaf->count; id++) {
        given[id] = 1;
        coir_chan_send(leaf->chan, &id);
    }
    coir_chan_close(leaf->chan);
    return coir_stream_from_chan(leaf->chan);
}

static coir_stream *make_nest(struct tree *t, int depth)
{
    if (depth == 0 || t->leaves_len > LEAVES_MAX / 2)
        return make_leaf(t);
    coir_stream *s = make_nest(t, depth - 1);
    switch (random_below(t, 8)) {
    case 0:
        s = coir_stream_map(s, sizeof(int), move, NULL);
        break;
    case 1:
        s = coir_stream_filter(s, keep_most, NULL);
        break;
    case 2:
        s = coir_stream_take(s, random_below(t, 100));
        break;
    case 3:
        s = coir_stream_timeout(s, COIR_SEC(KIT_PATIENCE_S));
        break;
    case 4:
        s = coir_stream_throttle(s, random_below(t, 1000));
        break;
    case 5:
        s = coir_stream_zip(s, make_nest(t, depth - 1), sizeof(int), keep_first, NULL);
        break;
    default:
        s = coir_stream_merge(s, make_nest(t, depth - 1));
    }
    coir_stream_on_drop(s, drop);
    return s;
}

/* Some of it, with deadlines at any moment. */
static void read_some(struct tree *t)
{
    int id, result = 1;
    for (unsigned left = random_below(t, 100); left && result; left--) {
        unsigned us = random_below(t, 3) ? 1000000 : random_below(t, 30);
        COIR_TIMEOUT(COIR_US(us))
            result = coir_stream_next(t->stream, &id);
        if (result == 1)
            got[id]++;
        else if (result < 0 && errno == ECANCELED)
            break;
        else
            t->wrong += result < 0 && errno != ETIMEDOUT;
    }
}

static void *read_and_free(void *arg)
{
    struct tree *t = arg;
    read_some(t);
    coir_stream_free(t->stream);
    t->wrong += generators != 0;
    return NULL;
}

static void count_up(struct tree *t)
{
    for (int i = 0; i < t->leaves_len; i++) {
        struct leaf *leaf = &t->leaves[i];
        if (leaf->chan)
            coir_chan_free(leaf->chan);
        else
            t->wrong += leaf->started != 1 || leaf->ended != 1;
    }
    EXPECT_EQ(t->wrong, 0);
    for (int id = 0; id < t->leaves_len * EACH; id++)
        if (!EXPECT_EQ(got[id] + dropped[id], given[id]))
            break;
}

/* Read by whom: 0 a fiber, 1 a plain thread, 2 a fiber that is cancelled. */
static void plant(unsigned seed, int depth, int by)
{
    struct tree t = { .seed = seed };
    pthread_t thread;
    memset((void *)given, 0, sizeof given);
    memset((void *)got, 0, sizeof got);
    memset((void *)dropped, 0, sizeof dropped);
    t.stream = make_nest(&t, depth);
    coir_stream_on_drop(t.stream, drop);
    if (!EXPECT(t.stream != NULL))
        return;
    if (by == 1) {
        EXPECT_EQ(pthread_create(&thread, NULL, read_and_free, &t), 0);
        pthread_join(thread, NULL);
    } else {
        coir_fiber *fiber = spawn_apart(read_and_free, &t);
        for (unsigned i = random_below(&t, 20); by == 2 && i; i--)
            kit_pause();
        if (by == 2)
            coir_cancel(fiber);
        EXPECT_EQ(coir_join(fiber, NULL), 0);
    }
    count_up(&t);
}

static void trees(void *arg)
{
    (void)arg;
    int rounds = test_scaled(150, 8);
    for (int i = 0; i < rounds; i++)
        for (int depth = i % 2; depth <= DEPTH_MAX; depth += 2)
            plant((unsigned)(i * 8 + depth), depth, i % 2 ? 0 : 2);
}

static void thread_trees(void *arg)
{
    (void)arg;
    int rounds = test_scaled(60, 4);
    for (int i = 0; i < rounds; i++)
        plant((unsigned)i + 5000, i % (DEPTH_MAX + 1), 1);
}

static void every_element_is_received_or_dropped_once_and_every_generator_ends(void **state)
{
    (void)state;
    run_on_each(trees, NULL);
    thread_trees(NULL); /* on the runtime that starts by itself */
    assert_no_findings();
}

/* Complete and in order, whatever deadlines cut it. */
static void cut_row(void *arg)
{
    struct source source = { .count = test_scaled(3000, 100) };
    int wanted = 0, got = 1;
    (void)arg;
    coir_stream *s = stream_of(&source);
    s = coir_stream_map(coir_stream_throttle(s, 1), sizeof(int), twice, NULL);
    s = coir_stream_filter(coir_stream_timeout(s, COIR_SEC(KIT_PATIENCE_S)), is_even, NULL);
    struct source none = { .count = 0 };
    s = coir_stream_take(coir_stream_merge(s, stream_of(&none)), 1000000);
    coir_chunk chunk = { 0 };
    s = coir_stream_chunks(s, 3, COIR_US(10));
    for (int i = 0; got; i++) {
        COIR_TIMEOUT(COIR_US(i % 7 ? i % 50 : 1000000))
            got = coir_stream_next(s, &chunk);
        for (size_t k = 0; got == 1 && k < chunk.count; k++, wanted += 2)
            EXPECT_EQ(((int *)chunk.items)[k], wanted);
        EXPECT(got >= 0 || errno == ETIMEDOUT);
    }
    EXPECT_EQ(wanted, 2 * source.count);
    coir_stream_free(s);
}

static void deadlines_cut_a_row_anywhere_and_nothing_is_missing(void **state)
{
    (void)state;
    run_everywhere(cut_row);
}

/* Each of the calls that make streams, and each of their allocations, fails once. */
static coir_stream *make_all(struct source *sources, coir_chan *chan, int fd)
{
    coir_stream *s = coir_stream_new(sizeof(int), generate, &sources[0]);
    s = coir_stream_filter(coir_stream_map(s, sizeof(int), twice, NULL), is_even, NULL);
    s = coir_stream_merge(coir_stream_throttle(s, 1), coir_stream_from_chan(chan));
    s = coir_stream_chunks(coir_stream_timeout(s, 1), 3, 0);
    coir_stream *lines = coir_stream_chunks(coir_stream_lines(fd, 10), 2, 0);
    return coir_stream_take(coir_stream_zip(s, lines, 1, keep_first, NULL), 1);
}

static void allocations(void *arg)
{
    int ends[2], failed = 0;
    coir_stream *s = NULL;
    (void)arg;
    EXPECT_EQ(pipe(ends), 0);
    coir_chan *chan = coir_chan_new(sizeof(int), 1);
    while (!s) {
        struct source source = { .count = -1 };
        fail_alloc = ++failed;
        s = make_all(&source, chan, ends[0]);
        EXPECT(s ? fail_alloc > 0 : fail_alloc == 0 && errno == ENOMEM);
        fail_alloc = 0;
        EXPECT_EQ(source.started, source.ended);
        EXPECT_EQ(generators, 0);
        coir_stream_free(s);
        EXPECT(!s || source.ended == 1);
    }
    EXPECT(failed > 20);
    coir_chan_free(chan);
    close(ends[0]);
    close(ends[1]);
}

static void without_memory_nothing_is_made_and_the_sources_are_freed(void **state)
{
    (void)state;
    if (!FAIL_ALLOC_WORKS)
        skip();
    run_everywhere(allocations);
}

/* Leases need memory while reading. */
static void allocations_of_next(void *arg)
{
    int ends[2], failures = 0;
    coir_chunk chunk;
    (void)arg;
    EXPECT_EQ(pipe(ends), 0);
    EXPECT_EQ(write(ends[1], "a\nb\nc\n", 6), 6);
    close(ends[1]);
    coir_stream *s = coir_stream_chunks(coir_stream_lines(ends[0], 10), 3, COIR_NEVER);
    for (int seen = 0; seen < 3;) {
        fail_alloc = 1 + failures % 2;
        int result = coir_stream_next(s, &chunk);
        fail_alloc = 0;
        EXPECT(result == 1 || errno == ENOMEM);
        failures += result < 0;
        for (size_t i = 0; result == 1 && i < chunk.count; i++)
            EXPECT_EQ(((coir_line *)chunk.items)[i].text[0], 'a' + seen++);
        if (failures > 9)
            break;
    }
    EXPECT(failures >= 2 && failures <= 9);
    coir_stream_free(s);
    close(ends[0]);
}

static void a_next_without_memory_loses_nothing(void **state)
{
    (void)state;
    if (!FAIL_ALLOC_WORKS)
        skip();
    run_everywhere(allocations_of_next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_received_or_dropped_once_and_every_generator_ends),
        cmocka_unit_test(deadlines_cut_a_row_anywhere_and_nothing_is_missing),
        cmocka_unit_test(without_memory_nothing_is_made_and_the_sources_are_freed),
        cmocka_unit_test(a_next_without_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
