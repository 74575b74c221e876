/* api/runtime.c - coir/runtime.h: coir_run, and the runtime that starts by itself.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "ask.h"
#include "helper.h"
#include "io/io.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

const struct coir__engine *_Atomic coir__engine_chosen;

static struct coir__runtime running; /* coir_run's */
static _Atomic uint32_t active;      /* a coir_run is between its first and last line */
static struct coir__runtime automatic;
static _Atomic uint32_t automatic_up;
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

struct coir__runtime *const coir__runtimes[COIR__RUNTIMES] = { &running, &automatic };

static int start(struct coir__runtime *rt, const coir_options *options, bool here)
{
    struct coir__config config;
    int err = coir__config_make(&config, options);
    if (err == 0) {
        coir__helpers_begin();
        config.watched = coir__watchdog_runs();
        err = coir__runtime_start(rt, &config, here);
        if (err < 0)
            coir__helpers_end();
        else if (config.watched)
            coir__host_woke(); /* its workers are up, and have not slept */
    }
    if (err < 0) {
        coir__say("cannot start: %s", strerror(-err));
        return err;
    }
    coir__engine_chosen = config.engine;
    if (coir__engine_refused())
        coir__say("io_uring does not work here: %s", strerror(coir__engine_refused()));
    coir__say("%s, %u worker%s, stacks of %zu KiB, guarded by %s", config.engine->name,
              config.workers, config.workers == 1 ? "" : "s",
              coir__stack_class_bytes(config.stack_class) >> 10,
              coir__stack_guards() == COIR__GUARDS_MARKED ? "markers" : "mappings");
    return 0;
}

static int start_automatic(void)
{
    int err = 0;
    pthread_mutex_lock(&starting);
    if (!atomic_load(&automatic_up)) {
        err = start(&automatic, NULL, false);
        if (err == 0)
            atomic_store(&automatic_up, 1);
    }
    pthread_mutex_unlock(&starting);
    return err;
}

/* False when it is ending, or not there. */
static bool enter(struct coir__runtime *rt)
{
    atomic_fetch_add(&rt->visitors, 1);
    if (atomic_load(&rt->accepting))
        return true;
    atomic_fetch_sub(&rt->visitors, 1);
    return false;
}

int coir__host_runtime_enter(struct coir__runtime **rt)
{
    *rt = &running;
    if (enter(*rt))
        return 0;
    *rt = &automatic;
    int err = atomic_load(&automatic_up) ? 0 : start_automatic();
    return err < 0 ? err : enter(*rt) ? 0 : -EAGAIN;
}

void coir__host_runtime_leave(struct coir__runtime *rt)
{
    atomic_fetch_sub(&rt->visitors, 1);
}

static int run(void (*fn)(void *), void *arg, const coir_options *options)
{
    uint32_t idle = 0;
    if (!fn)
        return -EINVAL;
    if (coir__worker_self() || !atomic_compare_exchange_strong(&active, &idle, 1))
        return -EBUSY;
    int err = start(&running, options, true);
    if (err == 0) {
        int64_t start_ns = coir__host_now();
        err = coir__runtime_run(&running, fn, arg);
        coir__helpers_end();
        if (coir__stats_from_env())
            coir__stats_say(&running, coir__host_now() - start_ns);
    }
    atomic_store(&active, 0);
    return err;
}

int coir_run(void (*fn)(void *arg), void *arg, const coir_options *options)
{
    return (int)coir__edge(run(fn, arg, options));
}

struct program {
    int (*fn)(int, char **);
    int argc;
    char **argv;
    int result;
};

static void run_program(void *arg)
{
    struct program *p = arg;
    p->result = p->fn(p->argc, p->argv);
}

int coir_main(int argc, char **argv, int (*fn)(int argc, char **argv))
{
    struct program p = { fn, argc, argv, 0 };
    int err = fn ? run(run_program, &p, NULL) : -EINVAL;
    if (err < 0) {
        const char *program = argc > 0 ? argv[0] : "coir";
        const char *hint =
            err == -EBUSY ? "" : " (is io_uring switched off? COIR_IO=epoll, see coir(7))";
        fprintf(stderr, "%s: the runtime cannot start: %s%s\n", program, strerror(-err),
                err == -ENOSYS || err == -EPERM || err == -EACCES ? hint : "");
        return (int)coir__edge(err);
    }
    return p.result;
}

const char *coir_io_engine(void)
{
    const struct coir__engine *engine = coir__engine_chosen;
    return engine ? engine->name : "none";
}
