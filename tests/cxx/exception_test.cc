// tests/cxx/exception_test.cc - C++ on fibers: the unwinder's state is each fiber's own, and blocks
// that bound the time are left rightly by exceptions.
// SPDX-License-Identifier: MIT
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "support/fiber_test.h"

namespace {

struct thrower {
    const char *mine;  // what this fiber throws
    std::string seen;  // what came back by `throw;` after the other fiber's turn
    int caught_inside; // std::uncaught_exceptions() where none is in flight
};

void rethrow(thrower *t)
{
    try {
        coir_yield(); // the other fiber throws, and enters its own catch
        throw;
    } catch (const std::exception &e) {
        t->seen = e.what();
    }
}

void *throw_and_yield(void *arg)
{
    auto *t = static_cast<thrower *>(arg);
    try {
        throw std::runtime_error(t->mine);
    } catch (...) {
        coir_yield();
        t->caught_inside = std::uncaught_exceptions();
        rethrow(t);
    }
    return nullptr;
}

void two_throwers(void *arg)
{
    auto *both = static_cast<thrower *>(arg);
    coir_fiber *a = coir_spawn(throw_and_yield, &both[0]);
    coir_fiber *b = coir_spawn(throw_and_yield, &both[1]);
    coir_join(a, nullptr);
    coir_join(b, nullptr);
}

// Goal: `throw;` in a catch block throws this fiber's exception, not that of the fiber which
// entered a catch block last. Method: two fibers on one worker that park inside catch.
void throw_again_throws_ones_own(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        thrower both[2] = { { "first", "", -1 }, { "second", "", -1 } };
        assert_int_equal(fiber_test_run(*w, two_throwers, both), 0);
        assert_string_equal(both[0].seen.c_str(), "first");
        assert_string_equal(both[1].seen.c_str(), "second");
        assert_int_equal(both[0].caught_inside, 0);
        assert_int_equal(both[1].caught_inside, 0);
    }
}

// Parks while an exception is in flight: std::uncaught_exceptions() is 1 here.
struct parks_on_the_way {
    int *uncaught;
    ~parks_on_the_way()
    {
        coir_sleep(COIR_MS(1));
        *uncaught = std::uncaught_exceptions();
    }
};

struct in_flight {
    int inside, outside;
    bool caught;
};

void *throw_through_a_park(void *arg)
{
    auto *f = static_cast<in_flight *>(arg);
    try {
        parks_on_the_way guard{ &f->inside };
        throw std::runtime_error("through");
    } catch (const std::runtime_error &) {
        f->caught = true;
    }
    return nullptr;
}

void *look(void *arg)
{
    auto *f = static_cast<in_flight *>(arg);
    f->outside = std::uncaught_exceptions();
    return nullptr;
}

void fly(void *arg)
{
    coir_fiber *a = coir_spawn(throw_through_a_park, arg);
    coir_fiber *b = coir_spawn(look, arg);
    coir_join(a, nullptr);
    coir_join(b, nullptr);
}

// Goal: an exception in flight is counted in its own fiber only, also by one that starts meanwhile.
void an_exception_in_flight_is_its_fibers(void **)
{
    in_flight f = { -1, -1, false };
    assert_int_equal(fiber_test_run(1, fly, &f), 0);
    assert_true(f.caught);
    assert_int_equal(f.inside, 1);
    assert_int_equal(f.outside, 0);
}

struct relay {
    std::exception_ptr passed;
    std::atomic<int> caught{ 0 }, wrong{ 0 };
    std::atomic<bool> thrown{ false };
};

void *throw_and_pass_on(void *arg)
{
    auto *r = static_cast<relay *>(arg);
    try {
        throw std::runtime_error("passed on");
    } catch (...) {
        r->passed = std::current_exception();
        r->thrown = true;
        coir_yield(); // the others throw it while this one is still in its catch
        r->wrong += std::current_exception() != r->passed;
    }
    return nullptr;
}

void *throw_what_was_passed(void *arg)
{
    auto *r = static_cast<relay *>(arg);
    while (!r->thrown)
        coir_yield();
    try {
        std::rethrow_exception(r->passed);
    } catch (const std::runtime_error &e) {
        coir_yield();
        r->caught += std::strcmp(e.what(), "passed on") == 0;
        r->wrong += std::uncaught_exceptions() != 0;
    }
    r->wrong += std::current_exception() != nullptr;
    return nullptr;
}

