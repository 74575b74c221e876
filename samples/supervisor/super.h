/* supervisor/super.h - the parts of supervisor, and what each promises the other.
 * SPDX-License-Identifier: MIT
 *
 *   ../supervisor.c  options, the list of commands, signals
 *   child.c   one child: started, waited for, started again, ended
 *   output.c  its lines, with its name before them
 *
 * All fibers run on one worker, so what does not park needs no lock. */
#ifndef SUPER_H
#define SUPER_H

#include <coir.h>

#include <stdbool.h>

#define NAME_BYTES 24

/* Constant once children run. */
struct super {
    unsigned restarts_max; /* so many within window_ns, and one more is one too many */
    int64_t window_ns, pause_ns, pause_max_ns, grace_ns;
    bool once;      /* who ends with status 0 is not started again */
    int name_width; /* of the longest name */
};
extern struct super super;

struct child {
    char name[NAME_BYTES];
    char *line;        /* its command, split */
    char **words;      /* ... into these, NULL behind the last */
    pid_t pid;         /* 0: it does not run, or has ended */
    int64_t *restarts; /* when; a ring of restarts_max */
    size_t count;      /* of restarts ever */
    bool given_up;
};

/* child.c: the function of a child's fiber. It returns when the child is not to be started again,
 * or after ending it when it is cancelled. Parks. */
int child_keep(void *child);
/* End it at once. Never parks. */
void child_kill(const struct child *child);

/* output.c */
struct output {
    const char *name;
    int fd;
};

/* A fiber's function: copy lines from output->fd to stdout, until its end or a cancel. */
void *output_copy(void *output);

/* One line on stderr, after the program's name. Also after a cancel; one that cannot be written
 * within a second is lost. Parks. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
