"""test_small.py - the small samples, 01 to 04, and how every sample starts.
SPDX-License-Identifier: MIT"""

import selectors
import shutil
import socket
import subprocess
import threading
import time

from kit import *


def test_hello():
    """Both fibers greet before either says goodbye, and their results come back by join."""
    r = run("01_hello")
    lines = r.out.splitlines()
    equal(r.status, 0, r)
    equal(sorted(lines[:2]), ["one: hello", "two: hello"])
    equal(sorted(lines[2:4]), ["one: goodbye", "two: goodbye"])
    equal(lines[4:], ["both are done: 6 letters"])
    equal(r.err, "")


def test_timer_joined():
    """With a join every fiber counts to its end, each at its own rhythm, between the others."""
    r = run("02_timer", "join", 40)
    lines = r.out.splitlines()
    equal(r.status, 0, r)
    for name, last in ("main", 4), ("quick", 9), ("slow", 3):
        equal([line for line in lines if line.startswith(name + ": ")],
              [f"{name}: {i} of {last}" for i in range(1, last + 1)])
    equal(lines[-1], "main is done")
    check(lines.index("slow: 2 of 3") > lines.index("quick: 3 of 9"), "slow is slower", lines)
    check(lines.index("main: 4 of 4") < lines.index("quick: 6 of 9"), "they take turns", lines)
    check(0.36 < r.seconds < 3, "nine steps of 40 ms took", r.seconds)


def test_timer_cut():
    """Without a join the fibers that still count are cut off when main is done, and not before."""
    r = run("02_timer", "cut", 100)
    equal(r.status, 0, r)
    check("main: 4 of 4" in r.out and "quick: 9 of 9" not in r.out, r.out)
    matches(r"^quick: 3 of 9$", r.out)
    matches(r"^quick: cut off at [345]$", r.out)
    matches(r"^slow: cut off at [12]$", r.out)
    check(r.seconds < 0.85, "it waited for the rest:", r.seconds)


def test_timer_usage():
    """A wrong argument is told, with status 2."""
    for args in (["maybe"], ["join", "0"], ["cut", "-5"]):
        r = run("02_timer", *args)
        equal((r.status, r.out), (2, ""), args)
        matches("^usage: 02_timer", r.err)


def test_pipeline():
    """The sum is right, also when the numbers are more than the pipes hold at once."""
    for n in 0, 1, 1000, 20000:
        r = run("03_pipeline", n)
        equal(r.status, 0, r)
        equal(r.out, f"the squares of 1 to {n} add up to {n * (n + 1) * (2 * n + 1) // 6}\n")


def test_echo():
    """Fifty clients get their own bytes back, also those that close their half first."""
    server = Server("04_echo", 0)
    clients = [server.connect() for _ in range(50)]
    for round_ in range(3):
        for i, sock in enumerate(clients):
            sock.sendall(b"%d/%d;" % (i, round_))
    for i, sock in enumerate(clients):
        sock.shutdown(socket.SHUT_WR)
        equal(receive(sock), b"%d/0;%d/1;%d/2;" % (i, i, i))


def test_echo_much():
    """A megabyte comes back while it is still being sent; a reset ends one connection only."""
    server = Server("04_echo", 0)
    victim = server.connect()
    victim.sendall(b"x" * 100000)
    reset(victim)
    sock, data = server.connect(), bytes(range(256)) * 4096

    def send():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=send)
    thread.start()
    equal(receive(sock) == data, True, "the echo")
    thread.join()
    server.alive()


