#!/usr/bin/env python3
"""run.py - drive the samples as a user would, and check what they say and do.
SPDX-License-Identifier: MIT

usage: run.py [WORD]...      only tests whose name contains one of the words
BUILD (environment) is the directory with the programs, absolute or below the repository's root;
default build.

Prints "ok NAME", "skip NAME: why" or "FAIL NAME: why" for each test, and "N passed, N failed" at
last. Exit status 0 when none failed."""

import os
import signal
import sys
import threading
import time
import traceback

sys.dont_write_bytecode = True

import kit
import test_answers
import test_chat
import test_demo
import test_fetch
import test_proxy
import test_scenes
import test_server
import test_small
import test_super
import test_tools
import test_web


def run_one(test):
    start = time.monotonic()
    try:
        test()
        verdict = "ok"
    except kit.Skip as why:
        verdict = f"skip: {why}"
    except AssertionError as why:
        verdict = f"FAIL: {why}"
    except Exception:
        verdict = "FAIL: " + traceback.format_exc(limit=3).strip().replace("\n", " | ")
    try:
        kit.undo_all()
    except AssertionError as why:
        verdict = f"FAIL: {why}"
    return verdict, time.monotonic() - start


def main(words):
    sys.stdout.reconfigure(line_buffering=True)
    # A job in the background has this ignored, and would hand that on to the samples.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    missing = [name for name in kit.PROGRAMS if not os.access(kit.program(name), os.X_OK)]
    if missing:
        print(f"FAIL programs: not built in {kit.BUILD}: {', '.join(missing)}\n0 passed, 1 failed")
        return 1
    passed = failed = 0
    for module in (test_small, test_scenes, test_server, test_fetch, test_answers, test_chat,
                   test_proxy, test_web, test_tools, test_super, test_demo):
        for key, test in list(vars(module).items()):
            name = f"{module.__name__[5:]}.{key[5:]}"
            if not key.startswith("test_") or (words and not any(word in name for word in words)):
                continue
            verdict, seconds = run_one(test)
            kind, _, why = verdict.partition(": ")
            if kind == "ok":
                passed += 1
                print(f"ok {name} ({seconds:.1f} s)")
            elif kind == "skip":
                print(f"skip {name}: {why}")
            else:
                failed += 1
                print(f"FAIL {name}: {why}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    threading.excepthook = lambda _: None
    sys.exit(main(sys.argv[1:]))
