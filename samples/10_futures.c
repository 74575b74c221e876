/* 10_futures.c - as many futures as the command line has numbers.   Try:
 * build/samples/10_futures 3 1 2
 * SPDX-License-Identifier: MIT
 *
 * usage: 10_futures [TENTHS]...      each waits so many tenths of a second
 * The list is made at run time; the whole of it takes as long as its longest member. */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>

static void *work(void *arg)
{
    intptr_t tenths = (intptr_t)arg;
    if (coir_sleep(COIR_MS(100 * tenths)) < 0)
        return COIR_FAILED;
    printf("%d is done\n", (int)tenths);
    return (void *)(tenths * tenths);
}

static int run(int argc, char **argv)
{
    char *usual[] = { "", "3", "1", "2" };
    if (argc < 2)
        argc = 4, argv = usual;
    size_t n = (size_t)argc - 1;
    coir_future **futures = calloc(n, sizeof *futures);
    void **squares = calloc(n, sizeof *squares);
    int started = futures && squares;
    for (size_t i = 0; i < n && started; i++) {
        futures[i] = coir_async(work, (void *)(intptr_t)atoi(argv[i + 1]));
        started = futures[i] != NULL;
    }
    int failed = !started || coir_await_all(futures, n, squares) < 0;
    if (failed)
        perror("10_futures");
    for (size_t i = 0; i < n && !failed; i++)
        printf("%s squared is %d\n", argv[i + 1], (int)(intptr_t)squares[i]);
    if (futures)
        coir_future_free_all(futures, n);
    free(futures);
    free(squares);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
