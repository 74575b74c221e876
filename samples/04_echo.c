/* 04_echo.c - one fiber per connection.   Try: build/samples/04_echo 7000 & nc localhost 7000
 * SPDX-License-Identifier: MIT */
#include <coir.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* One connection, from its first byte to its last, as straight as with a thread of its own. */
static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buf[4096];
    ssize_t n;
    while ((n = coir_read(fd, buf, sizeof buf)) > 0)
        if (coir_write_all(fd, buf, (size_t)n) < 0)
            break;
    coir_close(fd);
    return NULL;
}

static int run(int argc, char **argv)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = coir_tcp_listen("127.0.0.1", argc > 1 ? argv[1] : "7000", 0);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &len) < 0) {
        perror("04_echo: cannot listen");
        return 2;
    }
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);

    coir_attr attr = COIR_ATTR_INIT;
    attr.name = "echo";
    attr.flags = COIR_DETACHED; /* nobody joins a connection; it ends when the peer closes */
    for (;;) {
        int fd = coir_accept(listener, NULL, NULL);
        if (fd < 0) {
            fprintf(stderr, "04_echo: accept: %s\n", strerror(errno));
            if (coir_sleep(COIR_MS(100)) <
                0) /* out of descriptors, most likely: some will be closed */
                return 1;
        } else if (!coir_spawn_with(&attr, serve, (void *)(intptr_t)fd)) {
            fprintf(stderr, "04_echo: coir_spawn_with: %s\n", strerror(errno));
            coir_close(fd);
        }
    }
}

int main(int argc, char **argv)
{
    int status = coir_main(argc, argv, run);
    return status < 0 ? 2 : status;
}