enum { RECEIVERS = 6 };

void pass_around(void *arg)
{
    coir_attr attr = COIR_ATTR_INIT;
    attr.flags = COIR_SPREAD;
    coir_fiber *fibers[RECEIVERS + 1];
    for (int i = 0; i < RECEIVERS; i++)
        fibers[i] = coir_spawn_with(&attr, throw_what_was_passed, arg);
    fibers[RECEIVERS] = coir_spawn_with(&attr, throw_and_pass_on, arg);
    for (coir_fiber *f : fibers)
        coir_join(f, nullptr);
}

// Goal: an exception_ptr is good on any fiber and worker, for several at once.
void an_exception_ptr_is_good_on_every_fiber(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        relay r;
        assert_int_equal(fiber_test_run(*w, pass_around, &r), 0);
        assert_int_equal(r.caught.load(), RECEIVERS);
        assert_int_equal(r.wrong.load(), 0);
    }
}

struct nest {
    int number;
    std::string seen;
};

void throw_nested(const nest *n, int depth)
{
    try {
        coir_yield();
        if (depth == 0)
            throw std::runtime_error(std::to_string(n->number));
        throw_nested(n, depth - 1);
    } catch (...) {
        coir_yield();
        std::throw_with_nested(std::runtime_error(std::to_string(n->number * 10 + depth)));
    }
}

void collect(nest *n, const std::exception &e)
{
    n->seen += e.what();
    n->seen += ' ';
    try {
        coir_yield();
        std::rethrow_if_nested(e);
    } catch (const std::exception &inner) {
        coir_yield();
        collect(n, inner);
    }
}

void *be_nested(void *arg)
{
    auto *n = static_cast<nest *>(arg);
    try {
        throw_nested(n, 2);
    } catch (const std::exception &e) {
        collect(n, e);
    }
    return nullptr;
}

void two_nests(void *arg)
{
    auto *both = static_cast<nest *>(arg);
    coir_fiber *a = coir_spawn(be_nested, &both[0]);
    coir_fiber *b = coir_spawn(be_nested, &both[1]);
    coir_join(a, nullptr);
    coir_join(b, nullptr);
}

// Goal: exceptions in exceptions, in catch blocks in catch blocks, stay each fiber's own.
void nested_exceptions_are_ones_own(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        nest both[2] = { { 1, "" }, { 2, "" } };
        assert_int_equal(fiber_test_run(*w, two_nests, both), 0);
        assert_string_equal(both[0].seen.c_str(), "12 11 10 1 ");
        assert_string_equal(both[1].seen.c_str(), "22 21 20 2 ");
    }
}

struct unwinding {
    std::atomic<int> began{ 0 }, ended{ 0 };
    int wrong = 0;
    int caught = 0;
};

int end_on_cancel(void *arg)
{
    auto *u = static_cast<unwinding *>(arg);
    u->began++;
    try {
        while (coir_sleep(COIR_SEC(1000)) == 0)
            ;
        throw errno;
    } catch (int err) {
        coir_yield();
        u->ended += err == ECANCELED;
    }
    return 0;
}

struct checks_on_the_way {
    unwinding *u;
    ~checks_on_the_way()
    {
        u->wrong += u->ended != 3 || std::uncaught_exceptions() != 1;
    }
};

void throw_out_of_scope(unwinding *u)
{
    checks_on_the_way first{ u }; // destroyed last, when the scope has been closed
    COIR_SCOPE_AUTO coir_scope scope = COIR_SCOPE_INIT;
    coir_attr attr = COIR_ATTR_INIT;
    attr.flags = COIR_SPREAD;
    u->wrong += coir_scope_open(&scope) != 0;
    for (int i = 0; i < 3; i++)
        u->wrong += coir_scope_spawn_with(&scope, &attr, end_on_cancel, u) != 0;
    while (u->began < 3)
        coir_yield();
    if (coir_sleep(COIR_SEC(1000)) < 0)
        throw errno;
}