def test_echo_nc():
    """nc gets its lines back: all at once, or one now and one later."""
    nc = netcat(Server("04_echo", 0))
    text = "".join(f"line {i}\n" for i in range(20000))
    done = subprocess.run(nc, input=text, text=True, capture_output=True, timeout=20)
    check(done.stdout == text, "the echo is wrong")
    child = subprocess.Popen(nc, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    at_end(lambda: stop(child))
    for line in "one\n", "two\n":
        child.stdin.write(line)
        child.stdin.flush()
        equal(child.stdout.readline(), line)
    child.stdin.close()
    equal((child.stdout.read(), child.wait(5)), ("", 0))


def test_echo_load():
    """Under the load of a benchmark, fifty connections with sixteen requests on the way each, every
    request comes back."""
    server = Server("04_echo", 0)
    request, rounds = b"*1\r\n$4\r\nPING\r\n" * 16, 100
    clients, left = [server.connect() for _ in range(50)], {}
    with selectors.DefaultSelector() as waiting:
        for sock in clients:
            waiting.register(sock, selectors.EVENT_READ)
            left[sock] = [rounds, b""]
            sock.sendall(request)
        while left:
            ready = waiting.select(10)
            check(ready, len(left), "clients wait for an echo of which a part has come")
            for key, _ in ready:
                state = left[key.fileobj]
                state[1] += key.fileobj.recv(65536)
                check(state[1] and request.startswith(state[1]), "the echo is", state[1])
                if state[1] == request:
                    state[:] = state[0] - 1, b""
                    if state[0]:
                        key.fileobj.sendall(request)
                    else:
                        waiting.unregister(key.fileobj)
                        del left[key.fileobj]


def test_echo_redis_benchmark():
    """redis-benchmark takes its own requests for answers, and is content."""
    if not shutil.which("redis-benchmark"):
        raise Skip("redis-benchmark is not installed")
    server = Server("04_echo", 0)
    for pipelined in 1, 16:
        done = subprocess.run(["redis-benchmark", "-p", str(server.port), "-t", "ping_mbulk", "-q",
                               "-c", "50", "-n", "20000", "-P", str(pipelined)], text=True,
                              capture_output=True, timeout=30)
        equal(done.returncode, 0, done.stderr)
        matches(r"PING_MBULK: [\d.]+ requests per second", done.stdout)
    server.alive()


def test_echo_survives_lack_of_descriptors():
    """When there are no descriptors left it says so, waits, and serves on once some are free."""
    server = Server("04_echo", 0, before=limit_files(24, 24))
    clients = [server.connect() for _ in range(30)]
    wait_for(lambda: "accept: Too many open files" in server.err(), "the message")
    for sock in clients:
        sock.close()
    time.sleep(0.2)
    sock = server.connect()
    sock.sendall(b"still there?")
    sock.shutdown(socket.SHUT_WR)
    equal(receive(sock), b"still there?")


def test_echo_port_in_use():
    """It says why it cannot listen, with status 2."""
    server = Server("04_echo", 0)
    r = run("04_echo", server.port)
    equal((r.status, r.out), (2, ""), r)
    equal(r.err, "04_echo: cannot listen: Address already in use\n")


def test_io_uring_refused():
    """Where io_uring is refused and asked for, each program says so in one line, and ends with
    status 2; else epoll takes its place."""
    why = "Function not implemented" if QEMU else "Operation not permitted"
    for command in ("01_hello", "02_timer", "03_pipeline", "04_echo 0", "static_server --port 0",
                    "fetch_many http://127.0.0.1:1/", "chat_room --port 0", "http_proxy --port 0",
                    "checksum_files", "port_scan", "supervisor true"):
        name, *args = command.split()
        r = run(name, *args, before=refuse_io_uring, env={"COIR_IO": "uring"})
        equal(r.status, 2, f"{name}: {r}")
        equal(len(r.err.splitlines()), 1, f"{name}: {r}")
        matches(rf"{why}|io_uring", r.err)
    r = run("01_hello", before=refuse_io_uring, env={"COIR_IO": "auto", "COIR_VERBOSE": "1"})
    equal(r.status, 0, r)
    matches(rf"^coir: io_uring does not work here: {why}$", r.err)
    matches(r"^coir: epoll, ", r.err)
