/* 06_race.c - two pages at once; the faster one wins.   Try: build/samples/06_race
 * SPDX-License-Identifier: MIT
 *
 * usage: 06_race [URL URL]      default: two pages of a server of its own
 * coir_race cancels the slower fetch, and returns when it has ended: nothing is left running. */
#include "web.h"

static void *fetch_title(void *url)
{
    char *title = web_title(url);
    if (!title && errno == ECANCELED)
        printf("(%s was cancelled)\n", (char *)url);
    return !title && errno ? COIR_FAILED : title;
}

static int race(char *const urls[2])
{
    void *title = NULL;
    coir_future *both[2];
    for (int i = 0; i < 2; i++) {
        both[i] = coir_async(fetch_title, urls[i]);
        if (both[i])
            coir_future_on_drop(both[i], free);
    }
    int first = coir_race(both, 2, &title);
    if (first < 0) {
        perror("06_race");
    } else if (coir_future_error(both[first])) {
        fprintf(stderr, "%s: %s\n", urls[first], strerror(coir_future_error(both[first])));
    } else {
        printf("%s came first\n", urls[first]);
        printf("its title is %s\n", title ? (char *)title : "missing");
        free(title);
    }
    coir_future_free_all(both, 2);
    return first < 0;
}

static int run(int argc, char **argv)
{
    if (argc == 3)
        return race(argv + 1);
    char slow[64], fast[64];
    int port = web_serve();
    if (port < 0 || argc > 1) {
        fprintf(stderr, argc > 1 ? "usage: 06_race [URL URL]\n" : "06_race: no server\n");
        return 2;
    }
    snprintf(slow, sizeof slow, "http://127.0.0.1:%d/tortoise?2000", port);
    snprintf(fast, sizeof fast, "http://127.0.0.1:%d/hare?50", port);
    return race((char *[]){ slow, fast });
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
