"""test_scenes.py - the samples of coordination, 05 to 21.
SPDX-License-Identifier: MIT

No upper limit on time is tighter than seconds: the machine may be busy."""

import os

from kit import *


def lines_of(name, *args, status=0, **more):
    r = run(name, *args, **more)
    equal(r.status, status, (name, r))
    return r.out.splitlines()


def test_title():
    """A page's title is printed, or that it has none."""
    lines = lines_of("05_title")
    equal(len(lines), 2, lines)
    matches(r"^The title of http://127\.0\.0\.1:\d+/coconut is coconut$", lines[0])
    matches(r"^http://127\.0\.0\.1:\d+/none has no title$", lines[1])


def test_title_trouble():
    """A page that cannot be had is told with its reason, and status 1."""
    r = run("05_title", "http://127.0.0.1:1/", "ftp://nowhere")
    equal((r.status, r.out), (1, ""), r)
    matches("127.0.0.1:1/: connect: .*Connection refused|127.0.0.1:1/: connect: Failed", r.err)
    matches("ftp://nowhere/?: request: neither http nor https", r.err)


def test_join():
    """Two fibers take turns, and the order is always the same."""
    want = [f"{who}: {i}" for i in range(1, 10) for who in ("first", "second")
            if who == "first" or i <= 4]
    for _ in range(3):
        equal(lines_of("07_join"), want + ["both are done"])


def test_messages():
    """Four words arrive, each in its time, and the receiver ends by itself."""
    r = run("08_messages", 100)
    equal((r.status, r.out.splitlines()),
          (0, [f"received '{word}'" for word in ("hi", "from", "the", "future")]))
    check(r.seconds > 0.35, "too fast", r.seconds)


def test_producers():
    """The words of all senders arrive, each sender's in order; then the channel is closed."""
    lines = lines_of("09_producers")
    equal(lines[-1], "11 words, then the channel was closed")
    words = [line.split("'")[1] for line in lines[:-1]]
    for text in "hi from the future", "more messages for you", "and then some":
        sender = text.split()
        equal([word for word in words if word in sender], sender)


def test_yield():
    """With yields the two take turns; without, the first one starves the second."""
    steps = [f"{who}: step {i}" for i in (1, 2, 3) for who in ("greedy", "patient")]
    equal(lines_of("11_yield"), steps)
    equal(lines_of("11_yield", "no"), sorted(steps))


def test_thread():
    """A thread's numbers reach a fiber, while other fibers of its worker run."""
    equal(lines_of("16_thread"),
          [f"received {i}" for i in range(1, 11)] + ["another fiber ran meanwhile"])


def test_cores():
    """One core has one line of computing; the picture shows waiting beside it."""
    lines = lines_of("17_cores")
    second = next(i for i, line in enumerate(lines) if line.startswith("all cores: "))
    equal([line.split()[0] for line in lines[:second]], ["one", "waiting", "core"])
    threads = [line.split()[0] for line in lines[second:]].count("core")
    check(threads <= len(os.sched_getaffinity(0)), lines)
    check(threads > 1 or len(os.sched_getaffinity(0)) == 1, lines)
    check("#" in lines[1] and "#" in lines[2], lines)


def test_sieve():
    """The primes, in order."""
    equal(lines_of("19_sieve", 12), ["2 3 5 7 11 13 17 19 23 29 31 37"])
    equal(lines_of("19_sieve", 200)[0].split()[-1], "1223")
    equal(run("19_sieve", 0).status, 2)


def test_philosophers():
    """Everyone eats as often as he wants."""
    lines = lines_of("20_philosophers")
    equal(len(lines), 5)
    for line in lines:
        matches("^[A-Z][a-z]+ ate 100 times$", line)


def test_select():
    """Items of both channels, silence told, and the end of both noticed."""
    lines = lines_of("21_select")
    equal([line for line in lines if line.startswith("odd")],
          [f"odd: {i}" for i in (1, 3, 5, 7, 9)])
    equal([line for line in lines if line.startswith("even")],
          [f"even: {i}" for i in (2, 4, 6, 8, 10)])
    check("nothing for 25 ms" in lines, lines)
    equal(lines[-1], "the sum is 55")


def test_race():
    """The faster page wins, and the slower fetch is cancelled: it does not take its two seconds."""
    r = run("06_race")
    equal(r.status, 0, r)
    lines = r.out.splitlines()
    matches(r"^\(http://.*/tortoise\?2000 was cancelled\)$", lines[0])
    matches(r"^http://.*/hare\?50 came first$", lines[1])
    equal(lines[2:], ["its title is hare"])
    check(r.seconds < 1.9, "it waited for the slower one:", r.seconds)


def test_futures():
    """All are awaited together: the results in order of the list, as long as the longest takes."""
    r = run("10_futures", 3, 1, 2)
    equal(r.out.splitlines(), ["1 is done", "2 is done", "3 is done", "3 squared is 9",
                               "1 squared is 1", "2 squared is 4"])
    check(0.28 < r.seconds < 3, r.seconds)
    equal(lines_of("10_futures", *range(1, 5))[-1], "4 squared is 16")


def test_timeout():
    """Race and deadline both end the job at its limit, or let it finish before."""
    lines = lines_of("12_timeout", 5000, 200)
    matches(r"^race: timed out after 0\.[2-9] s$", lines[0])
    matches(r"^deadline: timed out after 0\.[2-9] s$", lines[1])
    lines = lines_of("12_timeout", 100, 5000)
    matches(r"^race: finished after [0-4]\.\d s$", lines[0])
    matches(r"^deadline: finished after [0-4]\.\d s$", lines[1])


def test_waiting():
    """The dump says who waits for what; then all of them get it."""
    text = "\n".join(lines_of("18_waiting"))
    for name in "baker", "first guest", "second guest", "dishwasher":
        matches(name, text)
    matches("future", text)
    matches("join of .*first guest", text)
    matches(r"sleep", text)
    equal(text.splitlines()[-3:], ["first: a loaf", "second: a loaf", "the dishes are done"])


def test_streams():
    """Of 2, 4 ... 20 those divisible by three or five."""
    equal(lines_of("13_streams"), [f"the value is {i}" for i in (6, 10, 12, 18, 20)])


def test_letters():
    """Late letters are told, and come all the same."""
    lines = lines_of("14_letters")
    equal([line for line in lines if line != "late"], [f"letter: {c}" for c in "abcdefghij"])
    check(lines.count("late") >= 5, lines)


def test_merge():
    """Letters and intervals arrive merged, twenty of them, and the endless counter is ended."""
    r = run("15_merge")
    equal((r.status, r.err), (0, "the counter ends\n"), r)
    lines = r.out.splitlines()
    equal((len(lines), lines[-1]), (21, "done"), lines)
    letters = [line[-1] for line in lines if line.startswith("letter ")]
    equal("".join(letters), "abcdefghij"[:len(letters)])
    check(letters and len(letters) < 20, lines)
