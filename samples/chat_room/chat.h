/* chat_room/chat.h - the parts of chat_room, and what each promises the other.
 * SPDX-License-Identifier: MIT
 *
 *   ../chat_room.c  options, the accepting fiber, the end
 *   client.c  one connection: a fiber that reads lines, and one that writes what is in its queue
 *   room.c    who is there, and handing a line to all of them */
#ifndef CHAT_H
#define CHAT_H

#include <coir.h>

#include <stdbool.h>

#define NICK_BYTES 20
#define LINE_BYTES 512 /* bytes of a line that a client sends, without its end */

/* Constant once the server runs. */
struct chat {
    const char *host, *port;
    unsigned workers, clients_max, queue_max, rate;
    int64_t login_ns, linger_ns;
};
extern struct chat chat;

/* A line on its way to any number of clients; the last one who puts it down frees it. */
struct line {
    _Atomic unsigned refs;
    size_t len;
    char text[]; /* ends in a newline, not in a 0 */
};

enum fate { STAYS, TOO_SLOW };

/* Lives on its reader's stack; in the list from room_join to room_leave. */
struct client {
    struct client *next;
    char nick[NICK_BYTES + 1];
    coir_chan *queue;   /* of struct line *: what is to be written */
    coir_fiber *reader; /* cancelled when fate is no longer STAYS */
    enum fate fate;     /* the room's lock guards it while the client is in the list */
};

/* room.c: none of these waits for a client. line may be NULL. */
void line_put(struct line *line);

enum join { JOINED, NICK_TAKEN, ROOM_FULL };
enum join room_join(struct client *client, const char *nick);
bool room_rename(struct client *client, const char *nick); /* false: it is taken */
void room_leave(struct client *client);
void room_say(const struct client *from, const char *text);
/* Tell one client something; when its queue is full it is dropped, as for what others say. */
void room_tell(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void room_who(struct client *client);

/* client.c: a fiber's function, for one connection, which it closes. */
int client_serve(void *fd);

#endif
