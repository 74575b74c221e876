/* fetch/lane.c - see lane.h.
 * SPDX-License-Identifier: MIT */
#include "lane.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LANES = 16,
    USERS_MAX = 256, /* transfers: curl looks at all of a host's connections for each new one */
    IDLE_MAX = 256,  /* connections that are kept; */
    KEPT_MAX = 128,  /* and handles */
    STACK_BYTES = 256 * 1024, /* TLS needs more than a program's fibers may have */
    RETRY_NS = 10 * 1000 * 1000
};
enum { WISH_START = 1, WISH_GO_ON = 2, WISH_WITHDRAW = 4, WISH_LOOK = 8 };
enum { DIRECTIONS = 2 }; /* in, out: bits 1 and 2 as curl has them */

/* A socket of curl's. In the lane's table until it is closed; freed when nothing else has it. */
struct sock {
    struct coir__lane *lane;
    int fd;
    struct watch {
        struct sock *sock;
        int bit;
    } watches[DIRECTIONS];
    /* under the lock: */
    uint8_t wanted, watched; /* CURL_POLL_IN, CURL_POLL_OUT */
    uint8_t happened;        /* CURL_CSELECT_... */
    bool queued, closed;
    struct sock *next; /* queued */
};

struct coir__lane {
    _Atomic int users;
    struct coir__lane
        *_Atomic next; /* of the same threads, for those that this one has no room for */
    coir_mutex lock;
    coir_cond work; /* the driver waits for it */
    bool driven;    /* somebody is the driver */
    struct coir__transfer *wishes, **wishes_end, *attached;
    struct sock *events, **events_end;
    struct coir__transfer *kept;
    int kept_n;
    /* The driver's alone. */
    CURLM *multi;
    int64_t timer_ns, retry_ns;
    struct sock **socks; /* by descriptor */
    int socks_n;
};

static struct coir__lane *_Atomic lanes[LANES];
static coir_mutex lanes_lock = COIR_MUTEX_INIT;

void coir__lane_lock(struct coir__lane *lane)
{
    coir_mutex_lock(&lane->lock);
}

void coir__lane_unlock(struct coir__lane *lane)
{
    coir_mutex_unlock(&lane->lock);
}

static void free_if_unused(struct sock *s)
{
    if (s->closed && !s->watched && !s->queued)
        free(s);
}

static int happened(int revents, int bit)
{
    int mask = revents & (POLLERR | POLLNVAL) ? CURL_CSELECT_ERR : 0;
    if (revents & (POLLIN | POLLHUP | POLLERR) && bit == CURL_POLL_IN)
        mask |= CURL_CSELECT_IN;
    if (revents & (POLLOUT | POLLHUP | POLLERR) && bit == CURL_POLL_OUT)
        mask |= CURL_CSELECT_OUT;
    return mask;
}

/* A fiber: one event, or none when the run ends; the driver decides what then. */
static void *watch(void *arg)
{
    struct watch *me = arg;
    struct sock *s = me->sock;
    struct coir__lane *lane = s->lane;
    struct pollfd p = { .fd = s->fd, .events = me->bit == CURL_POLL_IN ? POLLIN : POLLOUT };
    coir_mutex_lock(&lane->lock);
    bool closed = s->closed; /* before this began; the number may be another's */
    coir_mutex_unlock(&lane->lock);
    int n = closed ? 0 : coir_poll(&p, 1, -1);
    int mask = n > 0 ? happened(p.revents, me->bit) : 0;
    if (n < 0 && errno == EBADF)
        mask = CURL_CSELECT_ERR;
    coir_mutex_lock(&lane->lock);
    s->watched &= (uint8_t)~me->bit;
    s->happened |= (uint8_t)mask;
    if (!s->closed && !s->queued) {
        s->queued = true;
        s->next = NULL;
        *lane->events_end = s;
        lane->events_end = &s->next;
        coir_cond_signal(&lane->work);
    }
    free_if_unused(s);
    coir_mutex_unlock(&lane->lock);
    return NULL;
}

