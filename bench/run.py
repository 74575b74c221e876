#!/usr/bin/env python3
"""bench/run.py - measure coir and its peers side by side.   Try: make bench
SPDX-License-Identifier: MIT

Builds nothing: `make bench` does, then starts this. A round runs every competitor of every cell
once, each in a process of its own pinned to one CPU, in an order that rotates from round to round.
Ratios are taken within a round, then their median: a machine's speed drifts by more than what is
compared here. bench/README.md says how to read the result.
"""
import argparse
import ctypes
import errno
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT_S = 180
# What must stay free beside a run, in MB.
MEMORY_MARGIN_MB = 1024
YARDSTICKS = ("go", "boost")

PROGRAMS = {
    "coir": "coir_bench",
    "switch": "switch",
    "go": "go",
    "boost": "boost_fiber",
    "tokio": "tokio",
    "pthread": "pthread",
}


class Cell:
    """One row of one argument: who takes part and with which N."""

    def __init__(self, group, name, unit, row, counts, bytes_each=None):
        self.group, self.name, self.unit, self.row = group, name, unit, row
        self.counts = counts
        self.bytes_each = bytes_each or {}
        self.runs = {}

    def shrink(self):
        """For --quick: a tenth of whatever is large."""
        self.counts = {who: n // 10 if n >= 100000 else n for who, n in self.counts.items()}


def make_cells():
    cells = [Cell("switch", f"switch {c}", "ns per switch", c, {"switch": 2000})
             for c in ("d0s1", "d0s2", "d1s1", "d1s2", "d3s1", "d3s2")]
    for n in (1, 100, 1000, 10000):
        who = ("coir", "go", "boost", "tokio") + (("pthread",) if n <= 1000 else ())
        cells.append(Cell("yield", f"yield {n}", f"{n} fibers, ns per yield", "yield",
                          dict.fromkeys(who, n)))
    million = 1000000
    cells.append(Cell("spawn_waves", "spawn_waves", "waves of 10 000, ns per spawn and join",
                      "spawn_waves", {"coir": million, "go": million, "boost": million,
                                      "tokio": million, "pthread": 50000}))
    # Boost's fibers touch a stack each, so a tenth of them already tells.
    cells.append(Cell("spawn_once", "spawn_once", "all spawned, then joined, ns per fiber",
                      "spawn_once", {"coir": million, "go": million, "boost": 100000,
                                     "tokio": million},
                      {"coir": 200, "go": 700, "boost": 10000, "tokio": 200}))
    cells.append(Cell("parked", "parked", "all have run and are parked, bytes per fiber", "parked",
                      {"coir": million, "go": million, "boost": 100000, "tokio": million,
                       "pthread": 10000},
                      {"coir": 5000, "go": 2900, "boost": 10000, "tokio": 400,
                       "pthread": 40000}))
    for n in (1, 2):
        cells.append(Cell("idle", f"idle {n}", f"{n} worker{'s' * (n > 1)}, in 3 s", "idle",
                          {"coir": n}))
    return cells


def make_targets():
    """(cell, text, how, limit). how: a peer's name for the ratio coir/peer in ns, else a function
    of one run of coir's, whose worst round counts."""
    return [
        ("switch d0s1", "switch at depth 0, coir / Boost", "boost", 0.9),
        ("switch d1s1", "switch at depth 1, coir / Boost", "boost", 0.35),
        ("yield 1000", "yield, 1000 fibers, coir / Go", "go", 0.17),
        ("spawn_waves", "spawn and join in waves of 10 000, coir / Go", "go", 0.06),
        ("spawn_once", "spawn at once, coir / Go", "go", 0.06),
        ("spawn_once", "spawn at once, peak MB", lambda r: r["peak_kb"] * 1024 / 1e6, 150),
        ("parked", "parked, resident bytes per fiber", lambda r: r["bytes"], 4300),
        ("parked", "parked, with page tables", lambda r: r["bytes_all"], 4900),
        ("parked", "parked, memory maps", lambda r: r["maps"], 999),
        ("idle 1", "idle, wake-ups in 3 s", lambda r: r["switches"], 0),
        ("idle 1", "idle, CPU ns in 3 s", lambda r: r["cpu_ns"], 0),
        ("idle 2", "idle with 2 workers, wake-ups in 3 s", lambda r: r["switches"], 0),
    ]


def read(path, default="unknown"):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return default


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout.strip().split("\n")[0] or "unknown"
    except (OSError, subprocess.TimeoutExpired):
        return "none"


def io_uring_state():
    """io_uring_setup(0, NULL) fails in any case; how, tells whether it could succeed."""
    nr = 425
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(nr, 0, 0)
    err = ctypes.get_errno()
    if err in (errno.ENOSYS, errno.EPERM):
        return f"refused ({errno.errorcode[err]})"
    return "yes"


def machine():
    cpuinfo = read("/proc/cpuinfo", "").split("\n")
    model = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    thp = read("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": model[0] if model else platform.machine(),
        "cpus": os.cpu_count(),
        "memory_mb": meminfo_mb("MemTotal"),
        "kernel": platform.release(),
        "thp": thp[thp.find("[") + 1:thp.find("]")] if "[" in thp else thp,
        "max_map_count": read("/proc/sys/vm/max_map_count"),
        "overcommit_memory": read("/proc/sys/vm/overcommit_memory"),
        "io_uring": io_uring_state(),
        "loadavg": os.getloadavg()[0],
    }


def meminfo_mb(key):
    for line in read("/proc/meminfo", "").split("\n"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) // 1024
    return 0


def versions(programs):
    found = {}
    for who, path in programs.items():
        if who not in ("switch", "pthread"):
            result = run_once(path, "version", 1, None)
            found[who] = result.get("version", result.get("error"))
    if "tokio" in programs:
        found["rustc"] = output_of("rustc", "--version")
    return found


def run_once(path, row, n, cpu):
    """One run: what the program said, or {"error": why}. nivcsw: how often it lost its CPU."""
    pin = None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_nivcsw
    try:
        done = subprocess.run([path, row, str(n)], capture_output=True, text=True, check=False,
                              timeout=TIMEOUT_S, preexec_fn=pin)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {TIMEOUT_S} s"}
    except OSError as e:
        return {"error": str(e)}
    if done.returncode != 0:
        said = done.stderr.strip().split("\n")[-1]
        return {"error": f"exit status {done.returncode}: {said}"}
    try:
        result = json.loads(done.stdout)
    except ValueError:
        return {"error": f"no JSON: {done.stdout[:80]!r}"}
    if row == "parked":
        result["bytes"] = result["rss_kb"] * 1024 / result["ops"]
        result["bytes_all"] = (result["rss_kb"] + result["pte_kb"]) * 1024 / result["ops"]
    result["nivcsw"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_nivcsw - before
    return result


def measure(cell, who, path, cpu):
    need_mb = cell.bytes_each.get(who, 0) * cell.counts[who] // 1000000
    if need_mb and meminfo_mb("MemAvailable") < need_mb + MEMORY_MARGIN_MB:
        result = {"error": f"left out: needs {need_mb} MB and {MEMORY_MARGIN_MB} to spare"}
    else:
        result = run_once(path, cell.row, cell.counts[who], cpu)
    if who == "switch":
        boost = {k[6:]: v for k, v in result.items() if k.startswith("boost_")}
        if boost:
            cell.runs.setdefault("boost", []).append(boost)
        result = {k: v for k, v in result.items() if not k.startswith("boost_")}
        who = "coir"
    cell.runs.setdefault(who, []).append(result)


def one_round(cells, programs, number, cpu):
    for cell in cells:
        takers = [who for who in cell.counts if who in programs]
        turn = number % len(takers) if takers else 0
        for who in takers[turn:] + takers[:turn]:
            progress(f"round {number + 1}: {cell.name}, {who}")
            measure(cell, who, programs[who], cpu)
    progress("")


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def values(cell, who, key="ns"):
    return [r[key] for r in cell.runs.get(who, []) if key in r]


def ratio(cell, who, peer, key="ns"):
    """Median over the rounds of who/peer, of those rounds in which both were measured."""
    pairs = zip(cell.runs.get(who, []), cell.runs.get(peer, []))
    both = [a[key] / b[key] for a, b in pairs if key in a and b.get(key)]
    return statistics.median(both) if both else None


def judge(target, cells):
    name, text, how, limit = target
    cell = next((c for c in cells if c.name == name), None)
    if cell is None:
        return None
    if callable(how):
        good = [r for r in cell.runs.get("coir", []) if "error" not in r]
        value = max((how(r) for r in good), default=None)
    else:
        value = ratio(cell, "coir", how)
    failed = any("error" in r and not r["error"].startswith("left out")
                 for r in cell.runs.get("coir", []))
    if failed:
        verdict = "MISS"
    elif value is None:
        verdict = "left out"
    else:
        verdict = "PASS" if value <= limit else "MISS"
    return {"cell": name, "text": text, "value": value, "limit": limit, "verdict": verdict}


def number(value, width=10):
    if value is None:
        return " " * (width - 1) + "-"
    digits = 3 if value < 1 else 2 if value < 100 else 1 if value < 1000 else 0
    return f"{value:{width}.{digits}f}"


def print_cell(cell):
    parked, idle = cell.group == "parked", cell.group == "idle"
    print(f"\n{cell.name}: {cell.unit}")
    if idle:
        for r in cell.runs.get("coir", []):
            print("  coir     " + (r["error"] if "error" in r else
                                   f"{r['switches']} context switches, {r['cpu_ns']} ns of CPU, "
                                   f"{r['threads']} threads"))
        return
    head = f"  {'':9}{'N':>9}{'median':>10}{'min':>10}{'max':>10}{'x Go':>10}{'x Boost':>10}"
    print(head + ("" if cell.group == "switch" else f"{'peak MB':>10}") +
          (f"{'with PT':>10}{'maps':>8}{'ns each':>10}" if parked else ""))
    for who in sorted(cell.runs, key=lambda w: w != "coir"):
        print_line(cell, who, parked)


def print_line(cell, who, parked):
    errors = [r["error"] for r in cell.runs[who] if "error" in r]
    good = [r for r in cell.runs[who] if "error" not in r]
    n = cell.counts.get(who, cell.counts.get("switch", 0))
    if not good:
        print(f"  {who:9}{n:9}  {errors[0]}")
        return
    key = "bytes" if parked else "ns"
    v = values(cell, who, key)
    line = f"  {who:9}{n:9}{number(statistics.median(v))}{number(min(v))}{number(max(v))}"
    for peer in YARDSTICKS:
        line += number(ratio(cell, who, peer, key) if peer != who else None)
    if "peak_kb" in good[0]:
        line += number(max(r["peak_kb"] for r in good) * 1024 / 1e6)
    if parked:
        line += number(statistics.median(values(cell, who, "bytes_all")))
        line += f"{max(values(cell, who, 'maps')):8}" + number(statistics.median(values(cell, who)))
    print(line + (f"  {len(errors)} failed: {errors[0]}" if errors else ""))


def print_report(cells, verdicts, report):
    for cell in cells:
        if cell.runs:
            print_cell(cell)
    print(f"\n{'target':46}{'measured':>10}{'limit':>10}")
    for t in verdicts:
        print(f"{t['text']:46}{number(t['value'])}{t['limit']:10g}  {t['verdict']}")
    print("\nmachine:  " + ", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    print("versions: " + ", ".join(f"{k}: {v}" for k, v in report["versions"].items()))
    print(f"method:   {report['rounds']} rounds on CPU {report['cpu']}, {report['seconds']:.0f} s"
          + ("; --quick: a tenth of the large counts, a hint only" if report["quick"] else ""))


def parse_args():
    p = argparse.ArgumentParser(description="Measure coir and its peers side by side.")
    p.add_argument("--rounds", type=int, help="interleaved rounds (default 5; 2 with --quick)")
    p.add_argument("--rows", help="row groups or cells to run, separated by commas (see --list)")
    p.add_argument("--quick", action="store_true", help="a tenth of the large counts")
    p.add_argument("--list", action="store_true", help="print rows, competitors and targets")
    p.add_argument("--strict", action="store_true", help="exit status 1 when a target is missed")
    p.add_argument("--cpu", type=int, help="the CPU to run on (default: the last one allowed)")
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"),
                   help="where the programs are, in bench/, and bench.json goes (default: build)")
    args = p.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.cpu = max(os.sched_getaffinity(0)) if args.cpu is None else args.cpu
    return args


def choose(cells, wanted):
    if not wanted:
        return cells
    names = [w.strip() for w in wanted.split(",") if w.strip()]
    known = {c.group for c in cells} | {c.name for c in cells}
    unknown = [n for n in names if n not in known]
    if unknown:
        sys.exit(f"run.py: no row '{unknown[0]}'; there are: {', '.join(sorted(known))}")
    return [c for c in cells if c.group in names or c.name in names]


def list_rows(cells, programs):
    for cell in cells:
        who = ", ".join(f"{w} {n}" + ("" if w in programs else " (missing)")
                        for w, n in cell.counts.items())
        print(f"{cell.name:14} {cell.unit:44} {who}")
    for _, text, _, limit in make_targets():
        print(f"target: {text} <= {limit}")


def main():
    args = parse_args()
    cells = choose(make_cells(), args.rows)
    paths = {who: os.path.join(args.build, "bench", name) for who, name in PROGRAMS.items()}
    programs = {who: path for who, path in paths.items() if os.access(path, os.X_OK)}
    if args.list:
        list_rows(cells, programs)
        return 0
    if args.quick:
        for cell in cells:
            cell.shrink()
    missing = sorted(set(PROGRAMS) - set(programs))
    for who in missing:
        print(f"missing: {who} (bench/{PROGRAMS[who]} was not built); its ratios are left out")
    report = {"machine": machine(), "versions": versions(programs), "rounds": args.rounds,
              "quick": args.quick, "cpu": args.cpu, "missing": missing}
    started = time.monotonic()
    for number_of_round in range(args.rounds):
        one_round(cells, programs, number_of_round, args.cpu)
    report["seconds"] = time.monotonic() - started
    verdicts = [v for v in (judge(t, cells) for t in make_targets()) if v]
    print_report(cells, verdicts, report)
    report["targets"] = verdicts
    report["cells"] = [{"name": c.name, "unit": c.unit, "counts": c.counts, "runs": c.runs}
                       for c in cells]
    with open(os.path.join(args.build, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
    return 1 if args.strict and any(v["verdict"] == "MISS" for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
