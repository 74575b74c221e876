/* fetch_many/fault.c - why a download failed: a phase, and a cause in words.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <stdarg.h>
#include <string.h>

int fault_set(struct fault *fault, enum phase phase, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fault->phase = phase;
    vsnprintf(fault->cause, sizeof fault->cause, format, args);
    va_end(args);
    return -1;
}

int fault_errno(struct fault *fault, enum phase phase, int err)
{
    if (err == ETIMEDOUT && coir_deadline_passed())
        return fault_set(fault, phase, "the deadline (-t) passed");
    return fault_set(fault, phase, "%s", strerror(err));
}

const char *fault_phase(const struct fault *fault)
{
    static const char *const names[] = {
        [PHASE_URL] = "cannot fetch this URL",
        [PHASE_CONNECT] = "could not connect",
        [PHASE_SEND] = "could not send the request",
        [PHASE_HEADER] = "could not read the answer's header",
        [PHASE_STATUS] = "the server answered",
        [PHASE_BODY] = "could not read the body",
        [PHASE_STORE] = "could not store the body",
    };
    return names[fault->phase];
}

void text_clean(char *out, size_t cap, const char *text)
{
    size_t i = 0;
    for (; text[i] && i + 1 < cap; i++)
        out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    out[i] = 0;
}
