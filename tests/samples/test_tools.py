"""test_tools.py - checksum_files, beside cksum(1), and port_scan, on ports that we know.
SPDX-License-Identifier: MIT"""

import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

from kit import *


def cksum_of(*paths, cwd=None):
    """What cksum(1) prints."""
    if not shutil.which("cksum"):
        raise Skip("cksum is not installed")
    done = subprocess.run(["cksum", *paths], capture_output=True, text=True, cwd=cwd,
                          errors="surrogateescape")
    equal(done.returncode, 0, done.stderr)
    return done.stdout


def sum_files(*args, **more):
    return run("checksum_files", *args, **more)


def tree():
    """A directory with files of all sorts and sizes; and their paths, in order."""
    root, rng = directory(), random.Random(7)
    for i, size in enumerate([0, 1, 7, 8, 9, 255, 4096, (256 << 10) - 1, 256 << 10,
                              (256 << 10) + 1, 3 << 20]):
        write(f"{root}/sizes/{i:02}", rng.randbytes(size))
    for i in range(300):
        write(f"{root}/many/{i % 17}/{i}", str(i))
    for name in "a", "a-b", "a/c", "a.c", "b c", "b\nc", "b%c", "\u00fc", "z/y/x/w/v":
        path = f"{root}/names/{name}" + ("/file" if name == "a" else "")
        write(path, name)
    os.makedirs(f"{root}/empty/deep")
    os.symlink("names/a-b", f"{root}/link")
    os.symlink(".", f"{root}/loop")
    os.mkfifo(f"{root}/fifo")
    paths = [os.path.join(at, name) for at, _, names in os.walk(root) for name in names]
    paths = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    return root, sorted(paths, key=os.fsencode)


def test_checksums():
    """Checksums, sizes and names are those of cksum(1), in the order given, however many files are
    summed at once."""
    root, paths = tree()
    random.Random(1).shuffle(paths)
    want = cksum_of(*paths)
    for args in ([], ["-j", 1], ["-j", 1, "-w", 1], ["-j", 100, "-w", 3], ["-j", 10000]):
        r = sum_files(*args, *paths)
        equal((r.status, r.err), (0, ""), r)
        check(r.out == want, args, "are not those of cksum(1)")


def test_checksums_of_a_tree():
    """Below a directory are its regular files, by the order of their paths; links are not followed,
    and a FIFO does not make it wait."""
    root, paths = tree()
    want = cksum_of(*paths)
    for args in ([], ["-j", 1, "-w", 1]):
        r = sum_files(*args, root)
        equal((r.status, r.err), (0, ""), r)
        equal(r.out.splitlines(), want.splitlines())
    equal(sum_files(f"{root}/sizes/", f"{root}/link").out,
          cksum_of(*(p for p in paths if "/sizes/" in p), f"{root}/link"))
    equal(sum_files(f"{root}/empty").out, "")
    done = subprocess.run([program("checksum_files"), "."], cwd=root, capture_output=True,
                          text=True)
    equal(done.stdout, cksum_of(*("./" + os.path.relpath(p, root) for p in paths), cwd=root))


def test_checksum_of_input():
    """Standard input is summed, from where it is; it, pipes and /proc may be named, too."""
    equal(sum_files(stdin="hello").out, "3287646509 5\n")
    equal(sum_files("-", stdin="hello").out, "3287646509 5 -\n")
    path = f"{directory()}/file"
    write(path, "we say hello")
    with open(path, "rb") as file:
        os.lseek(file.fileno(), 7, os.SEEK_SET)
        done = subprocess.run([program("checksum_files")], stdin=file, capture_output=True)
    equal(done.stdout, b"3287646509 5\n")
    equal(sum_files("/dev/stdin", stdin="hello" * 100000).out, f"{cksum(b'hello' * 100000)} 500000"
          " /dev/stdin\n")
    equal(sum_files("/proc/version").out, cksum_of("/proc/version"))


