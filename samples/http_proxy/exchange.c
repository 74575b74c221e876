/* http_proxy/exchange.c - one request and its answer.
 * SPDX-License-Identifier: MIT
 *
 * The body of the request is sent by a fiber of its own while this one already waits for the
 * answer: so one that comes early (100 Continue, 413) is passed on when it comes. */
#include "proxy.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define INTERIM_MAX 8

struct sending {
    struct body body;
    enum passed passed; /* once it has ended */
    _Atomic bool ended;
    _Atomic int64_t active_ns; /* when either side has last said something */
};

/* A server that does not want all of the body may still answer; a client that cannot send it ends
 * the exchange. */
static int send_body(void *arg)
{
    struct sending *sending = arg;
    sending->passed = body_pass(&sending->body);
    if (sending->passed == FROM_BROKEN || sending->passed == FROM_WRONG)
        return -1;
    atomic_store(&sending->ended, true);
    return 0;
}

/* The idle time counts from when either side has last said something; as long as the client has not
 * said everything it is the sending fiber's business. */
static ssize_t read_answer(struct input *server, struct sending *sending)
{
    ssize_t bytes = -1;
    do {
        COIR_TIMEOUT(proxy.idle_ns)
            bytes = head_read(server);
    } while (bytes < 0 && errno == ETIMEDOUT &&
             (!atomic_load(&sending->ended) ||
              coir_now() - atomic_load(&sending->active_ns) < proxy.idle_ns));
    return bytes;
}

/* Until the final one is there; interim ones are passed on. Returns 0; a status for the client and
 * *why; or -1: the client is gone, or its body is broken. */
static int await_answer(const struct request *rq, int client, struct input *server,
                        struct answer *answer, struct sending *sending, const char **why)
{
    char head[HEAD_MAX + 512];
    for (int interim = 0; interim <= INTERIM_MAX; interim++) {
        ssize_t bytes = read_answer(server, sending);
        if (bytes < 0 && errno == ECANCELED)
            return -1;
        *why = bytes == 0          ? "the server closed the connection without an answer"
               : errno == EMSGSIZE ? "the head of the answer is too long"
                                   : strerror(errno);
        if (bytes <= 0)
            return bytes < 0 && errno == ETIMEDOUT ? 504 : 502;
        if (answer_parse(answer, server, (size_t)bytes, why) < 0)
            return 502;
        if (answer->status >= 200)
            return 0;
        if (answer->status == 101)
            break;
        size_t len = answer_write(answer, head, sizeof head, "", true);
        if (rq->m.minor >= 1 && len > 0 && write_in_time(client, head, len) < 0)
            return -1;
    }
    *why = "the server goes on without an answer";
    return 502;
}

/* Pass the answer on, in the framing that this client understands. */
static enum after pass_answer(const struct request *rq, int client, struct input *server,
                              struct answer *a, _Atomic int64_t *active_ns)
{
    char head[HEAD_MAX + 512], framing[64] = "";
    bool empty = rq->head_only || a->status == 204 || a->status == 304;
    bool in_chunks = !empty && (a->m.chunked || a->m.length < 0);
    bool keep = rq->keep && (!in_chunks || rq->m.minor >= 1);
    struct body body = { .from = server,
                         .to = client,
                         .chunked_in = a->m.chunked,
                         .chunked_out = in_chunks && rq->m.minor >= 1,
                         .length = a->m.length,
                         .active_ns = active_ns };
    if (body.chunked_out)
        snprintf(framing, sizeof framing, "Transfer-Encoding: chunked\r\n");
    else if (!a->m.chunked && a->m.length >= 0 && a->status != 204)
        snprintf(framing, sizeof framing, "Content-Length: %lld\r\n", (long long)a->m.length);
    size_t len = answer_write(a, head, sizeof head, framing, keep);
    if (len == 0)
        return refuse(client, 502, "the head of the answer is too long", rq->head_only);
    if (write_in_time(client, head, len) < 0)
        return CLOSE;
    /* Without chunks or a length only a reset tells the client that something is missing. */
    if (!empty && body_pass(&body) != PASSED)
        return RESET;
    return keep ? KEEP : CLOSE;
}

static enum after converse(struct input *client, struct request *rq, struct input *server)
{
    struct answer answer;
    struct sending sending = { .body = { .from = client,
                                         .to = server->fd,
                                         .chunked_in = rq->m.chunked,
                                         .chunked_out = rq->m.chunked,
                                         .length = rq->m.length,
                                         .active_ns = &sending.active_ns },
                               .active_ns = coir_now() };
    const char *why = NULL;
    enum after after = CLOSE;
    coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    coir_scope_open(&scope);
    if (coir_scope_spawn(&scope, send_body, &sending) < 0)
        return refuse(client->fd, 503, strerror(errno), rq->head_only);
    int status = await_answer(rq, client->fd, server, &answer, &sending, &why);
    if (status == 0)
        after = pass_answer(rq, client->fd, server, &answer, &sending.active_ns);
    COIR_TIMEOUT(COIR_MS(100)) /* who has the answer need not send the rest */
        coir_scope_wait(&scope);
    if (coir_check() < 0)
        return CLOSE;
    if (status > 0)
        return refuse(client->fd, status, why, rq->head_only);
    if (status < 0 && sending.passed == FROM_WRONG)
        return refuse(client->fd, 400, "the body is not in chunks", rq->head_only);
    if (status < 0 && sending.passed == FROM_BROKEN)
        return refuse(client->fd, 408, "the body does not come", rq->head_only);
    return after == KEEP && sending.passed != PASSED ? CLOSE : after;
}

enum after exchange(struct input *client, struct request *rq)
{
    char head[HEAD_MAX + 512];
    struct input server = { .fd = -1 };
    const char *why;
    size_t len = request_write(rq, head, sizeof head);
    if (len == 0)
        return refuse(client->fd, 431, "the head is too long", rq->head_only);
    server.fd = upstream_dial(&rq->target, &why);
    if (server.fd < 0)
        return refuse(client->fd, -server.fd, why, rq->head_only);
    enum after after;
    if (write_in_time(server.fd, head, len) < 0)
        after = refuse(client->fd, errno == ETIMEDOUT ? 504 : 502, strerror(errno), rq->head_only);
    else
        after = converse(client, rq, &server);
    coir_close(server.fd);
    return after;
}
