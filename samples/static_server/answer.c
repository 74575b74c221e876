/* static_server/answer.c - find the page that a request names, and send it.
 * SPDX-License-Identifier: MIT
 *
 * Symbolic links inside the root are followed: whoever made them meant them. */
#include "server.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What a refused client may still send, so that it gets to read our answer. */
#define LINGER_MAX 65536

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        { 200, "OK" },
        { 301, "Moved Permanently" },
        { 400, "Bad Request" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 413, "Content Too Large" },
        { 431, "Request Header Fields Too Large" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Internal Server Error";
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        { "html", "text/html; charset=utf-8" },
        { "htm", "text/html; charset=utf-8" },
        { "txt", "text/plain; charset=utf-8" },
        { "md", "text/plain; charset=utf-8" },
        { "c", "text/plain; charset=utf-8" },
        { "h", "text/plain; charset=utf-8" },
        { "css", "text/css; charset=utf-8" },
        { "js", "text/javascript; charset=utf-8" },
        { "json", "application/json" },
        { "xml", "application/xml" },
        { "svg", "image/svg+xml" },
        { "png", "image/png" },
        { "jpg", "image/jpeg" },
        { "jpeg", "image/jpeg" },
        { "gif", "image/gif" },
        { "webp", "image/webp" },
        { "ico", "image/x-icon" },
        { "pdf", "application/pdf" },
        { "wasm", "application/wasm" },
        { "mp4", "video/mp4" },
        { "woff2", "font/woff2" },
        { "gz", "application/gzip" },
    };
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcasecmp(dot + 1, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

/* Send the first len bytes of c->out. Returns 0 or -1. */
static int send_out(struct conn *c, size_t len)
{
    COIR_TIMEOUT(server.idle_ns)
        return coir_write_all(c->fd, c->out, len) < 0 ? -1 : 0;
    return -1;
}

/* Write an answer's head to c->out; extra holds complete lines, or "". Returns its length. */
static size_t put_head(struct conn *c, const struct request *rq, int status, const char *type,
                       int64_t length, const char *extra)
{
    char date[40];
    struct tm tm;
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    return (size_t)snprintf(c->out, sizeof c->out,
                            "HTTP/1.1 %d %s\r\n"
                            "Server: coir\r\n"
                            "Date: %s\r\n"
                            "Content-Type: %s\r\n"
                            "Content-Length: %lld\r\n"
                            "%s"
                            "Connection: %s\r\n"
                            "\r\n",
                            status, reason_of(status), date, type, (long long)length, extra,
                            rq->keep ? "keep-alive" : "close");
}

/* Answer with a status and its name as the page. */
static int answer_status(struct conn *c, const struct request *rq, int status, const char *extra)
{
    char page[64];
    int page_len = snprintf(page, sizeof page, "%d %s\n", status, reason_of(status));
    size_t len = put_head(c, rq, status, "text/plain; charset=utf-8", page_len, extra);
    if (!rq->head_only) {
        memcpy(c->out + len, page, (size_t)page_len);
        len += (size_t)page_len;
    }
    return send_out(c, len);
}

/* A directory was asked for without its slash: relative links in its index would lead astray. */
static int answer_redirect(struct conn *c, const struct request *rq)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    char location[4096], *out = location + sprintf(location, "Location: /");
    for (const char *p = rq->path; *p; p++) {
        if (out > location + sizeof location - 16)
            return answer_status(c, rq, 404, "");
        out += sprintf(out, strchr(plain, *p) ? "%c" : "%%%02X", (unsigned char)*p);
    }
    if (strlen(rq->query) > (size_t)(location + sizeof location - 16 - out))
        return answer_status(c, rq, 404, "");
    sprintf(out, "/%s\r\n", rq->query);
    return answer_status(c, rq, 301, location);
}

/* Send the file, size bytes of it: that is what the head promises. A connection whose file shrank
 * meanwhile is closed. */
static int answer_file(struct conn *c, const struct request *rq, int file, int64_t size)
{
    size_t used = put_head(c, rq, 200, type_of(rq->path), size, "");
    int64_t left = rq->head_only ? 0 : size;
    do {
        size_t want = sizeof c->out - used;
        if ((int64_t)want > left)
            want = (size_t)left;
        ssize_t n = want > 0 ? coir_read(file, c->out + used, want) : 0;
        if (n < 0 || (n == 0 && left > 0) || send_out(c, used + (size_t)n) < 0)
            return -1;
        left -= n;
        used = 0;
    } while (left > 0);
    return 0;
}

static int status_of(int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
        return 404;
    case EACCES:
    case EPERM:
        return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return 503;
    default:
        return 500;
    }
}

/* Open what rq->path names; in a directory its index.html. Returns a descriptor of a regular file,
 * or -status. */
static int open_page(struct request *rq, struct stat *st)
{
    int flags = O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK; /* opening a FIFO must not wait */
    int fd = coir_openat(server.root, rq->path, flags);
    if (fd < 0)
        return -status_of(errno);
    bool directory = fstat(fd, st) == 0 && S_ISDIR(st->st_mode);
    int status = directory == rq->directory ? 0 : directory ? 301 : 404;
    if (directory && !status) {
        int index = coir_openat(fd, "index.html", flags);
        status = index < 0 ? status_of(errno) : 0;
        coir_close(fd);
        fd = index;
        strcpy(rq->path, "index.html");
    }
    if (!status && (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)))
        status = 404;
    if (!status)
        fcntl(fd, F_SETFL, 0);
    else if (fd >= 0)
        coir_close(fd);
    return status ? -status : fd;
}

int answer(struct conn *c, struct request *rq)
{
    struct stat st;
    int file = open_page(rq, &st);
    if (file == -301)
        return answer_redirect(c, rq);
    if (file < 0)
        return answer_status(c, rq, -file, "");
    int result = answer_file(c, rq, file, st.st_size);
    coir_close(file);
    return result;
}

/* Tell the client why, and let it finish sending: closing with unread bytes would reset the
 * connection, and with it the answer. */
void answer_refuse(struct conn *c, struct request *rq, int status)
{
    size_t total = 0;
    ssize_t n;
    rq->keep = false;
    if (answer_status(c, rq, status, status == 405 ? "Allow: GET, HEAD\r\n" : "") < 0 ||
        shutdown(c->fd, SHUT_WR) < 0)
        return;
    COIR_TIMEOUT(COIR_SEC(1))
        while (total < LINGER_MAX && (n = coir_recv(c->fd, c->out, sizeof c->out, 0)) > 0)
            total += (size_t)n;
}
