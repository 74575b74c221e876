/* 23_lines.c - print a large response line by line, as it comes.   Try: build/samples/23_lines URL
 * SPDX-License-Identifier: MIT
 *
 * usage: 23_lines URL [LINES]      only so many lines; then the rest is not fetched
 * The whole is never in memory: the server sends no faster than lines are printed. */
#include <coir.h>
#include <coir/fetch.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 64 * 1024 };

/* What has come, and has not been printed. */
struct lines {
    char text[LINE_BYTES];
    size_t len;
    long printed, wanted;
};

static void print_line(struct lines *l, size_t len)
{
    printf("%6ld  %.*s\n", ++l->printed, (int)len, l->text);
    fflush(stdout);
}

/* All that are complete; a longer one than fits is printed in pieces. */
static void print_complete(struct lines *l)
{
    char *newline;
    while (l->printed < l->wanted && ((newline = memchr(l->text, '\n', l->len)) ||
                                      l->len == sizeof l->text)) {
        size_t len = newline ? (size_t)(newline - l->text) : l->len;
        size_t used = len + (newline != NULL);
        print_line(l, len);
        memmove(l->text, l->text + used, l->len - used);
        l->len -= used;
    }
}

static int print_lines(coir_response *answer, long wanted)
{
    static struct lines l;
    ssize_t n = 1;
    l.wanted = wanted;
    while (n > 0 && l.printed < l.wanted) {
        n = coir_response_read(answer, l.text + l.len, sizeof l.text - l.len);
        l.len += n > 0 ? (size_t)n : 0;
        print_complete(&l);
    }
    if (n == 0 && l.len && l.printed < l.wanted)
        print_line(&l, l.len); /* the last one has no newline */
    return n < 0 ? -1 : 0;
}

static int run(int argc, char **argv)
{
    coir_response *answer;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: 23_lines URL [LINES]\n");
        return 2;
    }
    if (coir_fetch(argv[1], NULL, &answer) < 0) {
        fprintf(stderr, "23_lines: %s\n", coir_fetch_error());
        return 2;
    }
    int failed = print_lines(answer, argc > 2 ? atol(argv[2]) : LONG_MAX) < 0;
    if (failed)
        fprintf(stderr, "23_lines: %s\n", coir_fetch_error());
    coir_response_free(answer);
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
