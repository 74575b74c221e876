"""test_chat.py - chat_room, with nc and with clients that misbehave.
SPDX-License-Identifier: MIT"""

import os
import signal
import socket
import subprocess
import time

from kit import *


def room(*args, **more):
    return Server("chat_room", "--port", 0, *args, **more)


class Guest:
    """A client that reads as lines come."""

    def __init__(self, server, nick=None, small=False):
        self.sock = socket.socket()
        at_end(self.sock.close)
        if small:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(10)
        self.sock.connect((server.host, server.port))
        self.rest = b""
        if nick:
            self.says(nick)
            self.hears(f"* {nick} has joined")

    def says(self, text):
        self.sock.sendall(text.encode() + b"\n")

    def line(self):
        """The next line; None: the room has closed the connection."""
        while b"\n" not in self.rest:
            part = self.sock.recv(65536)
            if not part:
                equal(self.rest, b"", "half a line")
                return None
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode(errors="replace")

    def hears(self, want):
        """Skip lines up to this one, and return them."""
        skipped = []
        while (line := self.line()) != want:
            skipped.append(line)
            check(line is not None, "gone before", repr(want), skipped)
        return skipped

    def silent(self, seconds=0.2):
        self.sock.settimeout(seconds)
        try:
            check(False, "not silent:", self.line())
        except TimeoutError:
            pass
        self.sock.settimeout(10)


def test_talk():
    """Everyone hears who joins, what is said, a new nick, and who leaves; /who lists them."""
    for extra in (["--workers", 1], ["--workers", 3]):
        server = room(*extra)
        ann = Guest(server, "ann")
        bob = Guest(server, "bob")
        equal(ann.line(), "* bob has joined")
        ann.says("hello there")
        for guest in ann, bob:
            equal(guest.line(), "<ann> hello there")
        bob.says("/nick Rob")
        for guest in ann, bob:
            equal(guest.line(), "* bob is now Rob")
        ann.says("/who")
        equal(sorted(ann.line().split()[3:]), ["Rob", "ann"])
        bob.says("/quit")
        equal(bob.hears(None), ["* goodbye"])
        equal(ann.line(), "* Rob has left")
        ann.says("/nonsense")
        equal(ann.line(), "* there are /nick NAME, /who and /quit")


def test_nicks():
    """A nick is nobody else's, in any case, and plain; it may be given by /nick at once."""
    server = room()
    ann = Guest(server, "ann")
    bob = Guest(server)
    equal(bob.line(), "* welcome; who are you?")
    for nick in "", "a b", "x" * 21, "<root>", "*", "\u00fc", "/nick", "/nick a/b":
        bob.says(nick)
        equal(bob.line(), "* a nick has 1 to 20 letters, digits, - or _")
    bob.says("ANN")
    equal(bob.line(), "* somebody else is ANN")
    bob.says("/nick b-o_b")
    equal(bob.line(), "* b-o_b has joined")
    bob.says("/nick Ann")
    equal(bob.line(), "* somebody else is Ann")
    bob.says("/nick B-O_B")
    equal(bob.line(), "* b-o_b is now B-O_B")
    equal(ann.hears("* b-o_b is now B-O_B"), ["* b-o_b has joined"])


def test_nc():
    """Two people with nc talk to each other."""
    nc = netcat(room())
    ann = subprocess.Popen(nc, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True)
    at_end(lambda: stop(ann))
    ann.stdin.write("ann\n")
    ann.stdin.flush()
    equal([ann.stdout.readline() for _ in range(2)],
          ["* welcome; who are you?\n", "* ann has joined\n"])
    bob = subprocess.run(nc, text=True, capture_output=True, input="bob\nhi ann\n/quit\n",
                         timeout=10)
    equal(bob.stdout.splitlines(), ["* welcome; who are you?", "* bob has joined", "<bob> hi ann",
                                    "* goodbye"])
    equal([ann.stdout.readline() for _ in range(3)],
          ["* bob has joined\n", "<bob> hi ann\n", "* bob has left\n"])
    ann.stdin.close()


def test_long_lines():
    """A line of the greatest length is said; a longer one is refused, and the next one is heard."""
    server = room()
    ann, bob = Guest(server, "ann"), Guest(server, "bob")
    for length in 512, 513, 514, 515, 100000:
        ann.says("x" * length)
        want = "<ann> " + "x" * 512 if length == 512 else "* a line has at most 512 bytes"
        equal(ann.hears(want), ["* bob has joined"] if length == 512 else [])
    ann.says("short")
    equal(bob.hears("<ann> short"), ["<ann> " + "x" * 512])


def test_control_characters():
    """What one sends does not reach the others' terminals as commands."""
    server = room()
    ann, bob = Guest(server, "ann"), Guest(server, "bob")
    ann.sock.sendall(b"a\x1b[2J\tb\0c\x7f \xc2\x9b \xc3\xbc\r\n")
    equal(bob.line(), "<ann> a?[2J b?c? ?? \u00fc")


def test_idle_and_half_lines():
    """Clients that say nothing, or half a line, or go in the middle of one hurt nobody; who gives
    no nick is sent away in time."""
    server = room("--login", 0.5)
    ann = Guest(server, "ann")
    silent, half = Guest(server), Guest(server)
    half.sock.sendall(b"ha")
    middle = Guest(server, "middle")
    middle.sock.sendall(b"I was about to")
    ann.says("still here")
    equal(ann.hears("<ann> still here"), ["* middle has joined"])
    middle.sock.close()
    equal(ann.line(), "* middle has left")
    for guest in silent, half:
        equal(guest.hears(None), ["* welcome; who are you?", "* you took too long"])
    time.sleep(0.3)
    ann.says("a nick is enough")
    equal(ann.line(), "<ann> a nick is enough")


