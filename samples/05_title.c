/* 05_title.c - fetch a page and print its title.   Try: build/samples/05_title
 * SPDX-License-Identifier: MIT
 *
 * usage: 05_title [URL]...      default: pages of a server of its own
 * The code reads as if each call blocked. Only the fiber waits. */
#include "web.h"

static int print_title(const char *url)
{
    char *title = web_title(url);
    if (title)
        printf("The title of %s is %s\n", url, title);
    else if (errno == 0)
        printf("%s has no title\n", url);
    else
        fprintf(stderr, "05_title: %s\n", coir_fetch_error());
    free(title);
    return title || errno == 0 ? 0 : -1;
}

static int run(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= print_title(argv[i]) < 0;
    if (argc > 1)
        return failed;

    char url[64];
    int port = web_serve();
    if (port < 0) {
        perror("05_title: no server");
        return 2;
    }
    const char *pages[] = { "coconut", "none" };
    for (int i = 0; i < 2; i++) {
        snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", port, pages[i]);
        failed |= print_title(url) < 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
