/* fetch/lane.h - curl on coir's I/O: a lane is one multi handle of curl's, that is a pool of
 * connections and the transfers under way on them.
 * SPDX-License-Identifier: MIT
 *
 * Driver    a fiber that makes all of curl's calls for a lane. It begins with the first transfer
 *           and ends with the last, so that an idle lane is memory only. Callers tell it their
 *           wishes and wait; so they need no deep stacks, and never touch curl while it is at work.
 * Watchers  a fiber for each socket and direction that curl waits for: one poll, and it ends.
 * Runs      these fibers are detached: when a run ends they are cancelled. Who still waits for a
 *           transfer then, a plain thread, starts a driver anew, in the next runtime.
 * Lock      lane->lock is for what the driver shares with others; curl is called without it. */
#ifndef COIR_FETCH_LANE_H
#define COIR_FETCH_LANE_H

#include <coir.h>

#include <curl/curl.h>
#include <stdbool.h>

struct coir__lane;

/* One request, and what comes of it. Its owner has the easy handle while it is not attached. */
struct coir__transfer {
    CURL *easy; /* its CURLOPT_PRIVATE is this */
    struct coir__lane *lane;
    /* The rest is the lane's, under its lock. */
    unsigned wishes;
    bool attached;  /* the driver may be using easy at any moment */
    bool over;      /* with result */
    bool paused;    /* by its callback */
    bool withdrawn; /* what still comes is to be thrown away */
    CURLcode result;
    void (*look)(struct coir__transfer *t, void *arg); /* WISH_LOOK */
    void *look_arg;
    coir_cond changed;                  /* something of it has, or of the driver */
    struct coir__transfer *next_wish;   /* wishes != 0 */
    struct coir__transfer *prev, *next; /* attached */
};

/* A lane for one more transfer: of the caller's thread, and not full. NULL with errno: there is no
 * memory. And the end of that. */
struct coir__lane *coir__lane_enter(void);
void coir__lane_leave(struct coir__lane *lane);

void coir__lane_lock(struct coir__lane *lane);
void coir__lane_unlock(struct coir__lane *lane);

/* With the lock: one that was kept, or NULL; and keep t, unless (false) there are enough. */
struct coir__transfer *coir__lane_take(struct coir__lane *lane);
bool coir__lane_keep(struct coir__transfer *t);

/* With the lock: t->easy, not attached, shall be done, once more perhaps. */
void coir__lane_start(struct coir__transfer *t);
/* With the lock: t, which has paused, goes on. */
void coir__lane_go_on(struct coir__transfer *t);
/* With the lock: wait until something of t changes. 0; -1 with errno ETIMEDOUT, ECANCELED; or there
 * is no driver for it, and why. Parks. */
int coir__lane_wait(struct coir__transfer *t);
/* With the lock: have fn(t, arg) called by who has curl's calls: the driver, or, when t is not
 * attached, the caller. Parks; neither cancel nor deadline end that. */
void coir__lane_look(struct coir__transfer *t, void (*fn)(struct coir__transfer *t, void *arg),
                     void *arg);
/* With the lock: t is not, or no longer, attached when this returns. Parks; neither cancel nor
 * deadline end that. */
void coir__lane_withdraw(struct coir__transfer *t);

/* t->easy is t's, and its sockets are closed by coir. */
void coir__lane_adopt(struct coir__transfer *t);

#endif
