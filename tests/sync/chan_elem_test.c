/* tests/sync/chan_elem_test.c - elements of all sizes, those that nobody has received, and memory.
 * SPDX-License-Identifier: MIT
 *
 * Method: each byte of an element is a function of its number and its place, and behind the place
 * of an element are bytes that must stay as they are. */
#include "support/expect.h"
#include "ways.h"

enum { BYTES_MAX = 72, GUARD = 0x5a };

/* As many bytes as are asked for, and then guards. */
struct elem {
    unsigned char bytes[BYTES_MAX + 8];
};

static struct elem make(size_t bytes, int number)
{
    struct elem e;
    memset(&e, GUARD, sizeof e);
    for (size_t i = 0; i < bytes; i++)
        e.bytes[i] = (unsigned char)(number * 31 + (int)i * 7 + 1);
    return e;
}

static void expect_elem(const struct elem *got, size_t bytes, int number)
{
    const struct elem wanted = make(bytes, number);
    if (memcmp(got, &wanted, sizeof wanted) != 0)
        EXPECT_EQ(bytes * 1000 + (size_t)number, -1); /* which one it was */
}

struct stream {
    const struct way *way;
    coir_chan *chan;
    size_t bytes;
};

enum { NUMBERS = 20 };

static void *send_numbers(void *arg)
{
    struct stream *s = arg;
    for (int i = 0; i < NUMBERS; i++) {
        struct elem e = make(s->bytes, i);
        EXPECT_EQ(s->way->send(s->chan, &e), 0);
        if (i % 7 == 6)
            kit_pause();
    }
    return NULL;
}

static void receive_numbers(struct stream *s)
{
    for (int i = 0; i < NUMBERS; i++) {
        struct elem e = make(0, 0);
        EXPECT_EQ(s->way->recv(s->chan, &e), 0);
        expect_elem(&e, s->bytes, i);
        if (i % 5 == 4)
            kit_pause();
    }
}

/* Without room, and with less of it than elements, so that the ring turns round. */
static void all_sizes(void *arg)
{
    for (size_t bytes = 1; bytes <= BYTES_MAX; bytes += bytes < 34 ? 1 : 19)
        for (size_t capacity = 0; capacity < 4; capacity++) {
            struct stream s = { arg, coir_chan_new(bytes, capacity), bytes };
            coir_fiber *sender = crowd_spawn(send_numbers, &s);
            receive_numbers(&s);
            coir_join(sender, NULL);
            coir_chan_free(s.chan);
        }
}

static void elements_of_every_size_arrive_as_they_were_sent(void **state)
{
    (void)state;
    way_run_each(all_sizes);
    assert_no_findings();
}

static void signals(void *arg)
{
    const struct way *way = arg;
    coir_chan *chan = coir_chan_new(0, SIZE_MAX); /* room for any number, which costs nothing */
    char untouched = GUARD;
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(way->send(chan, NULL), 0);
    EXPECT_EQ(coir_chan_trysend(chan, NULL), 0);
    EXPECT_EQ(way->send(chan, &untouched), 0);
    EXPECT_EQ(coir_chan_len(chan), 102);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(way->recv(chan, NULL), 0);
    EXPECT_EQ(coir_chan_tryrecv(chan, NULL), 0);
    EXPECT_EQ(way->recv(chan, &untouched), 0);
    EXPECT_EQ(untouched, GUARD);
    EXPECT_FAILS(coir_chan_tryrecv(chan, NULL), EAGAIN);
    coir_chan_free(chan);

    chan = coir_chan_new(0, 0);
    struct way_call waits = { .way = way, .chan = chan, .sends = true, .deadline_ns = COIR_NEVER };
    way_start(&waits);
    EXPECT_EQ(way->recv(chan, NULL), 0);
    way_join(&waits);
    EXPECT_EQ(waits.said.result, 0);
    coir_chan_free(chan);
}

static void elements_without_bytes_are_pure_signals(void **state)
{
    (void)state;
    way_run_each(signals);
    assert_no_findings();
}

