"""bench/datafile.py - the file that the rows file_cached and file_direct read (data.h).
SPDX-License-Identifier: MIT

It lies beside the programs, and stays there for the next run.
"""
import os
import subprocess

MIB = 1 << 20
SIZE = 256 * MIB


def path_in(build):
    return os.path.join(build, "bench", "data")


def make(path):
    """All of it on the disk: what has never been written would be read without asking the disk."""
    if os.path.exists(path) and os.path.getsize(path) == SIZE:
        return
    with open(path + ".tmp", "wb") as f:
        for _ in range(SIZE // MIB):
            f.write(os.urandom(MIB))
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".tmp", path)


def why_not_direct(path):
    """Why O_DIRECT is not measured here, or None. tmpfs takes the flag, and has no disk."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError as e:
        return f"no O_DIRECT here: {e.strerror}"
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                          check=False).stdout.strip()
    return "O_DIRECT means nothing on tmpfs" if kind == "tmpfs" else None


def prepare(path, cached):
    """Put it into the page cache, or out of it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_NORMAL if cached else os.POSIX_FADV_DONTNEED)
        while cached and os.read(fd, MIB):
            pass
    finally:
        os.close(fd)
