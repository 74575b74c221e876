/* fetch/fetch.h - a response and what it is made of. For src/fetch.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_FETCH_FETCH_H
#define COIR_FETCH_FETCH_H

#include "lane.h"

#include <coir/fetch.h>

enum {
    COIR__BODY_BYTES = 64 * 1024,  /* of a body that wait for who reads it */
    COIR__UPLOAD_BYTES = 16 * 1024 /* of a request's body, asked for at once */
};

struct coir_response {
    struct coir__transfer transfer; /* first */
    coir_fetch_options options;     /* as given; strings only until coir_fetch returns */
    const char *asked;              /* the first URL, as given; likewise */
    char *url;                      /* the present one, without user and password */
    const char *method;
    char error[CURL_ERROR_SIZE]; /* curl's words */
    struct curl_slist *headers, *resolve;
    unsigned redirects;
    bool dropped_body; /* a redirect has made a GET of it */
    bool other_host;   /* a redirect has led away from the first */
    bool guarded;      /* COIR_FETCH_PUBLIC_ONLY */
    bool has_host;     /* a header Host was given */
    bool based;        /* easy has what all requests have set, and nothing else */

    /* The driver's, until head_over, or the end of the transfer. */
    int status;
    int http;   /* 0, 1: of HTTP/1; 2 */
    char *head; /* name, 0, value, 0, ... */
    size_t head_bytes, head_cap, head_sum;
    bool redirecting; /* they lead elsewhere, and the body is nobody's */

    /* Under the lane's lock while the transfer is attached. */
    bool head_over; /* the headers are the answer's */
    char *body;     /* [start, end) of cap bytes */
    size_t start, end, cap;
    uint64_t body_sum;
    bool not_public; /* an address was refused for that */
    char *upload;
    size_t upload_start, upload_end;
    uint64_t upload_sum;
    bool upload_wanted, upload_over;
    int failure;       /* an errno of our own, */
    const char *why;   /* and why; a text that stays. Also of a request that was not made */
    const char *phase; /* "request": it is not; "resolve"; NULL: curl knows */
};

/* request.c: set the easy handle of r up for url. 0; -1 with errno, and r->why. Parks. */
int coir__request_prepare(struct coir_response *r, const char *url);

/* receive.c: the calls that curl makes. */
void coir__receive_from(struct coir_response *r);

/* follow.c: r has been redirected: *url is to be fetched now, and to be freed. 0; -1 as above. */
int coir__follow(struct coir_response *r, char **url);

/* error.c: the sentence for a failure of r with err, or of no response yet (NULL) at url; sets
 * errno. Returns -1. */
int coir__fetch_fail(struct coir_response *r, const char *url, const coir_fetch_options *options,
                     int err, const char *why);
/* What curl's result, or r's own failure, means. */
int coir__fetch_errno(const struct coir_response *r);

/* fetch.c: with the lock, which it may give up meanwhile: feed r what it asks for, or wait until
 * something of it changes. 0; -1 with errno. Parks. */
int coir__fetch_step(struct coir_response *r);

#endif
