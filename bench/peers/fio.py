#!/usr/bin/env python3
"""bench/peers/fio.py - fio's io_uring engine, as a peer like the others.   Try: fio file_direct 32
SPDX-License-Identifier: MIT

Rows as in coir_file.c: N reads under way, of one thread. Files and buffers are registered, and fio
looks at the clock as rarely as it can. Called fio, it takes what its defaults make of the ring: an
enter for each read. Called fio_batch, it submits and collects 16 at a time, which served it best of
what was tried: then it waits until 16 are there, whatever that does to the first of them.
"""
import json
import os
import subprocess
import sys

READ_BYTES = 4096
DATA_BYTES = 65536 * READ_BYTES
BATCH = 16


def reads(row, depth):
    """As data_reads in ../data.h."""
    return 400000 if row == "file_cached" else 10000 if depth == 1 else 100000


def options(me, row, depth):
    words = {"name": row, "filename": os.path.join(os.path.dirname(me), "data"),
             "ioengine": "io_uring", "registerfiles": 1, "fixedbufs": 1, "rw": "randread",
             "bs": READ_BYTES, "size": DATA_BYTES, "io_size": reads(row, depth) * READ_BYTES,
             "iodepth": depth, "direct": int(row == "file_direct"), "invalidate": 0,
             "norandommap": 1, "gtod_reduce": 1, "output-format": "json"}
    if os.path.basename(me) == "fio_batch":
        words.update(iodepth_batch_submit=BATCH, iodepth_batch_complete_min=BATCH,
                     iodepth_batch_complete_max=depth)
    return ["--readonly"] + [f"--{key}={value}" for key, value in words.items()]


def main():
    if sys.argv[1:2] == ["version"]:
        done = subprocess.run(["fio", "--version"], capture_output=True, text=True, check=True)
        print(json.dumps({"row": "version", "version": done.stdout.strip()}))
        return 0
    row, depth = sys.argv[1], int(sys.argv[2])
    done = subprocess.run(["fio", *options(os.path.abspath(sys.argv[0]), row, depth)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
        return 1
    job = json.loads(done.stdout)["jobs"][0]
    ops = job["read"]["total_ios"]
    percent = job["usr_cpu"] + job["sys_cpu"]
    print(json.dumps({"row": row, "ns": job["read"]["runtime"] * 1e6 / ops, "ops": ops,
                      "cpu_ns": percent / 100 * job["job_runtime"] * 1e6 / ops}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
