/* api/backtrace.c - walks of stacks.
 * SPDX-License-Identifier: MIT */
#include "backtrace.h"

#include "sched/park.h"
#include "sched/stack.h"

#include <unwind.h>

bool coir__on_stack(struct coir__fiber *f, uintptr_t address)
{
    struct coir__stack *s = f->stack;
    return address >= (uintptr_t)coir__stack_low(s) && address < (uintptr_t)(s + 1);
}

struct walk {
    struct coir__backtrace *bt;
    struct coir__fiber *fiber; /* whose stack is looked at; NULL: what was interrupted */
    bool arrived;              /* at its first frame */
};

/* Is it the first frame that is not ours? */
static bool begins(struct walk *walk, struct _Unwind_Context *frame, bool interrupted)
{
    return walk->fiber ? coir__on_stack(walk->fiber, _Unwind_GetCFA(frame)) : interrupted;
}

static _Unwind_Reason_Code note(struct _Unwind_Context *frame, void *arg)
{
    struct walk *walk = arg;
    struct coir__backtrace *bt = walk->bt;
    int interrupted = 0;
    uintptr_t pc = _Unwind_GetIPInfo(frame, &interrupted);
    walk->arrived = walk->arrived || begins(walk, frame, interrupted);
    if (!walk->arrived)
        return _URC_NO_REASON;
    uintptr_t function = _Unwind_GetRegionStart(frame);
    if (!pc || function == (uintptr_t)coir__fiber_main)
        return _URC_NORMAL_STOP;
    if (!bt->len && function == (uintptr_t)coir__park)
        return _URC_NO_REASON;
    if (bt->len == COIR__FRAMES_MAX) {
        bt->cut = true;
        return _URC_NORMAL_STOP;
    }
    bt->pc[bt->len++] = interrupted ? pc : pc - 1;
    return _URC_NO_REASON;
}

static void walk_up(void *walk)
{
    _Unwind_Backtrace(note, walk);
}

void coir__backtrace_of(struct coir__backtrace *bt, struct coir__fiber *f)
{
    struct walk walk = { .bt = bt, .fiber = f };
    bt->len = 0;
    bt->cut = false;
    coir__arch_pose(f->sp, walk_up, &walk);
}

void coir__backtrace_interrupted(struct coir__backtrace *bt)
{
    struct walk walk = { .bt = bt };
    bt->len = 0;
    bt->cut = false;
    walk_up(&walk);
}
