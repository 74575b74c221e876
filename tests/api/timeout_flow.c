/* tests/api/timeout_flow.c - COIR_TIMEOUT and COIR_SHIELD, and all the ways out of their blocks.
 * SPDX-License-Identifier: MIT
 *
 * Built once per level of optimisation, -O0 to -O3, as C and as C++: the macros lean on
 * __attribute__((cleanup)) and on a loop that runs once. After each way out the deadline and the
 * shield must be as before, the body must have run once, and break and continue must have left the
 * block, not a loop around it. */
#include "support/fiber_test.h"

struct flow {
    int64_t outer_ns;
    int passed, failed, line; /* line: of the first check that failed */
    int body, after;
};

static void check(struct flow *f, int holds, int line)
{
    if (holds) {
        f->passed++;
        return;
    }
    f->failed++;
    if (!f->line)
        f->line = line;
}

#define CHECK(cond) check(f, (cond), __LINE__)

/* Is everything as it was outside? */
#define CHECK_OUTSIDE() CHECK(coir_deadline() == f->outer_ns && test_shields() == 0)

static int on_fiber(void)
{
    return coir_self() != NULL;
}

static void falls_off(struct flow *f)
{
    int bodies = 0;
    COIR_TIMEOUT(COIR_SEC(1)) {
        bodies++;
        CHECK(coir_deadline() <= coir_after(COIR_SEC(1)) && coir_deadline() > coir_now());
    }
    CHECK(bodies == 1);
    CHECK_OUTSIDE();
    COIR_SHIELD(COIR_SEC(2)) {
        bodies++;
        CHECK(test_shields() == on_fiber());
    }
    CHECK(bodies == 2);
    CHECK_OUTSIDE();
    COIR_TIMEOUT(COIR_SEC(1))
        bodies++; /* a single statement is a block, too */
    CHECK(bodies == 3);
    CHECK_OUTSIDE();
}

static void breaks_and_continues(struct flow *f)
{
    int rounds = 0, after = 0;
    for (int i = 0; i < 4; i++) {
        rounds++;
        COIR_TIMEOUT(COIR_SEC(1)) {
            if (i % 2)
                break;
            continue;
        }
        after++; /* of the block they left, and of the block only */
        COIR_SHIELD(COIR_SEC(1)) {
            if (i % 2)
                continue;
            break;
        }
        after++;
        CHECK_OUTSIDE();
    }
    CHECK(rounds == 4 && after == 8);
    switch (rounds) {
    case 4:
        COIR_TIMEOUT(COIR_SEC(1)) {
            rounds++;
            break;
        }
        rounds++;
        break;
    default:
        CHECK(0);
    }
    CHECK(rounds == 6);
    CHECK_OUTSIDE();
}

static int returns(struct flow *f, int from)
{
    COIR_TIMEOUT(COIR_SEC(3)) {
        f->body++;
        if (from == 1)
            return 10;
        COIR_SHIELD(COIR_SEC(4)) {
            f->body++;
            if (from == 2)
                return coir_deadline() > coir_after(COIR_SEC(3)) ? 20 : 0;
            COIR_TIMEOUT(COIR_SEC(1))
                return test_shields() == on_fiber() ? 30 : 0;
        }
    }
    return -1;
}

static void leaves_by_return(struct flow *f)
{
    for (int from = 1; from <= 3; from++) {
        f->body = 0;
        CHECK(returns(f, from) == 10 * from);
        CHECK(f->body == (from > 1 ? 2 : 1));
        CHECK_OUTSIDE();
    }
}

static void leaves_by_goto(struct flow *f)
{
    int rounds = 0;
again:
    COIR_TIMEOUT(COIR_SEC(2)) {
        COIR_SHIELD(COIR_SEC(1)) {
            if (++rounds < 3)
                goto again; /* backwards, and in anew */
            if (rounds == 3)
                goto out;
        }
    }
    CHECK(0);
out:
    CHECK(rounds == 3);
    CHECK_OUTSIDE();
}

