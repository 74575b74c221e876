"""test_answers.py - fetch_many and the answers of servers: every framing, every way to be wrong.
SPDX-License-Identifier: MIT"""

import os
import socket
import time

from kit import *

OK = b"HTTP/1.1 200 OK\r\n"


def fetch(*args, **more):
    return run("fetch_many", *args, **more)


def failure(script, cause):
    """Fetch from a server that misbehaves: status 1, one line with the cause, nothing stored."""
    server = Script(script)
    store = directory()
    r = fetch("-q", "-t", 5, "-o", store, server.url())
    equal((r.status, r.out), (1, ""), f"{cause}: {r}")
    equal(r.err, f"fetch_many: {server.url()}: {cause}\n")
    equal([f for _, _, fs in os.walk(store) for f in fs], [], "stored files")


CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FIVE = b"Content-Length: 5\r\n\r\nhello"
GOOD = (
    ("until close", OK + b"\r\nhello"),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello"),
    ("length", OK + b"content-length:  5 \r\n\r\nhello"),
    ("no reason", b"HTTP/1.1 200\r\n" + FIVE),
    ("same length twice", OK + b"Content-Length: 5\r\n" + FIVE),
    ("bare newlines", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    ("more than its length", OK + FIVE + b" and more"),
    ("chunks", CHUNKS + b"2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\n\r\n"),
    ("trailer", CHUNKS + b"5 \r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n"),
    ("chunks and length", OK + b"Content-Length: 99\r\nTransfer-Encoding: Chunked\r\n\r\n"
                          b"5\r\nhello\r\n0\r\n\r\n"),
    ("interim", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK + FIVE),
    ("other success", b"HTTP/1.1 203 Well\r\n" + FIVE),
)


def test_framings():
    """Every way to send a body is understood, at once and one byte at a time."""
    for what, answer in GOOD:
        def slowly(sock, _, answer=answer):
            request_of(sock)
            for byte in answer:
                sock.sendall(bytes([byte]))
                time.sleep(0.0005)
        for script in says(answer), slowly:
            server = Script(script)
            r = fetch("-q", "--sums", server.url())
            equal((r.status, r.out), (0, f"{cksum(b'hello')} 5 {server.url()}\n"), f"{what}: {r}")
    server = Script(says(b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"))
    equal(fetch("-q", "--sums", server.url()).out, f"{cksum(b'')} 0 {server.url()}\n")


def test_stale_connection():
    """A kept connection that turns out dead is replaced, once; a new one that dies is not."""
    def once(sock, _):
        request_of(sock)
        sock.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        request_of(sock)
    server = Script(once)
    r = fetch("-j", 1, *[server.url()] * 5)
    equal(r.status, 0, r)
    equal(server.count, 5, "connections")

    def first_only(sock, number):
        request_of(sock)
        if number == 1:
            sock.sendall(OK + b"Content-Length: 2\r\n\r\nok")
            request_of(sock)
    server = Script(first_only)
    r = fetch("-q", "-j", 1, server.url("a"), server.url("b"), server.url("c"))
    equal(r.status, 1)
    equal(r.err, "".join(f"fetch_many: {server.url(x)}: could not read the answer's header: "
                         "the server closed the connection without a word\n" for x in "bc"))
    equal(server.count, 3, "connections")


def test_unasked_answer():
    """What a server sends unasked on a kept connection is never taken for the next page."""
    for page in OK + FIVE, b"HTTP/1.1 404 No\r\n" + FIVE:
        for pause in 0, 0.1:
            def script(sock, _, page=page, pause=pause):
                while head := request_of(sock):
                    sock.sendall(page if b"/first" in head else OK + FIVE)
                    time.sleep(pause)
                    sock.sendall(OK + b"Content-Length: 4\r\n\r\nevil")
            server = Script(script)
            slow = Script(lambda sock, _: (time.sleep(0.3), says(OK + FIVE)(sock, _)))
            urls = [server.url("first"), slow.url(), server.url("last")]
            r = fetch("-q", "-j", 1, "--sums", *urls)
            check(f" 4 {urls[2]}" not in r.out and f" 5 {urls[2]}\n" in r.out, r)


HEADER = "could not read the answer's header: "
BODY = "could not read the body: "
ANSWERED = "the server answered: "


BROKEN = (
    (b"", HEADER + "the server closed the connection without a word"),
    (b"HTTP/1.1 200 O", HEADER + "the server closed the connection too early"),
    (OK + b"Content-Length: 5\r\n", HEADER + "the server closed the connection too early"),
    (b"SSH-2.0-OpenSSH\r\n\r\n", HEADER + "this is not HTTP/1"),
    (b"HTTP/2 200 OK\r\n\r\n", HEADER + "this is not HTTP/1"),
    (b"HTTP/1.1 2x0 OK\r\n\r\n", HEADER + "the status is not a number"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", HEADER + "the status is not a number"),
    (b"HTTP/1.1 101 Switching\r\n\r\n", HEADER + "nobody asked for the answer 101 Switching"),
    (b"HTTP/1.1 100 Go\r\n\r\n" * 20, HEADER + "nobody asked for the answer 100 Go"),
    (OK + b"no colon\r\n\r\n", HEADER + "a header line is not \"name: value\""),
    (OK + b"A: b\0c\r\n\r\n", HEADER + "a line holds a NUL byte"),
    (OK + b"Content-Length: 5x\r\n\r\nhello", HEADER + "Content-Length is not a number"),
    (OK + b"Content-Length: -5\r\n\r\nhello", HEADER + "Content-Length is not a number"),
    (OK + b"Content-Length: 9999999999999999999\r\n\r\n",
     HEADER + "Content-Length is not a number"),
    (OK + b"Content-Length: 6\r\n" + FIVE, HEADER + "there are two different Content-Lengths"),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
     HEADER + "its Transfer-Encoding is not plain \"chunked\""),
    (OK + b"A: " + b"b" * 20000 + b"\r\n\r\n", HEADER + "it is longer than 16384 bytes"),
    (OK + b"A: b\r\n" * 8000, HEADER + "it is longer than 16384 bytes"),
    (OK + b"Content-Length: 100\r\n\r\nhello",
     BODY + "the server closed the connection 95 bytes too early"),
    (CHUNKS, BODY + "the server closed the connection too early"),
    (CHUNKS + b"5\r\nhel", BODY + "the server closed the connection 2 bytes too early"),
    (CHUNKS + b"5\r\nhello\r\n", BODY + "the server closed the connection too early"),
    (CHUNKS + b"5\r\nhello\r\n0\r\n", BODY + "the server closed the connection too early"),
    (CHUNKS + b"x\r\nhello\r\n", BODY + "a chunk's size is not a number"),
    (CHUNKS + b"-5\r\nhello\r\n", BODY + "a chunk's size is not a number"),
    (CHUNKS + b"0x5\r\nhello\r\n", BODY + "a chunk's size is not a number"),
    (CHUNKS + b"fffffffffffffffff\r\nhello\r\n", BODY + "a chunk's size is not a number"),
    (CHUNKS + b"3\r\nhello\r\n0\r\n\r\n", BODY + "a chunk is longer than its size says"),
    (CHUNKS + b"5" * 20000, BODY + "a line is longer than 16384 bytes"),
    (CHUNKS + b"0\r\n" + b"A: b\r\n" * 100, BODY + "the trailer is longer than 64 lines"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", ANSWERED + "404 Not Found"),
    (b"HTTP/1.0 500 Oops\r\n\r\nsorry", ANSWERED + "500 Oops"),
    (b"HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n", ANSWERED + "302 Found"),
    (b"HTTP/1.1 418 \x1b[31mtea\x07\xff\r\n\r\n", ANSWERED + "418 ?[31mtea??"),
)


def test_broken_answers():
    """Each way an answer can be wrong is a failure that says what was wrong; nothing is stored."""
    for answer, cause in BROKEN:
        failure(says(answer), cause)


def test_reset():
    """A connection that is reset is a failure with the network's word."""
    def script(sock, _):
        request_of(sock)
        sock.sendall(OK + b"Content-Length: 100\r\n\r\nhello")
        time.sleep(0.2)
        reset(sock)
    failure(script, BODY + "Connection reset by peer")


def test_deadline():
    """Twenty servers that stall, in the header or in the body, cost one deadline, not twenty."""
    def silent(sock, _):
        request_of(sock)
        time.sleep(20)

    def half(sock, _):
        request_of(sock)
        sock.sendall(OK + b"Content-Length: 100\r\n\r\nhello")
        time.sleep(20)

    def drip(sock, _):
        request_of(sock)
        sock.sendall(OK + b"\r\n")
        while True:
            sock.sendall(b"x")
            time.sleep(0.02)
    late, servers = "the deadline (-t) passed", [Script(s) for s in (silent, half, drip)]
    good = Script(says(OK + b"Content-Length: 2\r\n\r\nok"))
    r = fetch("-t", "0.5", "-j", 50, *[s.url(i) for i in range(7) for s in servers], good.url())
    equal(r.status, 1, r)
    for server, cause in zip(servers, (HEADER + late, BODY + late, BODY + late)):
        equal(r.err.count(f":{server.port}/"), 7)
        equal(r.err.count(cause), 7 if cause.startswith(HEADER) else 14, r.err)
    matches("^1 page, 2 B, 21 failed", r.err)
    check(0.5 <= r.seconds < 3, "it took", r.seconds)


def test_deadline_while_connecting():
    """A server that takes no connection costs one deadline, too."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        r = fetch("-q", "-t", "0.4", *[f"http://127.0.0.1:{port}/{i}" for i in range(3)])
        for sock in waiting:
            sock.close()
    equal(r.status, 1, r)
    equal(r.err.count("could not connect: the deadline (-t) passed\n"), 3, r)
    check(0.4 <= r.seconds < 2, "it took", r.seconds)
