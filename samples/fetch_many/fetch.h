/* fetch_many/fetch.h - the parts of fetch_many, and what each promises the others.
 * SPDX-License-Identifier: MIT
 *
 *   ../fetch_many.c  options, the list of URLs, the run
 *   fetch.c   one fiber: URL after URL, kept connections
 *   url.c     http://host:port/path
 *   input.c   a socket with a buffer
 *   http.c    header, and the body in its three framings
 *   sink.c    where bodies go: checksum, file
 *   fault.c   why a download failed
 *   report.c  progress bar, OS threads, summary
 *
 * All of it is plain sequential code; only the functions below that say "parks" wait for anything.
 * Functions that can fail return 0, or -1 with the fault filled in. */
#ifndef FETCH_H
#define FETCH_H

#include <coir.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

/* The read buffer of a fiber, hence also the longest response header that is accepted. */
#define BUF_BYTES 16384
/* How many idle connections a fiber keeps, to different servers. */
#define KEPT_MAX 4
#define URL_MAX  4096

/* fault.c */
enum phase {
    PHASE_URL,
    PHASE_CONNECT,
    PHASE_SEND,
    PHASE_HEADER,
    PHASE_STATUS,
    PHASE_BODY,
    PHASE_STORE
};

struct fault {
    enum phase phase;
    char cause[160]; /* printable, whatever the server sent */
};

int fault_set(struct fault *fault, enum phase phase, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The fault of a failed call, err being its errno. Tells the caller's deadline from a timeout of
 * the network. */
int fault_errno(struct fault *fault, enum phase phase, int err);
/* "could not connect" and so on. */
const char *fault_phase(const struct fault *fault);
/* Copy text to out, with every byte that is no printable ASCII as '?': servers do not write to our
 * terminal. */
void text_clean(char *out, size_t cap, const char *text);

/* url.c */
struct url {
    char host[48]; /* a numeric address without brackets, or "localhost" */
    char port[6];
    char authority[64]; /* host or [host], and :port unless that is 80 */
    const char *target; /* path and query, into the text given; without the path's first slash */
    size_t target_len;
};

/* url keeps pointers into text. */
int url_parse(struct url *url, const char *text, struct fault *fault);

/* input.c */
struct input {
    int fd;
    bool seen;      /* a byte has arrived since input_start */
    size_t at, end; /* buf[at, end) has arrived and is not consumed */
    char buf[BUF_BYTES];
};

void input_start(struct input *in, int fd);
/* Read some more behind buf[end), after moving what is left to the front. Returns bytes read, 0 at
 * end of file, or -1 with errno; ENOBUFS: the buffer is full. Parks. */
ssize_t input_more(struct input *in);

/* sink.c */
struct sink {
    uint32_t crc;
    int64_t bytes;
    int dir, file; /* -1: the body is not stored */
    char name[256], part[32];
    _Atomic int64_t *live; /* also counts here while the body arrives */
};

/* The body of url, into the directory root (-1: only counted). Names never leave root, and index
 * makes the temporary one unique. May park. */
int sink_open(struct sink *sink, int root, const struct url *url, size_t index,
              struct fault *fault);
int sink_put(struct sink *sink, const char *data, size_t len, struct fault *fault);
/* Finish: only a complete body gets its final name, an incomplete one is removed. */
int sink_close(struct sink *sink, bool complete, struct fault *fault);
/* CRC-32 of bytes seen so far, as POSIX cksum computes it (the length is part of it). */
uint32_t sink_sum(const struct sink *sink);

/* http.c */
struct response {
    int status;
    char reason[64]; /* printable */
    bool keep;       /* the connection may serve another request after the body */
    bool chunked;
    int64_t length; /* -1: no Content-Length */
};

/* Both park. */
int http_head(struct input *in, struct response *response, struct fault *fault);
int http_body(struct input *in, const struct response *response, struct sink *sink,
              struct fault *fault);

/* fetch.c */
struct result {
    int64_t bytes;
    uint32_t sum;
    bool ok;
};

/* One run. What is not atomic is constant while fibers run, but results[i]: that is its fiber's. */
struct job {
    char **urls;
    size_t count;
    struct result *results;
    unsigned fibers, workers;
    int64_t limit_ns; /* per URL; COIR_NEVER: none */
    int root;         /* directory for bodies, or -1 */
    bool sums, quiet, bar;
    int64_t start_ns, end_ns;
    _Atomic size_t next, done, failed;
    _Atomic int64_t live_bytes;
    _Atomic unsigned dials; /* connections made */
    unsigned threads_max;   /* of this process, ever seen by report_threads() */
    unsigned helpers;       /* of these, threads that io_uring made in the kernel */
};

/* A fiber's function: take URLs from the job until none is left. */
void *fetch_fiber(void *job);

/* report.c */
/* A fiber's function: count OS threads and draw the bar, ten times a second until cancelled. */
void *report_watch(void *job);
void report_threads(struct job *job);
void report_fault(const struct job *job, const char *url, const struct fault *fault);
/* Returns 0, or -1 when stdout did not take the checksums. */
int report_end(const struct job *job);

#endif
