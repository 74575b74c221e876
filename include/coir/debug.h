/* coir/debug.h - seeing what a program's fibers do.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_DEBUG_H
#define COIR_DEBUG_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* Write to fd, as text, what every fiber of the process does: its handle, name and worker; whether
 * it runs, is ready, is parked, for how long and for what, and who has it, or has not begun; and a
 * backtrace. First comes a line with their numbers; then, where fibers wait for each other in a
 * ring, a line for each that says so. Each fiber is shown as it was at a moment of its own. A
 * worker that does not come to its loop within 100 ms, since its fiber computes or blocks, is
 * interrupted by SIGURG; if that does not help within 100 ms either, the dump says that it did not
 * answer. coir_dump(3) tells how to read it.
 * Returns  0; -1 with EBADF, what write(2) said, or ENOMEM.
 * Parks    until the workers have answered and all is written; neither cancel nor deadline end
 *          it. */
COIR_API int coir_dump(int fd);

COIR_END_DECLS

#endif
