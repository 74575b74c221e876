/* 12_timeout.c - a limit for a job, built by hand, then the library's own.   Try:
 * build/samples/12_timeout 500 200
 * SPDX-License-Identifier: MIT
 *
 * usage: 12_timeout [JOB_MS LIMIT_MS]      default: 5000 2000 */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>

static int job_ms = 5000, limit_ms = 2000;

static void *job(void *arg)
{
    (void)arg;
    return coir_sleep(COIR_MS(job_ms)) < 0 ? COIR_FAILED : "finished";
}

static void *limit(void *arg)
{
    (void)arg;
    return coir_sleep(COIR_MS(limit_ms)) < 0 ? COIR_FAILED : NULL;
}

/* Out of race and sleep: whoever ends first wins, the other is cancelled. */
static int with_a_race(void **value)
{
    coir_future *both[] = { coir_async(job, NULL), coir_async(limit, NULL) };
    int first = coir_race(both, 2, value);
    coir_future_free_all(both, 2);
    if (first == 1)
        errno = ETIMEDOUT;
    return first == 0 ? 0 : -1;
}

/* The library's own: every call in the block, and in whatever it calls, is bounded. */
static int with_a_deadline(void **value)
{
    int result = -1;
    COIR_TIMEOUT(COIR_MS(limit_ms)) {
        *value = job(NULL);
        result = *value == COIR_FAILED ? -1 : 0;
    }
    return result;
}

static void tell(const char *how, int result, int err, void *value, int64_t since_ns)
{
    double seconds = (double)(coir_now() - since_ns) / 1e9;
    if (result == 0)
        printf("%s: %s after %.1f s\n", how, (char *)value, seconds);
    else
        printf("%s: %s after %.1f s\n", how, err == ETIMEDOUT ? "timed out" : "failed", seconds);
}

static int run(int argc, char **argv)
{
    void *value = NULL;
    if (argc == 3)
        job_ms = atoi(argv[1]), limit_ms = atoi(argv[2]);
    int64_t start_ns = coir_now();
    int result = with_a_race(&value);
    tell("race", result, errno, value, start_ns);
    start_ns = coir_now();
    result = with_a_deadline(&value);
    tell("deadline", result, errno, value, start_ns);
    return 0;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
