/* chat_room/room.c - who is in the room, and handing a line to all of them.
 * SPDX-License-Identifier: MIT
 *
 * Nothing here waits for a client: a line goes into each one's queue, or, when that is full, the
 * client goes. So the lock is never held for long, and the room is as fast as its fastest. */
#include "chat.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct {
    coir_mutex lock;
    struct client *first;
    unsigned count;
} room;

/* NULL when there is no memory: nobody hears it then. */
static struct line *line_format(const char *format, va_list args)
{
    char text[2 * LINE_BYTES];
    int len = vsnprintf(text, sizeof text - 1, format, args);
    size_t bytes = (size_t)len < sizeof text - 1 ? (size_t)len : sizeof text - 2;
    text[bytes++] = '\n';
    struct line *line = malloc(sizeof *line + bytes);
    if (line) {
        atomic_init(&line->refs, 1);
        line->len = bytes;
        memcpy(line->text, text, bytes);
    }
    return line;
}

__attribute__((format(printf, 1, 2))) static struct line *line_new(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct line *line = line_format(format, args);
    va_end(args);
    return line;
}

void line_put(struct line *line)
{
    if (line && atomic_fetch_sub_explicit(&line->refs, 1, memory_order_acq_rel) == 1)
        free(line);
}

/* Put the line into the client's queue. With the lock, or by the client's own reader. */
static void hand(struct client *client, struct line *line)
{
    if (client->fate != STAYS || !line)
        return;
    atomic_fetch_add_explicit(&line->refs, 1, memory_order_relaxed);
    if (coir_chan_trysend(client->queue, &line) == 0)
        return;
    line_put(line);
    client->fate = TOO_SLOW;
    coir_cancel(client->reader);
}

/* With the lock. */
static void hand_to_all(struct line *line)
{
    for (struct client *client = room.first; client; client = client->next)
        hand(client, line);
}

static bool taken(const char *nick, const struct client *but_by)
{
    for (const struct client *client = room.first; client; client = client->next)
        if (client != but_by && strcasecmp(client->nick, nick) == 0)
            return true;
    return false;
}

enum join room_join(struct client *client, const char *nick)
{
    struct line *line = line_new("* %s has joined", nick);
    enum join result = JOINED;
    coir_mutex_lock(&room.lock);
    if (room.count == chat.clients_max)
        result = ROOM_FULL;
    else if (taken(nick, NULL))
        result = NICK_TAKEN;
    if (result == JOINED) {
        strcpy(client->nick, nick);
        client->next = room.first;
        room.first = client;
        room.count++;
        hand_to_all(line);
    }
    coir_mutex_unlock(&room.lock);
    line_put(line);
    return result;
}

bool room_rename(struct client *client, const char *nick)
{
    struct line *line = line_new("* %s is now %s", client->nick, nick);
    coir_mutex_lock(&room.lock);
    bool free_nick = !taken(nick, client);
    if (free_nick) {
        strcpy(client->nick, nick);
        hand_to_all(line);
    }
    coir_mutex_unlock(&room.lock);
    line_put(line);
    return free_nick;
}

void room_leave(struct client *client)
{
    coir_mutex_lock(&room.lock);
    for (struct client **at = &room.first; *at; at = &(*at)->next) {
        if (*at != client)
            continue;
        *at = client->next;
        room.count--;
        break;
    }
    struct line *line = line_new(client->fate == TOO_SLOW ? "* %s was dropped: it reads too slowly"
                                                          : "* %s has left",
                                 client->nick);
    hand_to_all(line);
    coir_mutex_unlock(&room.lock);
    line_put(line);
}

void room_say(const struct client *from, const char *text)
{
    struct line *line = line_new("<%s> %s", from->nick, text);
    coir_mutex_lock(&room.lock);
    hand_to_all(line);
    coir_mutex_unlock(&room.lock);
    line_put(line);
}

void room_tell(struct client *client, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct line *line = line_format(format, args);
    va_end(args);
    coir_mutex_lock(&room.lock);
    hand(client, line);
    coir_mutex_unlock(&room.lock);
    line_put(line);
}

/* One line, however many are here: as several they would not fit into the queue. */
void room_who(struct client *client)
{
    coir_mutex_lock(&room.lock);
    struct line *line = malloc(sizeof *line + 32 + room.count * (NICK_BYTES + 1));
    if (line) {
        atomic_init(&line->refs, 1);
        char *end = line->text + sprintf(line->text, "* %u here:", room.count);
        for (const struct client *other = room.first; other; other = other->next)
            end += sprintf(end, " %s", other->nick);
        *end++ = '\n';
        line->len = (size_t)(end - line->text);
    }
    hand(client, line);
    coir_mutex_unlock(&room.lock);
    line_put(line);
}
