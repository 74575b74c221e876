#!/usr/bin/env python3
"""bench/run.py - measure coir and its peers side by side.   Try: make bench
SPDX-License-Identifier: MIT

Builds nothing: `make bench` does, then starts this. A round runs every competitor of every cell
once, each in a process of its own pinned to as many CPUs as it has workers, in an order that
rotates from round to round. Ratios are taken within a round, then their median: a machine's speed
drifts by more than what is compared here. rows.py says what is measured, bench/README.md how to
read the result.
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

import datafile
import webserver
from rows import STREAM_MIB, make_cells, make_targets, ratio

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT_S = 180
# What must stay free beside a run, in MB.
MEMORY_MARGIN_MB = 1024

# Of the servers that rows fetch from.
URLS = {}

PROGRAMS = {
    "coir": "coir_bench",
    "switch": "switch",
    "go": "go",
    "boost": "boost_fiber",
    "tokio": "tokio",
    "pthread": "pthread",
    "raw": "raw",
    "pread": "pread",
    "fio": "fio",
    "fio_batch": "fio_batch",
    "asio": "asio",
    "uv": "uv",
    "curl": "curl",
}


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
        if who not in ("switch", "pthread", "pread", "fio_batch"):
            result = run_once(path, "version", 1)
            found[who] = result.get("version", result.get("error"))
    if "tokio" in programs:
        found["rustc"] = output_of("rustc", "--version")
    return found


def run_once(path, row, n, cpus=None, workers=1):
    """One run: what the program said, or {"error": why}. nivcsw: how often it lost its CPU;
    cpu_ns: of the whole process, per operation."""
    pin = None if cpus is None else lambda: os.sched_setaffinity(0, cpus)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [path, row, str(n)] + ([str(workers)] if workers > 1 else [])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
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
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["nivcsw"] = after.ru_nivcsw - before.ru_nivcsw
    if "ops" in result:
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        result.setdefault("cpu_ns", spent * 1e9 / result["ops"])
    return result


def measure(cell, who, path, cpus):
    os.environ["BENCH_URL"] = URLS.get(cell.row, "")
    if cell.group == "file":
        datafile.prepare(os.path.join(os.path.dirname(path), "data"), cell.row == "file_cached")
    need_mb = cell.bytes_each.get(who, 0) * cell.counts[who] // 1000000
    if need_mb and meminfo_mb("MemAvailable") < need_mb + MEMORY_MARGIN_MB:
        result = {"error": f"left out: needs {need_mb} MB and {MEMORY_MARGIN_MB} to spare"}
    else:
        result = run_once(path, cell.row, cell.counts[who], cpus[:cell.workers], cell.workers)
    who = "coir" if who == "switch" else who
    # A program that alternates with a peer inside one process speaks for both.
    for peer in ("boost", "pthread"):
        theirs = [k for k in result if k.startswith(peer + "_")]
        if theirs:
            both = {k.removeprefix(peer + "_"): result.pop(k) for k in theirs}
            cell.runs.setdefault(peer, []).append(both)
    cell.runs.setdefault(who, []).append(result)


def one_round(cells, programs, number, cpus):
    for cell in cells:
        takers = [who for who in cell.counts if who in programs]
        turn = number % len(takers) if takers else 0
        for who in takers[turn:] + takers[:turn]:
            progress(f"round {number + 1}: {cell.name}, {who}")
            measure(cell, who, programs[who], cpus)
    progress("")


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def number(value, width=10):
    if value is None:
        return " " * (width - 1) + "-"
    digits = 3 if value < 1 else 2 if value < 100 else 1 if value < 1000 else 0
    return f"{value:{width}.{digits}f}"


def print_cell(cell):
    print(f"\n{cell.name}: {cell.unit}")
    if cell.group == "idle":
        for r in cell.runs.get("coir", []):
            print("  coir     " + (r["error"] if "error" in r else
                                   f"{r['switches']} context switches, {r['cpu_ns']} ns of CPU, "
                                   f"{r['threads']} threads"))
        return
    by = "CPU/" if cell.beside_key == "cpu_ns" else "x "
    heads = [by + {"go": "Go", "boost": "Boost"}.get(peer, peer) for peer in cell.beside]
    heads = ["N", "median", "min", "max"] + heads + [head for head, _ in more_columns(cell)]
    print(" " * 10 + "".join(f"{head:>10}" for head in heads))
    for who in sorted(cell.runs, key=lambda w: w != "coir"):
        print_line(cell, who)


def more_columns(cell):
    """What some rows tell besides: (head, a function of the list of runs)."""
    def median(key):
        def column(runs):
            found = [r[key] for r in runs if key in r]
            return statistics.median(found) if found else None
        return column

    def micro(key):
        return lambda runs: (median(key)(runs) or 0) / 1000 or None

    def peak(runs):
        return max((r["peak_kb"] for r in runs if "peak_kb" in r), default=None)

    columns = []
    if cell.group not in ("switch", "forkjoin", "forkjoin_flat"):
        columns.append(("peak MB", lambda runs: (peak(runs) or 0) * 1024 / 1e6 or None))
    if cell.group == "parked":
        columns += [("with PT", median("bytes_all")), ("maps", median("maps")),
                    ("ns each", median("ns"))]
    elif cell.group == "accept":
        columns += [("busiest", median("share")), ("client", median("client_share"))]
    elif cell.group == "file":
        columns = [("CPU ns", median("cpu_ns"))]
    elif cell.group == "fetch":
        columns += [("CPU ns", median("cpu_ns")), ("KiB each", median("kb_each"))]
    elif cell.group in ("echo", "echo_epoll"):
        columns = [("CPU ns", median("cpu_ns")), ("p50 us", micro("p50_ns")),
                   ("p99 us", micro("p99_ns"))]
    elif cell.group in ("forkjoin", "forkjoin_flat"):
        columns.append(("start ms", median("start_ms")))
    elif cell.workers > 1:
        columns.append(("CPU ns", median("cpu_ns")))
    return columns


def print_line(cell, who):
    errors = [r["error"] for r in cell.runs[who] if "error" in r]
    good = cell.good(who)
    n = cell.counts.get(who, next(iter(cell.counts.values())))
    if not good:
        print(f"  {who:9}{n:9}  {errors[0]}")
        return
    v = cell.values(who, "bytes" if cell.group == "parked" else "ns")
    line = f"  {who:9}{n:9}{number(statistics.median(v))}{number(min(v))}{number(max(v))}"
    for peer in cell.beside:
        line += number(ratio(cell, who, cell, peer, cell.beside_key) if peer != who else None)
    line += "".join(number(column(good)) for _, column in more_columns(cell))
    print(line + (f"  {len(errors)} failed: {errors[0]}" if errors else ""))


def print_report(cells, verdicts, report):
    for cell in cells:
        if cell.runs:
            print_cell(cell)
    print(f"\n{'target':48}{'measured':>10}{'limit':>12}")
    for t in verdicts:
        limit = f"{t['sign']} {t['limit']:g}"
        print(f"{t['text']:48}{number(t['value'])}{limit:>12}  {t['verdict']}")
    print("\nmachine:  " + ", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    print("versions: " + ", ".join(f"{k}: {v}" for k, v in report["versions"].items()))
    print(f"method:   {report['rounds']} rounds on CPUs {report['cpus']}, "
          f"{report['seconds']:.0f} s"
          + ("; --quick: a tenth of the large counts, a hint only" if report["quick"] else ""))


def parse_args():
    p = argparse.ArgumentParser(description="Measure coir and its peers side by side.")
    p.add_argument("--rounds", type=int, help="interleaved rounds (default 5; 2 with --quick)")
    p.add_argument("--rows", help="row groups or cells to run, separated by commas (see --list)")
    p.add_argument("--quick", action="store_true", help="a tenth of the large counts")
    p.add_argument("--list", action="store_true", help="print rows, competitors and targets")
    p.add_argument("--strict", action="store_true", help="exit status 1 when a target is missed")
    p.add_argument("--cpu", type=int,
                   help="the CPU to run on (default: the last one allowed); with two workers, and "
                        "another one")
    p.add_argument("--build", default=os.path.join(HERE, "..", "build"),
                   help="where the programs are, in bench/, and bench.json goes (default: build)")
    args = p.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    return args


def choose_cpus(first):
    """The CPU for one worker, then those for more: of cores of their own first."""
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    first = allowed[0] if first is None else first
    core = read(f"/sys/devices/system/cpu/cpu{first}/topology/core_cpus_list", "")

    def shared(cpu):
        return core == read(f"/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list", "-")

    return [first] + sorted((cpu for cpu in allowed if cpu != first), key=shared)


def choose(cells, wanted):
    if not wanted:
        return cells
    names = [w.strip() for w in wanted.split(",") if w.strip()]
    known = {c.group for c in cells} | {c.name for c in cells}
    unknown = [n for n in names if n not in known]
    if unknown:
        sys.exit(f"run.py: no row '{unknown[0]}'; there are: {', '.join(sorted(known))}")
    return [c for c in cells if c.group in names or c.name in names]


def prepare_files(cells, build):
    """The file that is read; cells that need what its file system has not are left out."""
    if any(c.group == "file" for c in cells):
        path = datafile.path_in(build)
        datafile.make(path)
        why = datafile.why_not_direct(path)
        for cell in [c for c in cells if c.row == "file_direct" and why]:
            print(f"left out: {cell.name}: {why}")
            cells.remove(cell)


def prepare_servers(cells, build, cpus):
    """The same for what is fetched. Servers run beside the one CPU that is measured."""
    if any(c.group == "fetch" for c in cells):
        URLS.update(webserver.serve(build, cpus[1:] or cpus, STREAM_MIB))
        for cell in [c for c in cells if c.group == "fetch" and c.row not in URLS]:
            print(f"left out: {cell.name}: no server to ask")
            cells.remove(cell)


def list_rows(cells, programs):
    for cell in cells:
        who = ", ".join(f"{w} {n}" + ("" if w in programs else " (missing)")
                        for w, n in cell.counts.items())
        print(f"{cell.name:16} {cell.unit:54} {who}")
    for t in make_targets():
        print(f"target: {t.text} {t.sign} {t.limit}")


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
    cpus = choose_cpus(args.cpu)
    for cell in [c for c in cells if c.workers > len(cpus)]:
        print(f"left out: {cell.name} needs {cell.workers} CPUs")
        cells.remove(cell)
    prepare_files(cells, args.build)
    prepare_servers(cells, args.build, cpus)
    report = {"machine": machine(), "versions": versions(programs), "rounds": args.rounds,
              "quick": args.quick, "cpus": cpus[:2], "missing": missing}
    started = time.monotonic()
    for number_of_round in range(args.rounds):
        one_round(cells, programs, number_of_round, cpus)
    report["seconds"] = time.monotonic() - started
    verdicts = [v for v in (t.judge(cells) for t in make_targets()) if v]
    print_report(cells, verdicts, report)
    report["targets"] = verdicts
    report["cells"] = [{"name": c.name, "unit": c.unit, "workers": c.workers, "counts": c.counts,
                        "runs": c.runs} for c in cells]
    with open(os.path.join(args.build, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
        f.write("\n")
    return 1 if args.strict and any(v["verdict"] == "MISS" for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
