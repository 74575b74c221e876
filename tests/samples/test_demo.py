"""test_demo.py - tools/demo.sh, what `make demo` runs.
SPDX-License-Identifier: MIT"""

import os
import signal
import subprocess
import time

from kit import *

DEMO = os.path.join(REPO, "tools", "demo.sh")


def demo(*args, before=None, build=BUILD, engine=None):
    """Run the demo with a temporary directory of our own, which it must leave empty."""
    tmp = directory()
    done = subprocess.run([DEMO, *map(str, args)], capture_output=True, text=True, timeout=60,
                          preexec_fn=before,
                          env={**os.environ, "BUILD": build, "TMPDIR": tmp,
                               **({"COIR_IO": engine} if engine else {})})
    equal(os.listdir(tmp), [], "left behind")
    return Ended(done.returncode, done.stdout, done.stderr, 0)


def wrapped(name, text):
    """A BUILD directory in which one program is a shell script; $REAL is the program."""
    build = directory()
    os.mkdir(f"{build}/samples")
    for other in os.listdir(f"{BUILD}/samples"):
        if other != name:
            os.symlink(program(other), f"{build}/samples/{other}")
    write(f"{build}/samples/{name}", f"#!/bin/sh\nREAL={program(name)}\n{text}\n")
    os.chmod(f"{build}/samples/{name}", 0o755)
    return build


def test_story():
    """A small demo fetches all pages, checks them, and compares times and threads."""
    r = demo(500, 100)
    equal((r.status, r.err), (0, ""), r)
    matches(r"^coir demo: 500 downloads, 100 at a time, on one OS thread$", r.out)
    matches(r"^    500 pages, .*, 0 failed, in \S+ s: \d+ pages/s over 100 connections$", r.out)
    matches(rf"^    100 fibers on 1 worker; OS threads used: {1 + QEMU_THREADS}$", r.out)
    matches(r"^    Every byte is right: .* of all 500 pages agree with cksum\(1\)\.$", r.out)
    matches(r"^    100 pages, \d+ bytes, in 2\.\d\d s: \d+ pages/s over 1 connection$", r.out)
    slow = float(matches(r"^blocking, .*\(projected\) +(\d+\.\d) s +1$", r.out)[1])
    fast = float(matches(rf"^coir, 100 fibers +(\d+\.\d) s +{1 + QEMU_THREADS}$", r.out)[1])
    check(slow >= 10 and fast < 3, "times are", slow, fast)


def test_full_with_few_descriptors():
    """Many fibers work where the soft limit of descriptors is 256; one page works, too."""
    r = demo(1500, 1200, before=limit_files(256, 4096))
    equal((r.status, r.err), (0, ""), r)
    matches(r"^    1200 fibers on 1 worker", r.out)
    equal(demo(1, 1).status, 0)


def test_wrong_byte():
    """One wrong checksum, one missing or one doubled page, and the demo fails."""
    for edit in "1s/^./9/;1s/^99/98/", "7d", "5p", "3s/ [0-9]* / 1 /":
        script = f'"$REAL" "$@" > "$0.out"; sed "{edit}" "$0.out"'
        r = demo(50, 10, build=wrapped("fetch_many", script))
        equal(r.status, 1, f"{edit}: {r}")
        matches("^demo: what came is not what was generated", r.err)


def test_failures():
    """When a program fails, the demo says which, and fails."""
    r = demo(50, 10, build=wrapped("fetch_many", 'echo "no luck" >&2; exit 1'))
    equal(r.status, 1)
    matches("^demo: fetch_many ended with status 1$", r.err)
    check("no luck" in r.out, r)
    equal(demo(50, 10, build=wrapped("blocking_client", "exit 1")).status, 1)
    equal(demo(50, 10, before=refuse_io_uring, engine="auto").status, 0)
    r = demo(50, 10, before=refuse_io_uring, engine="uring")
    equal(r.status, 2, r)
    matches("Function not implemented" if QEMU else "Operation not permitted", r.err)
    matches("^demo: the server did not start$", r.err)
    r = demo(50, 10, build="/nonexistent")
    equal((r.status, r.out), (2, ""), r)
    matches("^demo: no static_server in /nonexistent/samples: run make first$", r.err)
    for args in ("x",), ("0",), ("5", "-1"), ("5", "0"):
        r = demo(*args)
        equal((r.status, r.out), (2, ""), args)
        matches("^demo: usage:", r.err)


def test_interrupted():
    """Ctrl-C and kill leave no files and no server."""
    for number, status in (signal.SIGINT, 130), (signal.SIGTERM, 143):
        tmp = directory()
        child = subprocess.Popen([DEMO, "200", "10"], text=True, start_new_session=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 env={**os.environ, "BUILD": BUILD, "TMPDIR": tmp})
        while not child.stdout.readline().startswith("$ blocking_client"):
            check(child.poll() is None, "it ended by itself")
        time.sleep(0.2)
        os.killpg(child.pid, number)
        equal(child.wait(10), status)
        child.stdout.close()
        equal(os.listdir(tmp), [], "left behind")
        try:
            os.killpg(child.pid, 0)
            raise AssertionError("a process is left behind")
        except ProcessLookupError:
            pass