static void nests(struct flow *f)
{
    COIR_TIMEOUT(COIR_SEC(2)) {
        int64_t two_ns = coir_deadline();
        COIR_TIMEOUT(COIR_SEC(100))
            CHECK(coir_deadline() == two_ns); /* it never extends */
        CHECK(coir_deadline() == two_ns);
        COIR_TIMEOUT(COIR_SEC(1)) {
            int64_t one_ns = coir_deadline();
            CHECK(one_ns < two_ns);
            COIR_SHIELD(COIR_SEC(50)) {
                CHECK(coir_deadline() > two_ns);
                COIR_SHIELD(COIR_SEC(60))
                    CHECK(coir_deadline() > coir_after(COIR_SEC(50)) &&
                          test_shields() == 2 * on_fiber());
                COIR_TIMEOUT(-1)
                    CHECK(coir_deadline_passed() && coir_check() < 0 && errno == ETIMEDOUT);
                CHECK(!coir_deadline_passed() && test_shields() == on_fiber());
            }
            CHECK(coir_deadline() == one_ns);
        }
        CHECK(coir_deadline() == two_ns);
        COIR_TIMEOUT(COIR_NEVER)
            CHECK(coir_deadline() == two_ns);
        COIR_SHIELD(COIR_NEVER)
            CHECK(coir_deadline() == COIR_NEVER);
        coir_deadline_set(COIR_NEVER); /* the block restores what was before it */
    }
    CHECK_OUTSIDE();
}

/* Two in one function, and in one expression's scope: each has names of its own. */
static void stand_side_by_side(struct flow *f)
{
    int n = 0;
    COIR_TIMEOUT(COIR_SEC(1))
        COIR_TIMEOUT(COIR_SEC(2))
            COIR_SHIELD(COIR_SEC(3))
                n++;
    if (n)
        COIR_TIMEOUT(COIR_SEC(1))
            n++;
    else
        n = 100;
    CHECK(n == 2);
    CHECK_OUTSIDE();
}

/* Timing out inside, with a real wait, in the loop that programs write. */
static int try_often(struct flow *f)
{
    for (int tries = 0; tries < 3; tries++)
        COIR_TIMEOUT(COIR_US(100)) {
            if (coir_sleep(COIR_SEC(1000)) == 0)
                return -1;
            CHECK(errno == ETIMEDOUT);
            if (tries == 2)
                return tries;
        }
    return -2;
}

#ifdef __cplusplus
/* from: 1, 2 from out of one, two blocks; 3 from a function called in them; 4 through a catch that
 * rethrows, inside one. */
static void throws(struct flow *f, int from)
{
    COIR_TIMEOUT(COIR_SEC(3)) {
        f->body++;
        if (from == 1)
            throw from;
        COIR_SHIELD(COIR_SEC(4)) {
            f->body++;
            CHECK(test_shields() == on_fiber());
            if (from == 2)
                throw from;
            if (from == 3)
                CHECK(returns(f, 1) == 10);
            try {
                COIR_TIMEOUT(COIR_SEC(1))
                    throw from;
            } catch (int) {
                CHECK(test_shields() == on_fiber() && coir_deadline() > coir_after(COIR_SEC(2)));
                throw;
            }
        }
    }
}

static void leaves_by_throw(struct flow *f)
{
    for (int from = 1; from <= 4; from++) {
        int caught = 0;
        f->body = 0;
        try {
            throws(f, from);
        } catch (int thrown) {
            caught = thrown;
        }
        CHECK(caught == from);
        CHECK(f->body == (from == 1 ? 1 : from == 3 ? 3 : 2));
        CHECK_OUTSIDE();
    }
}
#else
static void leaves_by_throw(struct flow *f)
{
    CHECK_OUTSIDE(); /* C has none */
}
#endif

static void all_flows(void *arg)
{
    struct flow *f = (struct flow *)arg;
    void (*const flows[])(struct flow *) = {
        falls_off, breaks_and_continues, leaves_by_return,   leaves_by_goto,
        nests,     leaves_by_throw,      stand_side_by_side,
    };
    for (int round = 0; round < 2; round++) {
        f->outer_ns = round ? coir_after(COIR_SEC(1000)) : COIR_NEVER;
        coir_deadline_set(f->outer_ns);
        for (size_t i = 0; i < sizeof flows / sizeof *flows; i++)
            flows[i](f);
        CHECK(try_often(f) == 2);
        CHECK_OUTSIDE();
    }
    coir_deadline_set(COIR_NEVER);
}

static void assert_flow(const struct flow *f)
{
    if (f->line)
        print_error("the check in line %d failed\n", f->line);
    assert_int_equal(f->failed, 0);
    assert_true(f->passed > 50);
}

static void every_way_out_restores_on_fibers(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct flow f = COIR_ZERO;
        assert_int_equal(fiber_test_run(*w, all_flows, &f), 0);
        assert_flow(&f);
    }
}

static void every_way_out_restores_on_plain_threads(void **state)
{
    struct flow f = COIR_ZERO;
    (void)state;
    all_flows(&f);
    assert_flow(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_out_restores_on_fibers),
        cmocka_unit_test(every_way_out_restores_on_plain_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