def test_checksum_errors():
    """A file that cannot be read is told with its reason, the others are summed, and the status
    is 1."""
    root = directory()
    for i in range(5):
        write(f"{root}/{i}", str(i))
    paths = [f"{root}/0", f"{root}/none", f"{root}/1", f"{root}/2/x", f"{root}/2"]
    r = sum_files(*paths)
    equal(r.status, 1, r)
    equal(r.out, cksum_of(paths[0], paths[2], paths[4]))
    equal(r.err.splitlines(), [f"checksum_files: {root}/none: No such file or directory",
                               f"checksum_files: {root}/2/x: Not a directory"])
    r = sum_files("/proc/self/mem", f"{root}/0")
    equal((r.status, r.out), (1, cksum_of(paths[0])), r)
    matches("^checksum_files: /proc/self/mem: Input/output error$", r.err)
    with open("/dev/full", "w") as full:
        r = sum_files(f"{root}/0", stdout=full)
    equal(r.status, 1, r)
    matches("cannot write the checksums: No space left on device", r.err)


def test_checksum_forbidden():
    """A directory that may not be read is told, and what is beside it is summed."""
    def be_nobody():
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
    root = directory()
    os.chmod(root, 0o755)
    for name in "a/x", "b/x", "c":
        write(f"{root}/{name}", name)
    os.chmod(f"{root}/a", 0)
    at_end(lambda: os.chmod(f"{root}/a", 0o700))
    os.chmod(f"{root}/c", 0)
    try:
        r = sum_files(root, before=be_nobody)
    except PermissionError:
        raise Skip("only root may run the programs")
    equal((r.status, r.out), (1, cksum_of(f"{root}/b/x")), r)
    equal(r.err.splitlines(), [f"checksum_files: {root}/{name}: Permission denied"
                               for name in ("a", "c")])


def test_checksum_few_descriptors():
    """With few descriptors fewer files are open at once, and all are summed."""
    root, paths = tree()
    r = sum_files("-j", 500, root, before=limit_files(80, 80))
    equal((r.status, r.err), (0, ""), r)
    check(r.out == cksum_of(*paths), "the sums are wrong")


