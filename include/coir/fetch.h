/* coir/fetch.h - any http or https URL in one call. For -lcoir-fetch (pkg-config coir-fetch), which
 * is libcurl on coir's I/O.
 * SPDX-License-Identifier: MIT
 *
 *   coir_response *r;
 *   if (coir_fetch("https://example.org/", NULL, &r) < 0)
 *       fprintf(stderr, "%s\n", coir_fetch_error());
 *
 * Safe      by default: certificates are verified, redirects are followed 10 times at most, never
 *           from https to http and never with credentials to another host, what a server may send
 *           in headers is limited, and so is how much compressed data may grow.
 * Reuse     connections, TLS sessions and addresses (for a minute) are kept for the next fetch on
 *           the same worker; a connection of HTTP/2 carries many at a time.
 * Threads   any fiber and any thread may fetch; one response is used by one of them at a time. */
#ifndef COIR_FETCH_H
#define COIR_FETCH_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* What a server said: status and headers, and a body that may still be on its way. */
typedef struct coir_response coir_response;

/* coir_fetch_options.flags */
enum {
    COIR_FETCH_NO_REDIRECT = 1, /* an answer of 3xx is the answer */
    COIR_FETCH_COOKIES = 2,     /* send and keep cookies, in a jar that is the process's */
    COIR_FETCH_PUBLIC_ONLY = 4, /* refuse addresses that are private, loopback, or of this
                                  * link, whatever name they go by: for URLs that others chose */
    COIR_FETCH_RAW = 8,         /* the body as it is sent: no compression is asked for or undone */
    COIR_FETCH_HTTP1 = 16,      /* not HTTP/2 */
    COIR_FETCH_DOWNGRADE = 32   /* redirects may lead from https to http */
};

/* How to fetch. All zero is a GET. */
typedef struct coir_fetch_options {
    const char *method;         /* NULL: GET, or POST when there is a body */
    const char *const *headers; /* "Name: value", the last one followed by NULL; "Name:" removes one
                                 * that would be sent by itself; no line ends in them */
    const void *body;           /* of the request: body_bytes, which stay until coir_fetch returns
                                 * (with COIR_FETCH_NO_REDIRECT, or an answer that comes early,
                                 * until the response is freed) */
    size_t body_bytes;          /* of body, or what body_read will bring; 0 with body_read: who
                                 * knows (chunked, in HTTP/1.1) */
    size_t text_bytes_max;      /* coir_response_text fails beyond; 0: 64 MiB */
    char *error;                /* NULL, or where the sentence of coir_fetch_error goes, too */
    size_t error_bytes;
    /* The request's body, instead of body, as it is wanted: called by the fiber that fetches or
     * reads the response, so it may park. Returns bytes put into buf, 0 at the end, -1 with errno.
     * It cannot be sent twice: a redirect, or a question about `user`, that comes after its
     * beginning is an error, EPIPE. */
    ssize_t (*body_read)(void *arg, void *buf, size_t len);
    void *body_arg;
    unsigned flags;          /* COIR_FETCH_... */
    unsigned redirects_max;  /* 0: 10 */
    uint64_t body_bytes_max; /* a longer body of the response is an error; 0: any */
    size_t header_bytes_max; /* the same of all its headers; 0: 256 KiB */
    unsigned growth_max;     /* by which factor a body of more than 16 MiB may have grown by
                                * decompression; 0: 200 */
    const char *user;        /* "name:password", as the server asks for it: basic or digest */
    const char *bearer;      /* a token */
    const char *proxy;       /* its URL; "": none; NULL: http_proxy, https_proxy, all_proxy and
                                * no_proxy of the environment, as curl has them */
    const char *ca_file;     /* PEM: certificates to trust besides the system's */
    const char *cert_file;   /* PEM: the client's own; */
    const char *key_file;    /* and its key, if not in cert_file */
    const char *range;       /* "0-99": of the body; the answer's status tells */
    uint64_t reserved[8];    /* 0 */
} coir_fetch_options;

/* Ask for url, and wait until the headers of the answer are here; the body comes by
 * coir_response_read, and waits in the connection meanwhile. A status of 4xx or 5xx is an answer.
 * Returns  0, with *response, to be freed; -1, and coir_fetch_error() says which URL failed, in
 *          which phase and why. errno: EINVAL (url, an option), EPROTONOSUPPORT (neither http nor
 *          https), EHOSTUNREACH (there is no such host), ECONNREFUSED and other errors of connect,
 *          EACCES (COIR_FETCH_PUBLIC_ONLY), EKEYREJECTED (a certificate that is not to be trusted),
 *          EPROTO (TLS or HTTP was not understood), ECONNRESET (the connection ended early), ELOOP
 *          (redirects), EFBIG (headers), EIO (anything else); ETIMEDOUT, ECANCELED; what body_read
 *          failed with.
 * Parks. */
COIR_API int coir_fetch(const char *url, const coir_fetch_options *options,
                        coir_response **response);

/* Why the last fetch, or read of a response, of this fiber (or thread) failed, as one sentence
 * without a newline; "" when none has. The text is valid until the next such call. */
COIR_API const char *coir_fetch_error(void);

/* 200, 404, ... */
COIR_API int coir_response_status(const coir_response *response);

/* The value of the first header of that name, in any case of letters; NULL: there is none. */
COIR_API const char *coir_response_header(const coir_response *response, const char *name);

/* All headers in their order: number index, from 0, which may repeat a name. Returns 0, or -1
 * ENOENT: there are no more. */
COIR_API int coir_response_header_at(const coir_response *response, size_t index, const char **name,
                                     const char **value);

/* Where the answer came from, after all redirects; without user and password. */
COIR_API const char *coir_response_url(const coir_response *response);

/* "1.0", "1.1", "2" */
COIR_API const char *coir_response_http(const coir_response *response);

/* When things had happened, in ns since the (last) request began; 0: not, or not yet, or the
 * connection was there already. Parks for a moment while the body is still on its way; neither
 * cancel nor deadline end that. */
typedef struct coir_fetch_times {
    int64_t connected_ns, secured_ns, sent_ns, first_byte_ns, all_ns;
    uint64_t body_bytes; /* that came, as they were sent */
    uint64_t reserved[4];
} coir_fetch_times;
COIR_API void coir_response_times(coir_response *response, coir_fetch_times *times);

/* The next bytes of the body, decompressed.
 * Returns  bytes; 0 at its end; -1 as coir_fetch, or with EFBIG (body_bytes_max, growth_max). A
 *          body that ends early is an error. After a failure it fails again.
 * Parks. */
COIR_API ssize_t coir_response_read(coir_response *response, void *buf, size_t len);

/* All the rest of the body, as a string that is the caller's to free(3); its length without the 0
 * that ends it in *len, unless that is NULL.
 * Returns  NULL as coir_response_read, or with ENOMEM, EFBIG (text_bytes_max). Parks. */
COIR_API char *coir_response_text(coir_response *response, size_t *len);

/* The end of a response. A body that was not read to its end is given up, and, in HTTP/1.1, the
 * connection with it. NULL is nothing. Parks for a moment; neither
 * cancel nor deadline end that. */
COIR_API void coir_response_free(coir_response *response);

COIR_END_DECLS

#endif