static bool spawn(const char *name, void *(*fn)(void *), void *arg)
{
    const coir_attr attr = { .name = name, .stack_bytes = STACK_BYTES, .flags = COIR_DETACHED };
    return coir_spawn_with(&attr, fn, arg) != NULL;
}

/* With the lock: there is a watcher for all that is wanted of s. */
static void watch_wanted(struct coir__lane *lane, struct sock *s)
{
    for (int i = 0; i < DIRECTIONS; i++) {
        int bit = s->watches[i].bit;
        if (!(s->wanted & bit) || s->watched & bit)
            continue;
        s->watched |= (uint8_t)bit;
        if (spawn("fetch socket", watch, &s->watches[i]))
            continue;
        s->watched &= (uint8_t)~bit;
        lane->retry_ns = coir_after(RETRY_NS);
    }
}

/* The driver's: the place in the table. NULL: no memory. */
static struct sock **place_of(struct coir__lane *lane, int fd)
{
    if (fd >= lane->socks_n) {
        int n = fd + fd / 2 + 64;
        struct sock **socks = realloc(lane->socks, (size_t)n * sizeof *socks);
        if (!socks)
            return NULL;
        memset(socks + lane->socks_n, 0, (size_t)(n - lane->socks_n) * sizeof *socks);
        lane->socks = socks;
        lane->socks_n = n;
    }
    return &lane->socks[fd];
}

static struct sock *sock_of(struct coir__lane *lane, int fd)
{
    struct sock **place = place_of(lane, fd);
    if (!place || *place)
        return place ? *place : NULL;
    struct sock *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->lane = lane;
    s->fd = fd;
    s->watches[0] = (struct watch){ s, CURL_POLL_IN };
    s->watches[1] = (struct watch){ s, CURL_POLL_OUT };
    return *place = s;
}

/* curl's word that it waits for fd. Without memory the transfer is not told of its events, and ends
 * with its deadline: a failure here would end all others. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct coir__lane *lane = arg;
    struct sock *s = sock_of(lane, fd);
    (void)easy, (void)unused;
    if (!s)
        return 0;
    coir_mutex_lock(&lane->lock);
    s->wanted = (uint8_t)(what == CURL_POLL_REMOVE ? 0 : what);
    watch_wanted(lane, s);
    coir_mutex_unlock(&lane->lock);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct coir__lane *lane = arg;
    (void)multi;
    lane->timer_ns = timeout_ms < 0 ? COIR_NEVER : coir_after(timeout_ms * COIR_MS(1));
    return 0;
}

/* curl's sockets are closed by who has its calls, the driver, or takes its place. */
static int on_close(void *arg, curl_socket_t fd)
{
    struct coir__lane *lane = arg;
    struct sock *s = fd < lane->socks_n ? lane->socks[fd] : NULL;
    if (s) {
        lane->socks[fd] = NULL;
        coir_mutex_lock(&lane->lock);
        s->closed = true;
        free_if_unused(s);
        coir_mutex_unlock(&lane->lock);
    }
    return coir_close(fd);
}

static void detach(struct coir__transfer *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        t->lane->attached = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->attached = false;
    coir_cond_broadcast(&t->changed);
}

static void attach(struct coir__transfer *t)
{
    struct coir__lane *lane = t->lane;
    t->attached = true;
    t->over = false;
    t->prev = NULL;
    t->next = lane->attached;
    if (t->next)
        t->next->prev = t;
    lane->attached = t;
}

/* What curl has finished meanwhile. */
static void settle(struct coir__lane *lane)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(lane->multi, &left))) {
        struct coir__transfer *t = NULL;
        CURLcode result = msg->data.result;
        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        curl_multi_remove_handle(lane->multi, t->easy);
        coir_mutex_lock(&lane->lock);
        t->result = result;
        t->over = true;
        detach(t);
        coir_mutex_unlock(&lane->lock);
    }
}