def test_byte_by_byte():
    """Lines that come one byte at a time, or many at once, are the same lines."""
    server = room()
    ann = Guest(server)
    ann.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"ann\r\nhi\r\n":
        ann.sock.sendall(bytes([byte]))
        time.sleep(0.002)
    equal(ann.hears("<ann> hi"), ["* welcome; who are you?", "* ann has joined"])
    ann.sock.sendall(b"one\n\n\r\ntwo\nthree\n")
    for word in "one", "two", "three":
        equal(ann.line(), f"<ann> {word}")


def numbered(i):
    return f"{i} ".ljust(500, "x")


def flood(server, lines):
    """ann says so many lines, bob hears each, and a third one reads none. Returns that one, and
    what bob heard of him."""
    ann, bob = Guest(server, "ann"), Guest(server, "bob")
    stuck = Guest(server, "stuck", small=True)
    heard, start = [], time.monotonic()
    for i in range(lines):
        ann.says(numbered(i))
        for guest in ann, bob:
            skipped = guest.hears("<ann> " + numbered(i))
        heard += skipped
    check(time.monotonic() - start < 15, "a stuck reader held up the room")
    return stuck, heard


def test_stuck_reader():
    """Who does not read is dropped once his queue is full, the others are told, and nobody waits;
    if he reads then, he is told, too."""
    server = room("--rate", 0, "--queue", 20, "--linger", 30)
    stuck, heard = flood(server, 15000)
    equal(heard, ["* stuck has joined", "* stuck was dropped: it reads too slowly"])
    lines = stuck.hears(None)
    equal(lines[-2:], ["", "* you were dropped: you read too slowly"])
    check(20 < len(lines) < 14000, len(lines))
    equal(lines[:-2], ["<ann> " + numbered(i) for i in range(len(lines) - 2)])


def test_stuck_reader_that_stays_stuck():
    """A client that never reads again is given up after the linger time."""
    server = room("--rate", 0, "--queue", 20, "--linger", 0.3)
    files = f"/proc/{server.child.pid}/fd"
    stuck, _ = flood(server, 15000)
    wait_for(lambda: sum("socket" in os.readlink(f"{files}/{fd}") for fd in os.listdir(files)) <= 3,
             "its socket to be closed")
    server.alive()


def test_rate():
    """One who sends without end is slowed down, and does not drown the others."""
    server = room("--rate", 50)
    ann, bob = Guest(server, "ann"), Guest(server, "bob")
    start = time.monotonic()
    ann.sock.sendall(b"spam\n" * 150)
    for _ in range(150):
        equal(bob.line(), "<ann> spam")
    check(1.5 < time.monotonic() - start < 8, "it took", time.monotonic() - start)


def test_many():
    """Two hundred clients: each hears each; a full room says so."""
    server = room("--clients", 200, "--queue", 500)
    guests = [Guest(server, f"g{i}") for i in range(200)]
    late = Guest(server)
    late.says("late")
    equal(late.hears(None), ["* welcome; who are you?", "* the room is full"])
    for i, guest in enumerate(guests):
        guest.says(f"I am {i}")
    for i, guest in enumerate(guests):
        lines = [guest.line() for _ in range(199 - i + 200)]
        equal(len({line for line in lines if line.startswith("<")}), 200)
    guests[7].says("/who")
    equal(sorted(guests[7].line().split()[3:]), sorted(f"g{i}" for i in range(200)))


def test_resets():
    """Connections that are reset at any moment leave no trace."""
    server = room()
    ann = Guest(server, "ann")
    for i in range(20):
        guest = Guest(server, f"g{i}" if i % 2 else None)
        guest.sock.sendall(b"half")
        reset(guest.sock)
    told = sorted(ann.line().split()[1] for _ in range(20))
    equal(told, sorted([f"g{i}" for i in range(1, 20, 2)] * 2))
    server.alive()


def test_out_of_descriptors():
    """When descriptors run out it says so, and takes clients again once some are free."""
    server = room(before=limit_files(40, 40))
    socks = [server.connect() for _ in range(60)]
    wait_for(lambda: "cannot take a connection: Too many open files" in server.err(), "the message")
    for sock in socks:
        sock.close()
    time.sleep(0.3)
    Guest(server, "ann")


def test_stops():
    """SIGTERM and SIGINT end it with status 0: everyone is told, and stuck clients do not count."""
    for number in signal.SIGTERM, signal.SIGINT:
        server = room("--rate", 0, "--linger", 0.5)
        ann, nobody = Guest(server, "ann"), Guest(server)
        equal(nobody.line(), "* welcome; who are you?")
        server.child.send_signal(number)
        equal(server.child.wait(5), 0, server.err())
        equal(ann.hears(None)[-1], "* the room closes")
        nobody.hears(None)


def test_wrong_arguments():
    """Wrong arguments are told in one line, with status 2; --help is not an error."""
    server = room()
    for args, why in ((["--port", "http"], "--port wants a number from 0 to 65535, not \"http\""),
                      (["--queue", "0"], "--queue wants"), (["--login", "x"], "--login wants"),
                      (["--port", str(server.port)], "Address already in use"),
                      (["--nonsense"], "nonsense"), (["file"], "file is no option; try --help")):
        r = run("chat_room", *args)
        equal((r.status, r.out), (2, ""), args)
        equal(len(r.err.splitlines()), 1, r.err)
        check("chat_room: " in r.err and why in r.err, why, "is not in", r.err)
    r = run("chat_room", "--help")
    equal((r.status, r.err), (0, ""))
    matches("^usage: chat_room", r.out)
