// tests/cxx/usage.cc - the macros and structures of the public headers as C++ programs use them.
// SPDX-License-Identifier: MIT
//
// Only compiled, without a warning, as C++11 and later (tests/headers.sh).
#include <coir.h>

namespace {

void *work(void *arg)
{
    coir_attr attr = COIR_ATTR_INIT;
    attr.name = "work";
    attr.flags = COIR_DETACHED | COIR_SPREAD | COIR_SAVE_FPU;
    attr.deadline_ns = COIR_NEVER;
    if (coir_spawn_with(&attr, work, arg) == nullptr)
        return coir_fail(errno);
    COIR_TIMEOUT(COIR_MS(20))
    {
        COIR_SHIELD(COIR_SEC(1))
            coir_sleep(COIR_US(5));
        if (coir_check() < 0)
            return COIR_FAILED;
    }
    for (int i = 0; i < 2; i++)
        COIR_TIMEOUT(1) {
            if (i)
                break;
            continue;
        }
    return nullptr;
}

int child(void *arg)
{
    return work(arg) == COIR_FAILED ? -1 : 0;
}

int scopes()
{
    coir_scope_attr attr = COIR_ZERO;
    attr.flags = COIR_SCOPE_KEEP_GOING;
    COIR_SCOPE_AUTO coir_scope scope = COIR_SCOPE_INIT;
    coir_attr none = COIR_ATTR_INIT;
    if (coir_scope_open_with(&scope, &attr) < 0 || coir_scope_spawn(&scope, child, nullptr) < 0 ||
        coir_scope_spawn_with(&scope, &none, child, nullptr) < 0)
        return -1;
    return coir_scope_wait(&scope);
}

int locks()
{
    coir_mutex mutex = COIR_MUTEX_INIT;
    coir_cond cond = COIR_COND_INIT;
    coir_rwlock rwlock = COIR_RWLOCK_INIT;
    coir_sem sem = COIR_SEM_INIT(1);
    coir_once_flag once = COIR_ONCE_INIT;
    coir_waitgroup wg = COIR_WAITGROUP_INIT;
    coir_mutex_lock(&mutex);
    int waited = coir_cond_timedwait(&cond, &mutex, coir_after(COIR_MS(1)));
    coir_mutex_unlock(&mutex);
    coir_rwlock_rdlock(&rwlock);
    coir_rwlock_unlock(&rwlock);
    coir_once(&once, []() {});
    return waited + coir_sem_wait(&sem) + coir_waitgroup_wait(&wg);
}

int channels()
{
    int value = 0;
    void *result = nullptr;
    coir_chan *chan = coir_chan_new(sizeof value, 1);
    coir_case cases[] = {
        COIR_CASE_RECV(chan, &value),
        COIR_CASE_SEND(chan, &value),
        COIR_CASE_FD(0, POLLIN),
        COIR_CASE_JOIN(coir_spawn(work, nullptr), &result),
        COIR_CASE_TIMER(coir_after(COIR_SEC(1))),
    };
    int which = coir_select(cases, sizeof cases / sizeof *cases, COIR_NEVER);
    coir_chan_free(chan);
    return which;
}

void run(void *arg)
{
    void *result;
    coir_join(coir_spawn(work, arg), &result);
    result = scopes() + locks() + channels() < 0 ? COIR_FAILED : nullptr;
}

} // namespace

int main(int argc, char **argv)
{
    coir_options options = COIR_ZERO;
    options.workers = 1;
    options.flags = COIR_UNGUARDED;
    (void)argc;
    return coir_run(run, argv, &options);
}
