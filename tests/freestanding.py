#!/usr/bin/env python3
"""The core must run underneath libc: check the object built for that.
SPDX-License-Identifier: MIT

    tests/freestanding.py OBJECT
OBJECT is arch, sched, sync and io linked into one (ld -r). It may leave undefined only what its
host supplies and what the compiler itself calls; and its code may touch neither vector registers,
which belong to the fiber, nor the FS segment, which is the fiber's thread-local storage."""
import re
import subprocess
import sys

ALLOWED = {
    # What a compiler may call on its own.
    "memcpy", "memset", "memmove", "memcmp",
    # sched/host.h: each build brings its own.
    "coir__host_now", "coir__host_now_roughly", "coir__host_page_bytes", "coir__host_errno",
    "coir__host_thread_start", "coir__host_thread_join", "coir__host_thread_detach",
    "coir__host_interruptible", "coir__host_interrupt",
    "coir__host_worker_enter", "coir__host_worker_leave", "coir__host_unwinder",
    "coir__host_runtime_enter", "coir__host_runtime_leave",
    "coir__host_alone", "coir__host_at_rest", "coir__host_woke",
    "coir__host_thread_deadline", "coir__host_thread_cancelled", "coir__host_thread_id",
    "coir__host_fiber_values_end",
    "coir__host_given_up", "coir__host_starves",
}
# The switch loads the thread pointer of a fiber that owns one by wrfsbase: that is no use of it.
FORBIDDEN = re.compile(r"%[xyz]mm\d|%k[0-7]\b|%st\b|%mm\d|%fs:")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    path = sys.argv[1]
    undefined = {line.split()[-1] for line in output("nm", "-u", path).splitlines() if line.strip()}
    problems = [f"undefined: {name}" for name in sorted(undefined - ALLOWED)]
    unused = {n for n in ALLOWED - undefined if n.startswith("coir__host")}
    problems += [f"allowed, but nobody wants it: {name}" for name in sorted(unused)]
    function, code = "?", output("objdump", "-d", "--no-show-raw-insn", path)
    instructions = 0
    for line in code.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            function = head.group(1)
        elif ":\t" in line:
            instructions += 1
            if FORBIDDEN.search(line):
                problems.append(f"{function}: {line.strip()}")
    if instructions < 1000:
        problems.append(f"only {instructions} instructions: is that the whole core?")
    for problem in problems:
        print(problem)
    print(f"{path}: {instructions} instructions, undefined: {', '.join(sorted(undefined))}")
    print(f"{0 if problems else 1} passed, {len(problems)} failed")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
