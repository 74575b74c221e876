/* 03_pipeline.c - three fibers joined by pipes.   Try: build/samples/03_pipeline 10000
 * SPDX-License-Identifier: MIT
 *
 * generate | square | sum. Any descriptor works as it is. A full pipe parks the writer and an empty
 * one the reader, so a stage is a plain loop, and closing a pipe's write end is how the next stage
 * learns that there is no more. */
#include <coir.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct stage {
    int in, out; /* -1: this stage has none */
    uint64_t number;
};

static void *generate(void *arg)
{
    struct stage *s = arg;
    int err = 0;
    for (uint64_t i = 1; i <= s->number && !err; i++)
        if (coir_write_all(s->out, &i, sizeof i) < 0)
            err = errno;
    coir_close(s->out);
    return err ? coir_fail(err) : NULL;
}

static void *square(void *arg)
{
    struct stage *s = arg;
    uint64_t i;
    ssize_t n, written = 0;
    int err = 0;
    while (written >= 0 && (n = coir_read_full(s->in, &i, sizeof i)) == sizeof i) {
        i *= i;
        written = coir_write_all(s->out, &i, sizeof i);
    }
    if (written < 0 || n < 0)
        err = errno;
    coir_close(s->in);
    coir_close(s->out);
    return err ? coir_fail(err) : NULL;
}

static int run(int argc, char **argv)
{
    uint64_t last = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000, sum = 0, i;
    int first[2], second[2];
    if (pipe(first) < 0 || pipe(second) < 0) {
        perror("03_pipeline: pipe");
        return 2;
    }
    static struct stage generator, squarer; /* static: they outlive run() when it returns early */
    generator = (struct stage){ -1, first[1], last };
    squarer = (struct stage){ first[0], second[1], 0 };
    coir_fiber *a = coir_spawn(generate, &generator), *b = coir_spawn(square, &squarer);
    if (!a || !b) {
        perror("03_pipeline: coir_spawn");
        return 2;
    }

    while (coir_read_full(second[0], &i, sizeof i) == sizeof i)
        sum += i;
    coir_close(second[0]);
    if (coir_join(a, NULL) < 0 || coir_join(b, NULL) < 0) {
        perror("03_pipeline: a stage failed");
        return 1;
    }
    printf("the squares of 1 to %llu add up to %llu\n", (unsigned long long)last,
           (unsigned long long)sum);
    return 0;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
