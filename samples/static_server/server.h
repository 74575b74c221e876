/* static_server/server.h - the parts of static_server.
 * SPDX-License-Identifier: MIT
 *
 *   ../static_server.c  options, the accepting fiber, and serve(): a connection from top to bottom
 *   request.c  read a request's head and understand it
 *   answer.c   find the page and send it
 *
 * It is plain sequential code: nothing in it says that thousands of connections run beside each
 * other on one OS thread. */
#ifndef SERVER_H
#define SERVER_H

#include <coir.h>

#include <stdbool.h>

#define HEAD_MAX  8192  /* request line and fields together */
#define OUT_BYTES 16384 /* of a file, per write */

/* Constant once the server runs. */
struct server {
    const char *host, *port, *root_path;
    int root, listener;
    unsigned workers;
    int64_t delay_ns, idle_ns;
};
extern struct server server;

/* A connection, on the stack of its fiber. */
struct conn {
    int fd;
    size_t len;              /* bytes in head; more than one request's when the client hurries */
    char head[HEAD_MAX + 1]; /* and room for a final 0 */
    char out[OUT_BYTES];
};

struct request {
    bool head_only, keep;
    int minor;               /* HTTP/1.minor */
    bool directory;          /* the path ends in a slash */
    char path[HEAD_MAX + 1]; /* decoded, relative to the root, "." for the root itself */
    const char *query;       /* from the '?' on, or "" */
};

/* Read until one request's head is there, within the idle time. Parks.
 * Returns  its bytes; 0 when the client has gone or stayed silent; -status when it must be told
 * something. */
int request_read(struct conn *c);

/* Parse a complete head of so many bytes, in place.
 * Returns  0; or a status to refuse it with, and then it is unsure where the next one starts. */
int request_parse(struct request *rq, char *head, size_t bytes);

/* Answer a request that was understood, with a page or with a status. Returns 0, or -1: the
 * connection is broken. Parks. */
int answer(struct conn *c, struct request *rq);

/* Answer with the status and end the conversation. Parks. */
void answer_refuse(struct conn *c, struct request *rq, int status);

#endif
