"""bench/rows.py - what bench/run.py measures, who takes part, and what coir is to reach.
SPDX-License-Identifier: MIT
"""
import statistics

MILLION = 1000000


class Cell:
    """One row of one argument and one number of workers: who takes part and with which N.
    beside: whom all are compared with, and by which of their figures.
    runs: of each who took part, what it said in each round."""

    def __init__(self, group, name, unit, row, counts, *, workers=1, bytes_each=None,
                 beside=("go", "boost"), beside_key="ns"):
        self.group, self.name, self.unit, self.row = group, name, unit, row
        self.counts = counts
        self.workers = workers
        self.bytes_each = bytes_each or {}
        self.beside, self.beside_key = beside, beside_key
        self.runs = {}

    def shrink(self):
        """For --quick: a tenth of whatever is large."""
        self.counts = {who: n // 10 if n >= 100000 else n for who, n in self.counts.items()}

    def good(self, who):
        return [r for r in self.runs.get(who, []) if "error" not in r]

    def values(self, who, key="ns"):
        return [r[key] for r in self.good(who) if key in r]

    def broken(self):
        """Did coir fail, other than by being left out?"""
        return any(not r.get("error", "left out").startswith("left out")
                   for r in self.runs.get("coir", []))


def ratio(a, who_a, b, who_b, key="ns"):
    """Median over the rounds of a/b, of those rounds in which both were measured."""
    pairs = zip(a.runs.get(who_a, []), b.runs.get(who_b, []))
    both = [x[key] / y[key] for x, y in pairs if key in x and y.get(key)]
    return statistics.median(both) if both else None


def single_cells():
    """Rows of one worker."""
    cells = [Cell("switch", f"switch {c}", "ns per switch", c, {"switch": 2000})
             for c in ("d0s1", "d0s2", "d1s1", "d1s2", "d3s1", "d3s2")]
    for n in (1, 100, 1000, 10000):
        who = ("coir", "go", "boost", "tokio") + (("pthread",) if n <= 1000 else ())
        cells.append(Cell("yield", f"yield {n}", f"{n} fibers, ns per yield", "yield",
                          dict.fromkeys(who, n)))
    cells.append(Cell("parked", "parked", "all have run and are parked, bytes per fiber", "parked",
                      {"coir": MILLION, "go": MILLION, "boost": 100000, "tokio": MILLION,
                       "pthread": 10000},
                      bytes_each={"coir": 5000, "go": 2900, "boost": 10000, "tokio": 400,
                                  "pthread": 40000}, beside_key="bytes"))
    for n in (1, 2):
        cells.append(Cell("idle", f"idle {n}", f"{n} worker{'s' * (n > 1)}, in 3 s", "idle",
                          {"coir": n}))
    return cells


def spawn_cells(workers):
    """Boost's fibers touch a stack each, so a tenth of them already tells."""
    more, suffix = (workers > 1), f" w{workers}" if workers > 1 else ""
    each = {"coir": MILLION, "go": MILLION, "tokio": MILLION}
    return [Cell("spawn_waves", "spawn_waves" + suffix, "waves of 10 000, ns per spawn and join",
                 "spawn_waves", each if more else {**each, "boost": MILLION, "pthread": 50000},
                 workers=workers),
            Cell("spawn_once", "spawn_once" + suffix, "all spawned, then joined, ns per fiber",
                 "spawn_once", each if more else {**each, "boost": 100000}, workers=workers,
                 bytes_each={"coir": 200, "go": 700, "boost": 10000, "tokio": 200})]


def coordination_cells(workers):
    """Boost's threads steal each other's fibers back and forth, so it does less of them."""
    few = MILLION // 10

    def cell(row, unit, coir, go, boost, tokio):
        counts = {"coir": coir, "go": go, "boost": boost, "tokio": tokio}
        return Cell(row, f"{row} w{workers}", unit, row, {w: n for w, n in counts.items() if n},
                    workers=workers, bytes_each={"coir": 600, "go": 300, "boost": 10000,
                                                 "tokio": 300} if row == "skynet" else None)

    one = workers == 1
    return [
        cell("chan_pingpong", "2 unbuffered channels, ns per round trip", 2 * MILLION, MILLION,
             MILLION if one else few, MILLION),
        cell("chan_unbuf", "unbuffered channel, ns per message", 4 * MILLION, 2 * MILLION,
             MILLION if one else few, MILLION),
        cell("chan_buf128", "channel of 128, ns per message", 10 * MILLION, 10 * MILLION,
             10 * MILLION if one else MILLION, 4 * MILLION),
        cell("mutex", "1000 fibers lock, count, yield, unlock; ns per lock", 1000, 1000, 1000,
             1000),
        cell("skynet", "spawn 10, sum what they deliver, ns per leaf", MILLION, MILLION,
             few if one else 0, MILLION),
    ]


def file_cells():
    """From the page cache the time counts; from the disk, which sets that, the CPU's."""
    cells = []
    for row, unit, by in (("file_cached", "from the page cache", "ns"),
                          ("file_direct", "with O_DIRECT", "cpu_ns")):
        for n in (1, 32, 128):
            who = ("coir", "pread", "fio") + (("fio_batch",) if n > 1 else ()) + ("go",)
            cells.append(Cell("file", f"{row} {n}", f"{n} reads of 4 KiB {unit}, ns per read", row,
                              dict.fromkeys(who, n), beside=("pread", "fio", "go"),
                              beside_key=by))
    return cells


def make_cells():
    cells = single_cells()
    by_workers = [spawn_cells(n) + coordination_cells(n) for n in (1, 2)]
    for pair in zip(*by_workers):
        cells.extend(pair)
    for row, shape in (("forkjoin", "halved"), ("forkjoin_flat", "spawned one by one")):
        cells.append(Cell(row, row, f"2000 pieces of 200 us on 2 CPUs, {shape}, ns per piece", row,
                          {"coir": 2000}, workers=2))
    for workers in (1, 2):
        cells.append(Cell("accept", f"accept w{workers}", "1000 connections, ns per request",
                          "accept", {"coir": 1000, "go": 1000}, workers=workers))
    for row, engine, more in (("echo", "io_uring", ("go", "asio", "uv", "tokio")),
                              ("echo_epoll", "epoll", ())):
        cells.extend(Cell(row, f"{row} {n}", f"{n} connections on {engine}, ns per request", row,
                          dict.fromkeys(("coir", "raw", *more), n), beside=("raw", "go"),
                          beside_key="cpu_ns") for n in (1, 50, 1000, 10000))
    return cells + file_cells() + fetch_cells()


STREAM_MIB = 4096


def fetch_cells():
    return [
        Cell("fetch", "fetch 100", "100 at a time from nginx, ns per fetch", "fetch",
             {"coir": 100, "curl": 100, "go": 100}, beside=("curl", "go"), beside_key="cpu_ns"),
        Cell("fetch", "fetch_delay", "10 000 at once, each held back for 2 s, ns per fetch",
             "fetch_delay", {"coir": 10000}),
        Cell("fetch", "fetch_stream", "one body of 4 GiB, ns per MiB", "fetch_stream",
             {"coir": STREAM_MIB}),
    ]


class Target:
    """A figure of a cell's, and the limit that it keeps to: at most, or at least (sign)."""

    def __init__(self, cell, text, value, limit, sign="<="):
        self.cell, self.text, self.value = cell, text, value
        self.limit, self.sign = limit, sign
        self.needs = (cell,)

    def judge(self, cells):
        """None when its cells are not among those measured."""
        by_name = {c.name: c for c in cells}
        if any(name not in by_name for name in self.needs):
            return None
        used = [by_name[name] for name in self.needs]
        value = self.value(*used)
        if any(c.broken() for c in used):
            verdict = "MISS"
        elif value is None:
            verdict = "left out"
        else:
            kept = value <= self.limit if self.sign == "<=" else value >= self.limit
            verdict = "PASS" if kept else "MISS"
        return {"cell": self.cell, "text": self.text, "value": value, "sign": self.sign,
                "limit": self.limit, "verdict": verdict}


def against(cell, text, peer, limit):
    """coir's ns / the peer's."""
    name = {"go": "Go", "boost": "Boost"}[peer]
    return Target(cell, f"{text}, coir / {name}", lambda c: ratio(c, "coir", c, peer), limit)


def worst(cell, text, figure, limit):
    """A figure of one run of coir's, of which the largest counts."""
    return Target(cell, text,
                  lambda c: max((figure(r) for r in c.good("coir")), default=None), limit)


def itself(cell, other, text, limit, sign="<="):
    """coir's ns / coir's own in another cell."""
    target = Target(cell, text, lambda a, b: ratio(a, "coir", b, "coir"), limit, sign)
    target.needs = (cell, other)
    return target


def coordination_targets():
    targets = []
    rows = (("spawn_waves", "spawn_waves", "spawn in waves", None, 0.45),
            ("spawn_once", "spawn_once", "spawn at once", None, 0.45),
            ("chan_pingpong", "chan_pingpong w1", "ping-pong", 0.17, 0.35),
            ("chan_unbuf", "chan_unbuf w1", "unbuffered channel", 0.19, 0.5),
            ("chan_buf128", "chan_buf128 w1", "channel of 128", 0.3, None),
            ("mutex", "mutex w1", "mutex", 0.25, 0.45),
            ("skynet", "skynet w1", "skynet", 0.2, 0.2))
    for row, one, text, limit, limit_w2 in rows:
        two = f"{row} w2"
        if limit:
            targets.append(against(one, text, "go", limit))
        if row == "chan_buf128":
            targets.append(against(one, text, "boost", 0.5))
        if limit_w2:
            targets.append(against(two, f"{text}, 2 workers", "go", limit_w2))
        targets.append(itself(two, one, f"{text}, 2 workers / 1", 1.25))
    return targets


def echo_targets():
    def cpu(cell, limit):
        n = cell.split()[1]
        return Target(cell, f"{cell.split()[0]}, {n} connections, CPU, coir / raw",
                      lambda c: ratio(c, "coir", c, "raw", "cpu_ns"), limit)

    return [
        cpu("echo 50", 1.1), cpu("echo 1000", 1.1), cpu("echo 10000", 1.15),
        cpu("echo_epoll 50", 1.1), cpu("echo_epoll 1000", 1.1), cpu("echo_epoll 10000", 1.15),
        Target("echo 1", "echo, 1 connection, p50, coir / Go",
               lambda c: ratio(c, "coir", c, "go", "p50_ns"), 0.5),
    ]


def file_targets():
    return [
        Target("file_cached 1", "cached read, one at a time, coir / pread",
               lambda c: ratio(c, "coir", c, "pread"), 1.08),
        Target("file_direct 128", "O_DIRECT, 128 at a time, CPU, coir / fio",
               lambda c: ratio(c, "coir", c, "fio", "cpu_ns"), 0.8),
    ]


def fetch_targets():
    return [
        Target("fetch 100", "fetch, 100 at a time, CPU, coir / curl by hand",
               lambda c: ratio(c, "coir", c, "curl", "cpu_ns"), 1.1),
        worst("fetch_delay", "10 000 fetches of 2 s, seconds in all",
              lambda r: r["ns"] * r["ops"] / 1e9, 4),
        worst("fetch_delay", "10 000 fetches of 2 s, KiB each", lambda r: r["kb_each"], 100),
        worst("fetch_stream", "a body of 4 GiB, MiB in all", lambda r: r["peak_kb"] / 1024, 16),
    ]


def make_targets():
    def faster_threads(c):
        return ratio(c, "pthread", c, "coir")

    return [
        against("switch d0s1", "switch at depth 0", "boost", 0.9),
        against("switch d1s1", "switch at depth 1", "boost", 0.35),
        against("yield 1000", "yield, 1000 fibers", "go", 0.17),
        against("spawn_waves", "spawn and join in waves of 10 000", "go", 0.06),
        against("spawn_once", "spawn at once", "go", 0.06),
        worst("spawn_once", "spawn at once, peak MB", lambda r: r["peak_kb"] * 1024 / 1e6, 150),
        worst("parked", "parked, resident bytes per fiber", lambda r: r["bytes"], 4300),
        worst("parked", "parked, with page tables", lambda r: r["bytes_all"], 4900),
        worst("parked", "parked, memory maps", lambda r: r["maps"], 999),
        worst("idle 1", "idle, wake-ups in 3 s", lambda r: r["switches"], 0),
        worst("idle 1", "idle, CPU ns in 3 s", lambda r: r["cpu_ns"], 0),
        worst("idle 2", "idle with 2 workers, wake-ups in 3 s", lambda r: r["switches"], 0),
        *coordination_targets(),
        Target("forkjoin", "fork-join, threads' time / coir", faster_threads, 0.97, ">="),
        Target("forkjoin_flat", "fork-join, flat, threads' time / coir", faster_threads, 0.97,
               ">="),
        itself("accept w1", "accept w2", "accept, throughput of 2 workers / 1", 1.6, ">="),
        worst("accept w2", "accept, the busiest worker's connections", lambda r: r["share"], 0.6),
        *echo_targets(),
        *file_targets(),
        *fetch_targets(),
    ]
