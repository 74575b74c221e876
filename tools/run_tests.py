#!/usr/bin/env python3
"""Run test programs, several at a time, and add up what they say.
SPDX-License-Identifier: MIT

Each argument is a command (split at blanks), perhaps after words NAME=VALUE for its environment. A
program passes or fails by cmocka's own words, by a last line "N passed, N failed", or, when it says
neither, by its exit status. One line per program; all of its output when something failed. The last
line of all is "N passed, N failed".
Options: --prefix "COMMAND" runs each program under another (valgrind, qemu); --timeout SECONDS;
--jobs N at a time, otherwise as many as there are CPUs: most of a test's time is waiting."""
import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def verdict(output, status):
    """(passed, failed, skipped) of one program."""
    def total(pattern):
        return sum(int(n) for n in re.findall(pattern, output, re.M))
    plain = re.findall(r"^(\d+) passed, (\d+) failed", output, re.M)
    if plain:
        passed, failed = map(int, plain[-1])
        skipped = 0
    else:
        passed = total(r"^\[  PASSED  \] (\d+) test")
        failed = total(r"^\[  FAILED  \] (\d+) test")
        skipped = total(r"^\[  SKIPPED \] (\d+) test")
    if status != 0 and failed == 0:
        failed = 1
    if status == 0 and passed == failed == skipped == 0:
        passed = 1
    return passed, failed, skipped


running = set()


def kill(process):
    """It and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)


def run(command, prefix, timeout):
    """Its output and exit status; a program that hangs is killed with all it started."""
    words = shlex.split(command)
    environment = dict(os.environ)
    while re.match(r"[A-Z_]+=", words[0]):
        name, value = words.pop(0).split("=", 1)
        environment[name] = value
    try:
        process = subprocess.Popen(prefix + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   env=environment)
    except OSError as error:
        return f"{error}\n", -1
    running.add(process)
    try:
        output, _ = process.communicate(timeout=timeout)
        return output.decode(errors="replace"), process.returncode
    except subprocess.TimeoutExpired:
        kill(process)
        output, _ = process.communicate()
        return output.decode(errors="replace") + f"\nkilled after {timeout} s\n", -1
    finally:
        running.discard(process)


def report(command, prefix, timeout):
    """Run it: its counts, and what to print about it."""
    start = time.monotonic()
    output, status = run(command, prefix, timeout)
    counts = verdict(output, status)
    bad = counts[1] > 0
    skipped = f", {counts[2]} skipped" if counts[2] else ""
    line = (f"  {'FAIL' if bad else 'ok':4} {counts[0]:4} passed{skipped}  "
            f"{time.monotonic() - start:6.1f} s  {command}"
            + (f" (exit status {status})" if bad else ""))
    return counts, f"{output}\n{line}" if bad else line


def main():
    parser = argparse.ArgumentParser(description="run test programs")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("commands", nargs="+")
    options = parser.parse_args()
    prefix = shlex.split(options.prefix)
    sums = [0, 0, 0]
    pool = ThreadPoolExecutor(options.jobs)
    try:
        for counts, text in pool.map(lambda c: report(c, prefix, options.timeout),
                                     options.commands):
            sums = [a + b for a, b in zip(sums, counts)]
            print(text, flush=True)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            kill(process)
        raise
    print(f"{sums[0]} passed, {sums[1]} failed" + (f", {sums[2]} skipped" if sums[2] else ""))
    sys.exit(sums[1] > 0)


if __name__ == "__main__":
    main()