void *unwind_a_cancelled_call(void *arg)
{
    auto *u = static_cast<unwinding *>(arg);
    try {
        throw_out_of_scope(u);
    } catch (int err) {
        u->caught = err;
    }
    return nullptr;
}

void cancel_and_unwind(void *arg)
{
    auto *u = static_cast<unwinding *>(arg);
    coir_fiber *f = coir_spawn(unwind_a_cancelled_call, arg);
    while (u->began < 3)
        coir_yield();
    coir_cancel(f);
    coir_join(f, nullptr);
}

// Goal: an exception that leaves a block with COIR_SCOPE_AUTO waits for the children on its way.
void a_throw_out_of_a_scope_waits_for_its_children(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        unwinding u;
        assert_int_equal(fiber_test_run(*w, cancel_and_unwind, &u), 0);
        assert_int_equal(u.caught, ECANCELED);
        assert_int_equal(u.ended.load(), 3);
        assert_int_equal(u.wrong, 0);
    }
}

void *let_it_out(void *)
{
    coir_yield();
    throw std::runtime_error("nobody catches this");
}

int let_it_out_of_child(void *arg)
{
    return let_it_out(arg) != nullptr;
}

void let_it_out_of_run(void *arg)
{
    switch (*static_cast<int *>(arg)) {
    case 0:
        let_it_out(arg);
        break;
    case 1:
        coir_join(coir_spawn(let_it_out, nullptr), nullptr);
        break;
    default:
        coir_scope scope;
        coir_scope_open(&scope);
        if (coir_scope_spawn(&scope, let_it_out_of_child, nullptr) == 0)
            coir_scope_wait(&scope);
    }
}

int run_and_let_out(void *arg)
{
    alarm(60);
    try {
        fiber_test_run(2, let_it_out_of_run, arg);
    } catch (...) { // a fiber's frames end where it began
        return 1;
    }
    return 2;
}

// Goal: an exception that nobody on its fiber catches ends the program by std::terminate, and says
// so, as on a thread.
void an_exception_out_of_a_fiber_terminates(void **)
{
    for (int way = 0; way < 3; way++) {
        char text[4096] = "";
        int status = test_child(run_and_let_out, &way, text, sizeof text);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(std::strstr(text, "nobody catches this"));
    }
}

struct deadlines {
    int64_t before, inside, shielded, after;
};

void leave_blocks_by_throw(void *arg)
{
    auto *d = static_cast<deadlines *>(arg);
    d->before = coir_deadline();
    try {
        COIR_TIMEOUT(COIR_SEC(5))
        {
            d->inside = coir_deadline();
            COIR_SHIELD(COIR_SEC(1))
            {
                d->shielded = coir_deadline();
                throw 1;
            }
        }
    } catch (int) {
        d->after = coir_deadline();
    }
}

// Goal: COIR_TIMEOUT and COIR_SHIELD put the deadline back when an exception leaves them.
void a_throw_out_of_a_timeout_restores_the_deadline(void **)
{
    deadlines d = { 0, 0, 0, 0 };
    assert_int_equal(fiber_test_run(1, leave_blocks_by_throw, &d), 0);
    assert_true(d.before == COIR_NEVER);
    assert_true(d.inside != COIR_NEVER && d.shielded < d.inside);
    assert_true(d.after == COIR_NEVER);
}

// Goal: the public structures start out clean in C++ too.
void structures_initialise_to_zero(void **)
{
    coir_attr attr = COIR_ATTR_INIT;
    coir_options options = COIR_ZERO;
    assert_null(attr.name);
    assert_int_equal(options.workers, 0);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(throw_again_throws_ones_own),
        cmocka_unit_test(an_exception_in_flight_is_its_fibers),
        cmocka_unit_test(an_exception_ptr_is_good_on_every_fiber),
        cmocka_unit_test(nested_exceptions_are_ones_own),
        cmocka_unit_test(a_throw_out_of_a_scope_waits_for_its_children),
        cmocka_unit_test(an_exception_out_of_a_fiber_terminates),
        cmocka_unit_test(a_throw_out_of_a_timeout_restores_the_deadline),
        cmocka_unit_test(structures_initialise_to_zero),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