def test_checksum_interrupted():
    """SIGTERM and SIGINT end it at once, with status 1; what was printed is whole."""
    for number in signal.SIGTERM, signal.SIGINT:
        fifo, good = f"{directory()}/fifo", f"{directory()}/good"
        os.mkfifo(fifo)
        write(good, "good")
        child = subprocess.Popen([program("checksum_files"), good, fifo, good, "-"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 stdin=subprocess.PIPE, text=True)
        at_end(lambda: stop(child))
        time.sleep(0.3)
        child.send_signal(number)
        equal(child.wait(3), 1)
        equal(child.stdout.read(), cksum_of(good))
        equal(child.stderr.read(), "checksum_files: interrupted\n")
        child.stdin.close()


def test_checksum_arguments():
    """Wrong arguments are told, with status 2; --help is not an error."""
    for args, why in ((["-j", "0"], "-j wants a number from 1 to 10000, not \"0\""),
                      (["-w", "x"], "-w wants"), (["--nonsense"], "nonsense"), (["-j"], "j")):
        r = sum_files(*args)
        equal((r.status, r.out), (2, ""), args)
        check("checksum_files: " in r.err and why in r.err, why, "is not in", r.err)
    r = sum_files("--help")
    equal((r.status, r.err), (0, ""))
    matches("^usage: checksum_files", r.out)


def listeners(count, host="127.0.0.1"):
    """So many listening sockets; their ports, in order."""
    socks = [socket.create_server((host, 0), backlog=8) for _ in range(count)]
    for sock in socks:
        at_end(sock.close)
    return sorted(sock.getsockname()[1] for sock in socks)


def opened(r):
    return [int(line.split()[0]) for line in r.out.splitlines()[:-1]]


def scan(*args, **more):
    return run("port_scan", *args, **more)


def test_scan():
    """Open ports are told in order, the others are counted."""
    ports, closed = listeners(20), free_port()
    listing = ",".join(map(str, [closed, *reversed(ports), ports[0]]))
    for args in [], ["-j", 1], ["-j", 100000]:
        r = scan(*args, "127.0.0.1", listing)
        equal((r.status, r.err), (0, ""), r)
        equal(opened(r), ports)
        matches(r"^21 ports of 127\.0\.0\.1: 20 open, 1 closed, 0 silent, 0 failed, in \d+\.\d s$",
                r.out)
    r = scan("localhost", f"{ports[0]}-{ports[0]},{ports[3]}")
    equal(opened(r), [ports[0], ports[3]])
    r = scan()
    equal((r.status, r.err), (0, ""), r)
    matches(r"^1024 ports of 127\.0\.0\.1: ", r.out)


def test_scan_everything():
    """All 65,535 ports are tried, and those that are open are found among them."""
    host = "127.65.53.5"  # where other tests do not wait for connections
    ports = listeners(5, host)
    r = scan(host, "1-65535")
    equal(r.status, 0, r)
    check(set(ports) <= set(opened(r)), ports, "are not all in", r.out)
    matches("^65535 ports of", r.out)


def own_network():
    """For preexec_fn: a network where nobody listens, and the kernel has ten ports to give."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x50000000):  # CLONE_NEWUSER, CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
        file.write("40000 40009")


def test_scan_own_end():
    """A port that the kernel gives to our own end of a connection is not taken for open."""
    for _ in range(20):
        try:
            r = scan("127.0.0.1", "40000-40009", before=own_network)
        except subprocess.SubprocessError:
            raise Skip("no network of its own is to be had")
        equal(r.status, 0, r)
        matches("^10 ports of .*: 0 open, 10 closed", r.out)


def test_scan_silent():
    """A port that does not answer is silent after the time given, and holds up nobody."""
    full = socket.socket()
    at_end(full.close)
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port, good = full.getsockname()[1], listeners(1)[0]
    for _ in range(3):
        filler = socket.socket()
        at_end(filler.close)
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    r = scan("-t", 0.5, "127.0.0.1", f"{port},{good}")
    equal((r.status, opened(r)), (0, [good]), r)
    matches("1 open, 0 closed, 1 silent, 0 failed", r.out)
    check(0.45 < r.seconds < 4, r.seconds)


def test_scan_few_descriptors():
    """With few descriptors it tries fewer ports at once, says so, and finds the same."""
    ports = listeners(10)
    spread = sorted(set(range(1, 3001)) | set(ports))
    r = scan("-j", 500, "127.0.0.1", ",".join(map(str, spread)), before=limit_files(40, 40))
    equal(r.status, 0, r)
    check(set(ports) <= set(opened(r)), ports, "are not all in", r.out)
    matches(f"^{len(spread)} ports of .*, 0 silent, 0 failed", r.out)
    matches(r"^port_scan: only \d+ at once: Too many open files$", r.err)


def test_scan_failed():
    """A host that cannot be found, or reached at all, is told with its reason."""
    r = scan("no.such.host.invalid", "1-10")
    equal((r.status, r.out), (2, ""), r)
    matches("^port_scan: cannot find no.such.host.invalid: ", r.err)
    r = scan("224.0.0.1", "1-10")
    equal((r.status, opened(r)), (1, []), r)
    matches("^port_scan: 224.0.0.1: ", r.err)
    matches("0 open, 0 closed, 0 silent, 10 failed", r.out)


def test_scan_interrupted():
    """SIGTERM and SIGINT end it at once, with what it has found, and status 1."""
    full, good = socket.socket(), listeners(1)[0]
    at_end(full.close)
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    for _ in range(3):
        filler = socket.socket()
        at_end(filler.close)
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    for number in signal.SIGTERM, signal.SIGINT:
        child = subprocess.Popen([program("port_scan"), "-t", "60", "127.0.0.1", f"{good},{port}"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        at_end(lambda: stop(child))
        time.sleep(0.3)
        child.send_signal(number)
        equal(child.wait(3), 1)
        out = child.stdout.read()
        matches(f"^{good} open\n1 ports of .*: 1 open", out)
        equal(child.stderr.read(), "port_scan: interrupted: 1 ports were not tried\n")


def test_scan_arguments():
    """Wrong arguments are told, with status 2; --help is not an error."""
    for ports in "", "x", "0", "65536", "1-", "-1", "2-1", "1,,2", "1,", "1-2-3", "1 2", "1-65536":
        r = scan("--", "127.0.0.1", ports)
        equal((r.status, r.out), (2, ""), ports)
        check(f"port_scan: \"{ports}\" is no list of ports" in r.err, r.err)
    for args, why in ((["-j", "0"], "-j wants"), (["-t", "0"], "-t wants seconds"),
                      (["a", "1", "b"], "what is b?"), (["--nonsense"], "nonsense")):
        r = scan(*args)
        equal((r.status, r.out), (2, ""), args)
        check("port_scan: " in r.err and why in r.err, why, "is not in", r.err)
    r = scan("--help")
    equal((r.status, r.err), (0, ""))
    matches("^usage: port_scan", r.out)
