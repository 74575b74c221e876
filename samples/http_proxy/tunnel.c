/* http_proxy/tunnel.c - CONNECT: bytes in both directions, each by a fiber.
 * SPDX-License-Identifier: MIT
 *
 * The end of one direction is passed on, and the other one goes on: a client may close its half and
 * still wait for what the server has to say. */
#include "proxy.h"

#include <stdatomic.h>

struct pump {
    int from, to;
    _Atomic int64_t *active_ns; /* of both directions */
};

static int pump_all(void *arg)
{
    struct pump *pump = arg;
    char buf[HEAD_MAX];
    for (;;) {
        ssize_t n = -1;
        COIR_TIMEOUT(proxy.idle_ns)
            n = coir_recv(pump->from, buf, sizeof buf, 0);
        if (n < 0 && errno == ETIMEDOUT &&
            coir_now() - atomic_load(pump->active_ns) < proxy.idle_ns)
            continue;
        if (n == 0) {
            shutdown(pump->to, SHUT_WR);
            return 0;
        }
        if (n < 0 || write_in_time(pump->to, buf, (size_t)n) < 0)
            return -1; /* which ends the other direction */
        atomic_store(pump->active_ns, coir_now());
    }
}

void tunnel(struct input *client, int server)
{
    _Atomic int64_t active_ns = coir_now();
    struct pump up = { client->fd, server, &active_ns };
    struct pump down = { server, client->fd, &active_ns };
    coir_scope both COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    size_t first = client->end - client->at;
    if (first > 0 && write_in_time(server, client->buf + client->at, first) < 0)
        return;
    coir_scope_open(&both);
    if (coir_scope_spawn(&both, pump_all, &up) == 0 &&
        coir_scope_spawn(&both, pump_all, &down) == 0)
        coir_scope_wait(&both);
}
