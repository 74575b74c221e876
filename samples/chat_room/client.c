/* chat_room/client.c - one connection: a fiber that reads its lines, and one that writes to it.
 * SPDX-License-Identifier: MIT
 *
 * The reader never writes to the socket: so a client that does not read cannot keep it from taking
 * part in the room, and what the room says cannot get between the bytes of an answer. */
#include "chat.h"

#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

struct input {
    int fd;
    bool skipping;            /* the line that is coming is too long */
    size_t at, end;           /* buf[at, end) has arrived and is not consumed */
    char buf[LINE_BYTES + 2]; /* a line, with a carriage return and a newline */
};

struct writer {
    int fd;
    coir_chan *queue;
    const char *goodbye; /* set before the queue is closed; NULL: none */
};

static void *write_lines(void *arg)
{
    struct writer *w = arg;
    struct line *line;
    bool broken = false;
    while (!broken && coir_chan_recv(w->queue, &line) == 0) {
        broken = coir_write_all(w->fd, line->text, line->len) < 0;
        line_put(line);
    }
    if (!broken && w->goodbye)
        coir_write_all(w->fd, w->goodbye, strlen(w->goodbye));
    return NULL;
}

static void drop_line(void *line)
{
    line_put(*(struct line **)line);
}

/* What a client sends shall not drive the others' terminals. */
static void make_plain(char *text, const char *end)
{
    for (unsigned char *p = (unsigned char *)text; p < (const unsigned char *)end; p++) {
        if (*p == '\t')
            *p = ' ';
        else if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) /* U+0080 to U+009F */
            p[0] = p[1] = '?';
    }
}

/* The next line, which lives until the next call; "" for one that is too long, after saying so.
 * NULL: the client has gone, or the caller is to end. Parks. */
static char *take_line(struct client *client, struct input *in)
{
    for (;;) {
        char *line = in->buf + in->at, *end = memchr(line, '\n', in->end - in->at);
        if (end) {
            bool skipped = in->skipping;
            in->at = (size_t)(end - in->buf) + 1;
            in->skipping = false;
            if (end > line && end[-1] == '\r')
                end--;
            if (skipped || end - line > LINE_BYTES) {
                room_tell(client, "* a line has at most %d bytes", LINE_BYTES);
                return strcpy(in->buf, "");
            }
            *end = 0;
            make_plain(line, end);
            return line;
        }
        memmove(in->buf, line, in->end -= in->at);
        in->at = 0;
        if (in->end == sizeof in->buf) {
            in->skipping = true;
            in->end = 0;
        }
        ssize_t n = coir_recv(in->fd, in->buf + in->end, sizeof in->buf - in->end, 0);
        if (n <= 0)
            return NULL;
        in->end += (size_t)n;
    }
}

static bool is_nick(const char *text)
{
    size_t len = strlen(text);
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return false;
    return len > 0 && len <= NICK_BYTES;
}

/* Is the line this command? *rest is what follows it. */
static bool is_command(char *line, const char *name, char **rest)
{
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || (line[len] && line[len] != ' '))
        return false;
    *rest = line + len + strspn(line + len, " ");
    return true;
}

static void tell_nick_rules(struct client *client)
{
    room_tell(client, "* a nick has 1 to %d letters, digits, - or _", NICK_BYTES);
}

/* Get a nick, and into the room. Returns false when it does not come to that. Parks. */
static bool login(struct client *client, struct input *in)
{
    char *line, *rest;
    room_tell(client, "* welcome; who are you?");
    while ((line = take_line(client, in))) {
        if (is_command(line, "/quit", &rest))
            return false;
        const char *nick = is_command(line, "/nick", &rest) ? rest : line;
        if (!is_nick(nick)) {
            tell_nick_rules(client);
            continue;
        }
        enum join result = room_join(client, nick);
        if (result == JOINED)
            return true;
        if (result == ROOM_FULL) {
            room_tell(client, "* the room is full");
            return false;
        }
        room_tell(client, "* somebody else is %s", nick);
    }
    return false;
}

/* Returns false when the client wants to leave. */
static bool obey(struct client *client, char *line)
{
    char *rest;
    if (*line != '/') {
        if (*line)
            room_say(client, line);
    } else if (is_command(line, "/quit", &rest)) {
        return false;
    } else if (is_command(line, "/who", &rest)) {
        room_who(client);
    } else if (is_command(line, "/nick", &rest)) {
        if (!is_nick(rest))
            tell_nick_rules(client);
        else if (!room_rename(client, rest))
            room_tell(client, "* somebody else is %s", rest);
    } else {
        room_tell(client, "* there are /nick NAME, /who and /quit");
    }
    return true;
}

/* Up to chat.rate lines at once, and so many in each second from then on: who sends faster waits
 * here, and his own TCP with him. */
static int throttle(int64_t *due_ns)
{
    int64_t now_ns = coir_now();
    if (chat.rate == 0)
        return 0;
    if (*due_ns < now_ns - COIR_SEC(1))
        *due_ns = now_ns - COIR_SEC(1);
    *due_ns += COIR_SEC(1) / chat.rate;
    return *due_ns > now_ns ? coir_sleep(*due_ns - now_ns) : 0;
}

static const char *converse(struct client *client, struct input *in)
{
    bool inside = false, timely = true;
    int64_t due_ns = 0;
    char *line;
    COIR_TIMEOUT(chat.login_ns) {
        inside = login(client, in);
        timely = !coir_deadline_passed();
    }
    if (!inside)
        return timely ? NULL : "* you took too long\n";
    while ((line = take_line(client, in)) && obey(client, line) && throttle(&due_ns) == 0)
        continue;
    bool ended = coir_check() < 0;
    room_leave(client);
    if (client->fate == TOO_SLOW)
        return "\n* you were dropped: you read too slowly\n";
    return ended ? "* the room closes\n" : "* goodbye\n";
}

int client_serve(void *arg)
{
    struct input in = { .fd = (int)(intptr_t)arg };
    struct client client = { .reader = coir_self(), .fate = STAYS };
    int one = 1;
    setsockopt(in.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(in.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    client.queue = coir_chan_new(sizeof(struct line *), chat.queue_max);
    struct writer writer = { .fd = in.fd, .queue = client.queue };
    coir_fiber *fiber = client.queue ? coir_spawn(write_lines, &writer) : NULL;
    if (fiber) {
        coir_chan_on_drop(client.queue, drop_line);
        writer.goodbye = converse(&client, &in);
        coir_chan_close(client.queue);
        int ended = -1;
        COIR_SHIELD(chat.linger_ns)
            ended = coir_join(fiber, NULL);
        if (ended < 0) { /* it writes to a client that does not read */
            coir_cancel(fiber);
            COIR_SHIELD(COIR_NEVER)
                coir_join(fiber, NULL);
        }
    }
    coir_chan_free(client.queue);
    coir_close(in.fd);
    return 0;
}