/* The three things that a driver does, with the lock, which it gives up meanwhile. True: it did. */
static bool grant_wish(struct coir__lane *lane)
{
    struct coir__transfer *t = lane->wishes;
    if (!t)
        return false;
    lane->wishes = t->next_wish;
    if (!lane->wishes)
        lane->wishes_end = &lane->wishes;
    unsigned wishes = t->wishes;
    t->wishes = 0;
    if (wishes & WISH_WITHDRAW && !t->attached) {
        coir_cond_broadcast(&t->changed);
        return true;
    }
    bool attached = t->attached;
    if (wishes & WISH_START)
        attach(t);
    t->withdrawn = wishes & WISH_WITHDRAW;
    CURLcode result = CURLE_OK;
    if (wishes & WISH_LOOK && t->look) {
        t->look(t, t->look_arg);
        t->look = NULL;
        coir_cond_broadcast(&t->changed);
    }
    coir_mutex_unlock(&lane->lock);
    if (wishes & WISH_START && curl_multi_add_handle(lane->multi, t->easy))
        result = CURLE_OUT_OF_MEMORY;
    else if (wishes & WISH_GO_ON && attached) /* curl does not end it when that fails */
        result = curl_easy_pause(t->easy, CURLPAUSE_CONT);
    if (wishes & WISH_WITHDRAW && t->paused) /* what it still has curl would never free */
        curl_easy_pause(t->easy, CURLPAUSE_CONT);
    if (result || wishes & WISH_WITHDRAW)
        curl_multi_remove_handle(lane->multi, t->easy);
    settle(lane);
    coir_mutex_lock(&lane->lock);
    if (result) {
        t->result = result;
        t->over = true;
    }
    if (result || wishes & WISH_WITHDRAW)
        detach(t);
    return true;
}

static bool handle_event(struct coir__lane *lane)
{
    struct sock *s = lane->events;
    int running;
    if (!s)
        return false;
    lane->events = s->next;
    if (!lane->events)
        lane->events_end = &lane->events;
    s->queued = false;
    int fd = s->fd, mask = s->happened;
    s->happened = 0;
    if (s->closed) {
        free_if_unused(s);
        return true;
    }
    if (mask && s->wanted) {
        coir_mutex_unlock(&lane->lock);
        curl_multi_socket_action(lane->multi, fd, mask, &running);
        settle(lane);
        s = fd < lane->socks_n ? lane->socks[fd] : NULL; /* may be closed by now */
        coir_mutex_lock(&lane->lock);
    }
    if (s)
        watch_wanted(lane, s);
    return true;
}

static bool handle_timer(struct coir__lane *lane)
{
    int running;
    if (lane->timer_ns == COIR_NEVER || coir_now() < lane->timer_ns)
        return false;
    lane->timer_ns = COIR_NEVER;
    coir_mutex_unlock(&lane->lock);
    curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    settle(lane);
    coir_mutex_lock(&lane->lock);
    return true;
}

/* Some sockets could not be watched for lack of memory. */
static bool watch_again(struct coir__lane *lane)
{
    if (lane->retry_ns == COIR_NEVER || coir_now() < lane->retry_ns)
        return false;
    lane->retry_ns = COIR_NEVER;
    for (int i = 0; i < lane->socks_n; i++)
        if (lane->socks[i])
            watch_wanted(lane, lane->socks[i]);
    return true;
}

static void drive_no_more(struct coir__lane *lane)
{
    lane->driven = false;
    for (struct coir__transfer *t = lane->attached; t; t = t->next)
        coir_cond_broadcast(&t->changed);
    for (struct coir__transfer *t = lane->wishes; t; t = t->next_wish)
        coir_cond_broadcast(&t->changed);
}

static void *drive(void *arg)
{
    struct coir__lane *lane = arg;
    coir_mutex_lock(&lane->lock);
    while (lane->attached || lane->wishes) {
        if (grant_wish(lane) || handle_event(lane) || handle_timer(lane) || watch_again(lane))
            continue;
        int64_t until_ns = lane->timer_ns < lane->retry_ns ? lane->timer_ns : lane->retry_ns;
        if (coir_cond_timedwait(&lane->work, &lane->lock, until_ns) < 0 && errno == ECANCELED)
            break;
    }
    drive_no_more(lane);
    coir_mutex_unlock(&lane->lock);
    return NULL;
}