static void pass_null(void *arg)
{
    const struct way *way = arg;
    coir_chan *chan = coir_chan_new(8, 1);
    long elem = 3;
    EXPECT_FAILS(way->send(chan, NULL), EINVAL);
    EXPECT_FAILS(coir_chan_trysend(chan, NULL), EINVAL);
    EXPECT_EQ(coir_chan_len(chan), 0);
    EXPECT_EQ(way->send(chan, &elem), 0);
    EXPECT_FAILS(way->recv(chan, NULL), EINVAL);
    EXPECT_FAILS(coir_chan_tryrecv(chan, NULL), EINVAL);
    EXPECT_EQ(coir_chan_len(chan), 1);
    coir_chan_free(chan);
}

static void null_is_no_element(void **state)
{
    (void)state;
    way_run_each(pass_null);
    assert_no_findings();
}

static struct {
    int len;
    long elems[8];
} dropped;

static void drop(void *elem)
{
    long value;
    memcpy(&value, elem, sizeof value);
    if (dropped.len < 8)
        dropped.elems[dropped.len] = value;
    dropped.len++;
}

static void leave_some(void *arg)
{
    const struct way *way = arg;
    coir_chan *chan = coir_chan_new(sizeof(long), 4);
    long elem;
    coir_chan_on_drop(chan, drop);
    for (long i = 0; i < 4; i++)
        EXPECT_EQ(way->send(chan, &i), 0);
    for (long i = 4; i < 7; i++) {
        EXPECT_EQ(way->recv(chan, &elem), 0);
        EXPECT_EQ(way->send(chan, &i), 0);
    }
    EXPECT_EQ(way->recv(chan, &elem), 0);
    coir_chan_close(chan);
    EXPECT_EQ(dropped.len, 0);
    coir_chan_free(chan);
    EXPECT_EQ(dropped.len, 3);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(dropped.elems[i], 4 + i);
    dropped.len = 0;

    chan = coir_chan_new(sizeof(long), 4);
    EXPECT_EQ(way->send(chan, &elem), 0);
    coir_chan_free(chan); /* nobody wants them */

    chan = coir_chan_new(sizeof(long), 0);
    coir_chan_on_drop(chan, drop);
    coir_chan_free(chan);
    coir_chan_free(NULL);
    EXPECT_EQ(dropped.len, 0);
}

static void what_nobody_has_received_is_dropped_in_order(void **state)
{
    (void)state;
    way_run_each(leave_some);
    assert_no_findings();
}

static void expect_no_memory(size_t elem_bytes, size_t capacity)
{
    errno = 0;
    EXPECT(coir_chan_new(elem_bytes, capacity) == NULL);
    EXPECT_EQ(errno, ENOMEM);
}

static int limited(void *arg)
{
    enum { LIMIT_KB = 64 * 1024 };
    (void)arg;
    if (!kit_limit_memory(LIMIT_KB))
        return 0;
    expect_no_memory(1, 2 * LIMIT_KB * 1024);
    coir_chan *chan = coir_chan_new(1, 1000);
    EXPECT(chan != NULL);
    coir_chan_free(chan);
    return findings.n;
}

static void a_channel_larger_than_memory_is_refused(void **state)
{
    char text[256];
    (void)state;
    expect_no_memory(2, SIZE_MAX / 2 + 1);
    expect_no_memory(SIZE_MAX, SIZE_MAX);
    expect_no_memory(1, SIZE_MAX);
    assert_no_findings();
#if TEST_SANITIZED
    skip(); /* their own memory is beyond any limit, and they do not refuse, but stop */
#endif
    expect_no_memory(SIZE_MAX / 4, 1);
    assert_no_findings();
    assert_int_equal(test_child(limited, NULL, text, sizeof text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_of_every_size_arrive_as_they_were_sent),
        cmocka_unit_test(elements_without_bytes_are_pure_signals),
        cmocka_unit_test(null_is_no_element),
        cmocka_unit_test(what_nobody_has_received_is_dropped_in_order),
        cmocka_unit_test(a_channel_larger_than_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, way_setup, way_teardown);
}
