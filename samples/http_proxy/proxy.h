/* http_proxy/proxy.h - the parts of http_proxy, and what each promises the others.
 * SPDX-License-Identifier: MIT
 *
 *   ../http_proxy.c  options, the accepting fiber, the end
 *   serve.c    one client: request after request
 *   exchange.c one request and its answer: the body up by one fiber, the answer down by another
 *   tunnel.c   CONNECT: bytes in both directions
 *   upstream.c host:port, and a connection to it
 *   head.c     a head read, understood, and written anew for the other side
 *   body.c     a body passed on, in its three framings
 *
 * What comes from either side is bounded: heads and lines by a buffer, waits by a deadline, bodies
 * by being passed on in pieces. */
#ifndef PROXY_H
#define PROXY_H

#include <coir.h>

#include <stdbool.h>

#define HEAD_MAX   16384 /* start line and fields together, of a request or of an answer */
#define FIELDS_MAX 128

/* Constant once the proxy runs. */
struct proxy {
    const char *host, *port;
    unsigned workers;
    int listener;
    int64_t connect_ns, idle_ns;
    char pseudonym[24]; /* ours in Via fields; random, so that seeing it means a loop */
};
extern struct proxy proxy;

/* body.c: a socket with a buffer. */
struct input {
    int fd;
    size_t at, end; /* buf[at, end) has arrived and is not consumed */
    char buf[HEAD_MAX];
};

/* Read some more behind buf[end), after moving what is left to the front. Returns bytes read, 0 at
 * end of file, or -1 with errno; EMSGSIZE: the buffer is full. Parks. */
ssize_t input_more(struct input *in);

/* head.c: pointers lead into the input's buffer, and live until more is read. */
struct field {
    const char *name, *value;
};

struct message {
    char *start;    /* the first line */
    int minor;      /* HTTP/1.minor of who sent it; request_parse, answer_parse */
    bool chunked;   /* its body is; else */
    int64_t length; /* ... it is so long; -1: not told */
    size_t count;
    struct field fields[FIELDS_MAX];
};

struct target {
    char host[256], port[6];
    char authority[272]; /* as in a Host field */
};

struct request {
    struct message m;
    const char *method;
    struct target target;
    const char *path; /* with its query; "*" for the server itself */
    bool connect, head_only;
    bool keep; /* the client would keep the connection */
};

struct answer {
    struct message m;
    int status;
    const char *reason;
};

/* Read until a head is complete, and leave it in the buffer. Returns its bytes; 0 at an end of file
 * before its first byte; -1 with errno: EMSGSIZE it is longer than HEAD_MAX, EPIPE the end of file
 * is within it, or as input_more. Parks. */
ssize_t head_read(struct input *in);
/* Understand a head of so many bytes, and consume it. Returns 0, or a status, and then *why. */
int request_parse(struct request *rq, struct input *in, size_t bytes, const char **why);
/* Returns 0, or -1 and *why. */
int answer_parse(struct answer *a, struct input *in, size_t bytes, const char **why);
/* The head for the other side, without what is only between its sender and us. Both return its
 * bytes, or 0: it does not fit. */
size_t request_write(const struct request *rq, char *out, size_t cap);
size_t answer_write(const struct answer *a, char *out, size_t cap, const char *framing, bool keep);

/* body.c */
enum passed { PASSED, FROM_BROKEN, FROM_WRONG, TO_BROKEN };

struct body {
    struct input *from;
    int to;
    bool chunked_in, chunked_out;
    int64_t length;             /* unless it is chunked; -1: until the end of file */
    _Atomic int64_t *active_ns; /* when something was passed on last */
};

/* Pass it on to its end, each piece within the idle time. FROM_WRONG: it is not what HTTP says.
 * Parks. */
enum passed body_pass(const struct body *body);
int write_in_time(int fd, const char *data, size_t len);

/* upstream.c: host:port, port being optional if there is another one. Returns false: it is none. */
bool target_parse(struct target *target, const char *text, size_t len, const char *other_port);
/* Returns a descriptor, or -status and *why. Parks. */
int upstream_dial(const struct target *target, const char **why);

/* tunnel.c: pass bytes both ways until both have ended, or one is broken, or both are silent for
 * the idle time. The first bytes for the server are what is in the client's buffer. Parks. */
void tunnel(struct input *client, int server);

/* exchange.c: what becomes of the client's connection. */
enum after { KEEP, CLOSE, RESET };
enum after exchange(struct input *client, struct request *rq);

/* serve.c */
/* Answer with a status, a reason and why, to a client that may still be sending, whose connection
 * is then to be closed. Parks. */
enum after refuse(int fd, int status, const char *why, bool head_only);
/* A fiber's function, for one connection, which it closes. */
int proxy_serve(void *fd);

#endif