struct coir__transfer *coir__lane_take(struct coir__lane *lane)
{
    struct coir__transfer *t = lane->kept;
    if (t) {
        lane->kept = t->next;
        lane->kept_n--;
    }
    return t;
}

bool coir__lane_keep(struct coir__transfer *t)
{
    struct coir__lane *lane = t->lane;
    if (lane->kept_n >= KEPT_MAX)
        return false;
    t->next = lane->kept;
    lane->kept = t;
    lane->kept_n++;
    return true;
}

static void wish(struct coir__transfer *t, unsigned what)
{
    struct coir__lane *lane = t->lane;
    if (!t->wishes) {
        t->next_wish = NULL;
        *lane->wishes_end = t;
        lane->wishes_end = &t->next_wish;
    }
    t->wishes |= what;
    coir_cond_signal(&lane->work);
}

void coir__lane_start(struct coir__transfer *t)
{
    t->over = false;
    wish(t, WISH_START);
}

void coir__lane_go_on(struct coir__transfer *t)
{
    if (t->attached)
        wish(t, WISH_GO_ON);
}

int coir__lane_wait(struct coir__transfer *t)
{
    struct coir__lane *lane = t->lane;
    if (!lane->driven && (t->attached || t->wishes)) {
        lane->driven = true;
        if (!spawn("fetch driver", drive, lane)) {
            lane->driven = false;
            return -1;
        }
    }
    return coir_cond_wait(&t->changed, &lane->lock);
}

/* Until the driver has seen to it. Who finds no driver is one for a moment. */
static void insist(struct coir__transfer *t, unsigned what)
{
    struct coir__lane *lane = t->lane;
    wish(t, what);
    if (lane->driven) {
        COIR_SHIELD(COIR_NEVER)
            (void)!coir_cond_wait(&t->changed, &lane->lock);
        return;
    }
    lane->driven = true;
    while (t->wishes)
        grant_wish(lane);
    drive_no_more(lane);
}

void coir__lane_withdraw(struct coir__transfer *t)
{
    while (t->attached || t->wishes)
        insist(t, WISH_WITHDRAW);
}

void coir__lane_look(struct coir__transfer *t, void (*fn)(struct coir__transfer *t, void *arg),
                     void *arg)
{
    t->look = fn;
    t->look_arg = arg;
    while (t->look && t->attached)
        insist(t, WISH_LOOK);
    if (t->look) /* it is over; the wish, if there was one, finds nothing to do */
        fn(t, arg);
    t->look = NULL;
}

void coir__lane_adopt(struct coir__transfer *t)
{
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETDATA, t->lane);
}

static struct coir__lane *lane_new(void)
{
    struct coir__lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->multi = curl_multi_init();
    if (!lane->multi) {
        free(lane);
        errno = ENOMEM;
        return NULL;
    }
    lane->wishes_end = &lane->wishes;
    lane->events_end = &lane->events;
    lane->timer_ns = lane->retry_ns = COIR_NEVER;
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    /* By default it is a multiple of the transfers of the moment, which come and go. */
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, IDLE_MAX);
    return lane;
}

/* The lane at place; made, if there is none. NULL: no memory. */
static struct coir__lane *lane_at(struct coir__lane *_Atomic *place)
{
    struct coir__lane *lane = atomic_load_explicit(place, memory_order_acquire);
    if (lane)
        return lane;
    coir_mutex_lock(&lanes_lock);
    lane = atomic_load_explicit(place, memory_order_relaxed);
    if (!lane && (lane = lane_new()))
        atomic_store_explicit(place, lane, memory_order_release);
    coir_mutex_unlock(&lanes_lock);
    return lane;
}

struct coir__lane *coir__lane_enter(void)
{
    uint64_t thread = (uint64_t)pthread_self() * 0x9e3779b97f4a7c15u;
    struct coir__lane *lane = lane_at(&lanes[thread >> 60]);
    while (lane && atomic_fetch_add(&lane->users, 1) >= USERS_MAX) {
        atomic_fetch_sub(&lane->users, 1);
        lane = lane_at(&lane->next);
    }
    return lane;
}

void coir__lane_leave(struct coir__lane *lane)
{
    atomic_fetch_sub(&lane->users, 1);
}
