/* api/key.c - keys of coir/sync.h: values that each fiber, and each plain thread, has for itself.
 * SPDX-License-Identifier: MIT
 *
 * A key is a slot's number and, above it, the slot's generation. A value is kept with its whole
 * key, in a table indexed by the slot's number, and counts only while the slot has that key: so
 * deleting a key touches no table, and its values are not those of the slot's next key.
 * Tables    are their fiber's, or thread's, own; they begin with the first value. A fiber that has
 *           none pays one look at its record when it ends. */
#include "edge.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MAX = 1024, TABLE_MIN = 8, ROUNDS = 4 };

/* Changed under the lock, read by anyone. */
static struct slot {
    _Atomic uint32_t key; /* 0: free */
    uint32_t generation;  /* of its latest key; under the lock */
    void (*_Atomic destructor)(void *);
} slots[KEYS_MAX];

static struct {
    _Atomic int32_t lock;
    uint32_t next; /* where the search for a free slot begins: an old one's turn comes late */
} keys;

struct coir__values {
    uint32_t len;
    struct {
        coir_key key;
        void *value;
    } of[];
};

/* Is it a key? Its slot then; else NULL. */
static struct slot *slot_of(coir_key key)
{
    struct slot *slot = &slots[key % KEYS_MAX];
    return key && atomic_load_explicit(&slot->key, memory_order_acquire) == key ? slot : NULL;
}

static bool claim_slot(uint32_t index, coir_key *key, void (*destructor)(void *))
{
    const uint32_t generations = UINT32_MAX / KEYS_MAX + 1;
    struct slot *slot = &slots[index];
    if (atomic_load_explicit(&slot->key, memory_order_relaxed))
        return false;
    slot->generation = (slot->generation + 1) % generations;
    slot->generation += !slot->generation;
    *key = slot->generation * KEYS_MAX + index;
    atomic_store(&slot->destructor, destructor); /* pairs with destructor_of() */
    atomic_store(&slot->key, *key);
    return true;
}

static int create(coir_key *key, void (*destructor)(void *))
{
    int err = -EAGAIN;
    coir__sleep_lock(&keys.lock);
    for (uint32_t i = 0; i < KEYS_MAX && err; i++) {
        uint32_t index = (keys.next + i) % KEYS_MAX;
        if (claim_slot(index, key, destructor)) {
            keys.next = index + 1;
            err = 0;
        }
    }
    coir__sleep_unlock(&keys.lock);
    return err;
}

int coir_key_create(coir_key *key, void (*destructor)(void *value))
{
    return (int)coir__edge(create(key, destructor));
}

int coir_key_delete(coir_key key)
{
    uint32_t word = key;
    bool is_one = key && atomic_compare_exchange_strong(&slots[key % KEYS_MAX].key, &word, 0);
    return (int)coir__edge(is_one ? 0 : -EINVAL);
}

/* NULL: none, or the key is no more. */
static void (*destructor_of(coir_key key))(void *)
{
    struct slot *slot = slot_of(key);
    void (*destructor)(void *) = slot ? atomic_load(&slot->destructor) : NULL;
    return slot && atomic_load(&slot->key) == key ? destructor : NULL;
}

static void run_destructors(struct coir__values **table)
{
    bool again = true;
    for (int round = 0; round < ROUNDS && again; round++) {
        again = false;
        for (uint32_t i = 0; i < (*table)->len; i++) { /* which destructors may replace */
            void *value = (*table)->of[i].value;
            void (*destructor)(void *) = value ? destructor_of((*table)->of[i].key) : NULL;
            if (destructor) {
                (*table)->of[i].value = NULL;
                destructor(value);
                again = true;
            }
        }
    }
    free(*table);
    *table = NULL;
}

void coir__host_fiber_values_end(struct coir__fiber *f)
{
    run_destructors(&coir__fiber_more(f)->values);
    f->has_values = false;
}

/* Of plain threads: called when one exits that has a table, by pthread_key_create(3). */
static pthread_key_t at_exit;
static bool at_exit_made;

static void thread_exits(void *arg)
{
    struct coir__thread *thread = arg;
    if (thread->values)
        run_destructors(&thread->values);
}

static void make_at_exit(void)
{
    at_exit_made = pthread_key_create(&at_exit, thread_exits) == 0;
}

static int have_exit_told(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_at_exit);
    return at_exit_made && pthread_setspecific(at_exit, &coir__thread) == 0 ? 0 : -ENOMEM;
}

/* Of the calling fiber or plain thread. */
static struct coir__values **table_of(struct coir__fiber *f)
{
    return f ? &coir__fiber_more(f)->values : &coir__thread.values;
}

static int grow(struct coir__values **table, uint32_t index)
{
    uint32_t old_len = *table ? (*table)->len : 0, len = TABLE_MIN;
    while (len <= index)
        len *= 2;
    struct coir__values *values = realloc(*table, sizeof *values + len * sizeof values->of[0]);
    if (!values)
        return -ENOMEM;
    memset(&values->of[old_len], 0, (len - old_len) * sizeof values->of[0]);
    values->len = len;
    *table = values;
    return 0;
}

/* The caller has no room for it yet. */
static int make_room(struct coir__fiber *f, uint32_t index)
{
    struct coir__values **table = table_of(f);
    int err = f || *table ? 0 : have_exit_told();
    if (err == 0)
        err = grow(table, index);
    if (err == 0 && f)
        f->has_values = true;
    return err;
}

static int set(coir_key key, const void *value)
{
    struct coir__fiber *f = coir__fiber_self();
    struct coir__values **table = table_of(f);
    uint32_t index = key % KEYS_MAX;
    if (!slot_of(key))
        return -EINVAL;
    if (!*table || index >= (*table)->len) {
        int err = value ? make_room(f, index) : 0;
        if (err < 0 || !value)
            return err;
    }
    (*table)->of[index].key = key;
    (*table)->of[index].value = (void *)value;
    return 0;
}

int coir_setspecific(coir_key key, const void *value)
{
    return (int)coir__edge(set(key, value));
}

void *coir_getspecific(coir_key key)
{
    struct coir__fiber *f = coir__fiber_self();
    uint32_t index = key % KEYS_MAX;
    const struct coir__values *table = f && !f->has_values ? NULL : *table_of(f);
    bool is_set = table && index < table->len && table->of[index].key == key && slot_of(key);
    return is_set ? table->of[index].value : NULL;
}
