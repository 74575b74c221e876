#!/usr/bin/env python3
"""Does the model find what is wrong? Break the sources in one place each, and look whether it does.
SPDX-License-Identifier: MIT

    tests/model/mutants.py [--all] BUILD COMMAND...
BUILD has the model, built; COMMAND compiles a source of it. Each mutant is a copy of src/ with one
text replaced, which must be there exactly once; what includes it is compiled anew and linked with
the rest, and the cases that watch over that place must fail. Without --all: the quick ones."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

# File, what is there, what the mutant has, the cases that must see it; and whether it is quick.
MUTANTS = {
    "a worker sleeps without a last look": (
        "sched/worker.c", "if (until_ns && must_look(w, phase))", "if (0 && must_look(w, phase))",
        ["mail, from one"], True),
    "no fence between announcing sleep and the last look": (
        "sched/worker.c",
        "atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in coir__worker_k",
        "/* pairs with the one in coir__worker_k", ["mail, from one"], True),
    "a record's lock is revoked without a barrier": (
        "sched/lock.c", "    coir__barrier_everywhere();\n    ident = generation",
        "    ident = generation", ["record's lock, 2 threads"], True),
    "who revokes does not wait for home": (
        "sched/lock.c", "while (home && atomic_load", "while (0 && atomic_load",
        ["record's lock, 2 threads"], False),
    "an object's lock is revoked without a barrier": (
        "sched/bias.c", "        coir__barrier_everywhere();\n", "", ["bias, 2 threads"], False),
    "a thief asks without a barrier": (
        "sched/steal.c", "        coir__barrier_everywhere(); /* pairs with the fence in",
        "        {} /* pairs with the fence in", ["steal, pops", "steal, pushes"], False),
    "a thief takes a hole for a fiber": (
        "sched/freshq.c", "if (f != &w->loop)", "if (1)", ["steal, levels"], True),
    "a level's places do not count from the head on": (
        "sched/freshq.c", "return place - head > in_ring ? head : place;",
        "return in_ring + head == 0 ? head : place;", ["steal, levels"], True),
    "a fiber with mail changes its home": (
        "sched/steal.c", "bool free = !atomic_load", "bool free = true || !atomic_load",
        ["steal, cancel"], False),
    "a watcher that is appointed too late sleeps on": (
        "sched/steal.c", "return !w->steal.looks && !w->starved;", "return false;",
        ["steal, whole workers"], True),
    "the next owner is woken before the mutex is let go": (
        "sync/mutex.c",
        "    coir__word_unlock(&m->word, value);\n    if (e)\n        coir__waiter_rel"
        "ease(e->waiter);",
        "    if (e)\n        coir__waiter_release(e->waiter);\n    coir__word_unlock(&m->word, "
        "value);",
        ["mutex, freed by the last", "mutex, 2 threads"], True),
    "a word is let go without a release": (
        "sync/waitq.h", "atomic_store_explicit(word, value, memory_order_release);",
        "atomic_store_explicit(word, value, memory_order_relaxed);", ["semaphore, freed"], False),
    "a claimed thread may go before it is released": (
        "sched/wait.h", "w->fiber ? outcome : outcome | COIR__CLAIMED,", "outcome,",
        ["mutex, 2 threads"], False),
    "any worker claims as if the fiber were at home": (
        "sched/wait.h", "|| coir__fiber_home(w->fiber) != self ||", "||",
        ["claim, by another worker"], False),
    "who gives up stays on the list": (
        "sync/sem.c", "    if (err)\n        coir__wait_leave",
        "    if (0)\n        coir__wait_leave",
        ["claim, waker or timer"], False),
    "who gives up waiting for a scope's children is still woken by them": (
        "sync/scope.c", "    if (err) {", "    if (0) {", ["scope, a deadline"], False),
    "who gives up joining stays the joiner": (
        "sched/spawn.c", "    if (!done)\n        SET(f->joiner, NULL);\n", "",
        ["join, with a deadline"], False),
    "mail that comes while mail is handled is forgotten": (
        "sched/spawn.c", "handle_mail(w, f, why & ~(uint32_t)seen);",
        "seen ? (void)0 : handle_mail(w, f, why);", ["claim, waker or cancel", "cancel, "], False),
    "a deadline takes a reserved place in a barrier": (
        "sync/barrier.c", "           word == RESERVED) {", "           0) {",
        ["barrier, 3 who give up"], False),
    "a signal is lost when the list looks empty too early": (
        "sync/cond.c", "    me.wait.value = COIR__COND_WAITERS;", "    me.wait.value = 0;",
        ["condition"], False),
}


def objects_to_compile(build, path):
    """The sources whose objects depend on it, by the compiler's own list."""
    found = []
    for folder, _, names in os.walk(f"{build}/in"):
        for name in names:
            if name.endswith(".d"):
                source = os.path.relpath(f"{folder}/{name[:-2]}", f"{build}/in")
                with open(f"{folder}/{name}") as file:
                    if re.search(rf"(^|\s)src/{re.escape(path)}(\s|$)", file.read(), re.M):
                        found.append(source)
    return found


def make(build, command, number, mutant):
    """Its program; None: the text is not there."""
    path, old, new, _, _ = mutant
    folder = f"{build}/mutants/{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("src", f"{folder}/src")
    with open(f"{folder}/src/{path}") as file:
        text = file.read()
    if text.count(old) != 1:
        return None
    with open(f"{folder}/src/{path}", "w") as file:
        file.write(text.replace(old, new))
    mine = [part.replace("-Isrc", f"-I{folder}/src") for part in command]
    rest, own = [], []
    compiled = objects_to_compile(build, path)
    for source in compiled:
        where = f"{folder}/{source}" if source.startswith("src/") else source
        own.append(f"{folder}/{source}.o".replace("/src/", "/obj/src/"))
        os.makedirs(os.path.dirname(own[-1]), exist_ok=True)
        subprocess.run([*mine, "-c", "-o", own[-1], where], check=True)
    for part in ("in", "out"):
        for where, _, names in os.walk(f"{build}/{part}"):
            rest += [f"{where}/{name}" for name in names if name.endswith(".o") and
                     os.path.relpath(f"{where}/{name[:-2]}", f"{build}/{part}") not in compiled]
    program = f"{folder}/model"
    subprocess.run([command[0], "-no-pie", "-o", program, *own, *rest], check=True)
    return program


def try_one(build, command, number, name):
    program = make(build, command, number, MUTANTS[name])
    if not program:
        return f"FAILED: {name}: the text to replace is not in {MUTANTS[name][0]} once"
    only = [part for case in MUTANTS[name][3] for part in ("--only", case)]
    for how in [], ["--larger", "--seconds", "60"]:
        result = subprocess.run([program, "--expect-failure", *how, *only], capture_output=True,
                                text=True, errors="replace")
        seen = re.findall(r"^FAILED: (.*)", result.stdout, re.M)
        if result.returncode == 0 and seen:
            return f"  found  {name}: {seen[0][:100]}"
    return f"FAILED: {name}: not found (exit status {result.returncode})\n{result.stdout[-1000:]}"


def main():
    arguments = sys.argv[1:]
    everything = arguments[0] == "--all"
    build, *command = arguments[everything:]
    names = [name for name in MUTANTS if everything or MUTANTS[name][4]]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(lambda n: try_one(build, command, *n),
                             enumerate(names)):
            failed += line.startswith("FAILED")
            print(line, flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
