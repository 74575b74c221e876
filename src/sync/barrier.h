/* sync/barrier.h - a number of parties that wait for each other: coir_barrier.
 * SPDX-License-Identifier: MIT
 *
 * Word      COIR__WORD_BUSY or nothing.
 * Round     whoever finds enough others waiting ends the round: it takes them off the list and
 *           releases them. The next round has the list for itself at once. */
#ifndef COIR_SYNC_BARRIER_H
#define COIR_SYNC_BARRIER_H

#include "waitq.h"

struct coir__barrier {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters; /* with the word; no more than parties - 1 that still wait */
    uint32_t parties;                 /* constant */
    uint32_t arrived;                 /* how many are on the list */
    uint64_t reserved;
};

/* 1 for who comes last, 0 for the others, -ETIMEDOUT, -ECANCELED. */
COIR_HIDDEN int coir__barrier_wait(struct coir__barrier *b, int64_t deadline_ns);

#endif
