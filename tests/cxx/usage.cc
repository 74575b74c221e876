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

void run(void *arg)
{
    void *result;
    coir_join(coir_spawn(work, arg), &result);
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
