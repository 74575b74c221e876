/* 01_hello.c - two fibers that wait at once.   Try: build/samples/01_hello
 * SPDX-License-Identifier: MIT
 *
 * coir_sleep parks the fiber that calls it, never the OS thread below: the other one goes on. */
#include <coir.h>

#include <stdio.h>
#include <string.h>

/* A fiber is a plain function that may wait wherever it likes. */
static void *greet(void *arg)
{
    const char *who = arg;
    printf("%s: hello\n", who);
    if (coir_sleep(COIR_MS(50)) < 0)
        return COIR_FAILED;
    printf("%s: goodbye\n", who);
    return (void *)strlen(who);
}

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    coir_fiber *one = coir_spawn(greet, "one");
    coir_fiber *two = coir_spawn(greet, "two");
    if (!one || !two) {
        perror("01_hello: coir_spawn");
        return 2;
    }

    void *letters_one, *letters_two;
    if (coir_join(one, &letters_one) < 0 || coir_join(two, &letters_two) < 0) {
        perror("01_hello: coir_join");
        return 1;
    }
    printf("both are done: %zu letters\n", (size_t)letters_one + (size_t)letters_two);
    return 0;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status; /* coir_main has said why it did not start */
}
