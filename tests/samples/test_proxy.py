"""test_proxy.py - http_proxy, between curl, nginx and peers that misbehave.
SPDX-License-Identifier: MIT"""

import os
import re
import signal
import socket
import subprocess
import threading
import time

from kit import *


def proxy(*args, **more):
    return Server("http_proxy", "--port", 0, *args, **more)


def through(server, *args):
    """curl by way of the proxy."""
    return curl("-x", server.authority, "--noproxy", "", *args)


def ask(server, data, half_close=False):
    """Send bytes on a connection of their own, and return the answer up to its end."""
    sock = server.connect()
    try:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has been refused before all of it was sent
    return receive(sock)


def status(answer):
    check(answer.startswith(b"HTTP/1.1 "), "this is no answer:", answer[:100])
    return int(answer[9:12])


def get(url, more=""):
    return f"GET {url} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n".encode()


def body_of(sock, head):
    """Read the body of a request; in chunks, as they come."""
    found = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    file = sock.makefile("rb")
    if found:
        return file.read(int(found[1]))
    body = b""
    while b"Transfer-Encoding: chunked" in head and (size := int(file.readline(), 16)):
        body += file.read(size)
        equal(file.readline(), b"\r\n")
    return body


class Upstream(Script):
    """A server that keeps what it was asked, and answers with the body that it got."""

    def __init__(self):
        self.heads, self.bodies = [], []
        super().__init__(self.answer)

    def answer(self, sock, _):
        head = request_of(sock)
        if not head:
            return
        self.heads.append(head)
        if b"Expect: 100-continue" in head:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = body_of(sock, head)
        self.bodies.append(body)
        text = body if not head.startswith(b"HEAD") else b""
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + text)


def test_against_nginx():
    """Pages come whole: small and large, by length and in chunks, many at once and in a row."""
    root = directory()
    big = bytes(i * 7 % 251 for i in range(1 << 20)) * 8
    os.chmod(root, 0o755)
    write(f"{root}/small.html", "small")
    write(f"{root}/big.html", big)
    port, server = nginx(root), proxy()
    base = f"http://127.0.0.1:{port}"
    equal(through(server, f"{base}/small.html"), b"small")
    for path in "big.html", "ssi/big.html":
        check(through(server, f"{base}/{path}") == big, path, "is wrong")
        check(through(server, "--http1.0", f"{base}/{path}") == big, path, "is wrong by HTTP/1.0")
        check(through(server, "-p", f"{base}/{path}") == big, path, "is wrong by CONNECT")
    head = through(server, "-I", f"{base}/big.html")
    check(b"Content-Length: 8388608\r\n" in head, head)
    equal(through(server, "-o", "/dev/null", "-w", "%{http_code}", f"{base}/none"), b"404")
    out = through(server, "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-w",
                  "%{num_connects} ", f"{base}/small.html", f"{base}/ssi/small.html",
                  f"{base}/none")
    equal(out, b"1 0 0 ")
    many = [f"{base}/small.html"] * 100
    equal(through(server, "--parallel", "--parallel-max", "50", *many), b"small" * 100)


def test_heads():
    """What is between two neighbours only is not passed on, either way; what the URL says is."""
    answer = (b"HTTP/1.1 200 Fine\r\nX-Kept: 1\r\nConnection: X-Drop, close\r\nX-Drop: 1\r\n"
              b"Keep-Alive: timeout=5\r\nContent-Length: 2\r\nUpgrade: h2c\r\n\r\nok")
    heads = []

    def script(sock, _):
        heads.append(request_of(sock))
        sock.sendall(answer)
    upstream, server = Script(script), proxy()
    got = ask(server, f"GET HTTP://127.0.0.1:{upstream.port}?a=b HTTP/1.1\r\nHost: other\r\n"
                      "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n"
                      "TE: trailers\r\nUpgrade: h2c\r\nX-Mine: 1\r\nx-private: 2\r\n"
                      "Connection: close, X-Private\r\nConnection: Upgrade\r\n\r\n".encode())
    lines = heads[0].decode().split("\r\n")
    equal(lines[0], "GET /?a=b HTTP/1.1")
    via = matches(r"^Via: 1\.1 (coir-[0-9a-f]{16})\r?$", heads[0].decode())[1]
    equal(sorted(lines[1:-2]), sorted([f"Host: 127.0.0.1:{upstream.port}", "X-Mine: 1",
                                       f"Via: 1.1 {via}", "Connection: close"]))
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    equal((lines[0], body), ("HTTP/1.1 200 Fine", b"ok"))
    equal(sorted(lines[1:]), sorted(["X-Kept: 1", f"Via: 1.1 {via}", "Content-Length: 2",
                                     "Connection: close"]))


def test_bodies_up():
    """Bodies of requests arrive: by length, in chunks, large ones after 100 Continue; HEAD and the
    like work, too."""
    upstream, server = Upstream(), proxy()
    big = bytes(range(256)) * 20000
    path = f"{directory()}/big"
    write(path, big)
    equal(through(server, "-d", "a=b", upstream.url()), b"a=b")
    check(through(server, "-T", path, upstream.url()) == big, "PUT is wrong")
    check(b"Expect: 100-continue" in upstream.heads[-1], upstream.heads[-1])
    check(through(server, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{path}",
                  upstream.url()) == big, "chunks are wrong")
    check(b"Transfer-Encoding: chunked\r\n" in upstream.heads[-1] and
          b"Content-Length" not in upstream.heads[-1], upstream.heads[-1])
    equal(through(server, "-X", "DELETE", upstream.url()), b"")
    through(server, "-I", upstream.url())
    equal([head.split()[0] for head in upstream.heads],
          [b"POST", b"PUT", b"POST", b"DELETE", b"HEAD"])
    answer = ask(server, f"POST {upstream.url()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n00A\r\n0123456789\r\n"
                         "0\r\nTrailer: 1\r\n\r\n".encode())
    check(answer.endswith(b"\r\n\r\nabc0123456789"), answer)


def test_early_answer():
    """A server that refuses a body before it has come is heard at once."""
    def script(sock, _):
        request_of(sock)
        sock.sendall(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
        sock.settimeout(5)
        while sock.recv(65536):
            pass
    upstream, server = Script(script), proxy()
    sock = server.connect()
    sock.sendall(f"POST {upstream.url()} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
                 "only the beginning".encode())
    answer = receive(sock, 3)
    equal(status(answer), 413)
    check(answer.endswith(b"no"), answer)


def test_until_close():
    """An answer that ends with its connection comes in chunks to those who know them; when it is
    cut off nobody takes it for whole."""
    def whole(sock, _):
        request_of(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    def cut(sock, _):
        request_of(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the e")
        time.sleep(0.1)
        reset(sock)
    server, good, bad = proxy(), Script(whole), Script(cut)
    answer = ask(server, get(good.url()))
    check(b"Transfer-Encoding: chunked\r\n" in answer and
          answer.endswith(b"\r\nd\r\nuntil the end\r\n0\r\n\r\n"), answer)
    answer = ask(server, f"GET {good.url()} HTTP/1.0\r\n\r\n".encode())
    check(b"Transfer-Encoding" not in answer and answer.endswith(b"\r\n\r\nuntil the end"), answer)
    answer = ask(server, get(bad.url()))
    check(b"until" in answer and not answer.endswith(b"0\r\n\r\n"), answer)
    sock = server.connect()
    sock.sendall(f"GET {bad.url()} HTTP/1.0\r\n\r\n".encode())
    try:
        while sock.recv(4096):
            pass
        check(False, "the end of half a page looks like the end of the page")
    except ConnectionResetError:
        pass


def test_upstream_dies_in_a_body():
    """When a server dies in a body, the client learns that it is not whole."""
    for head, more in ((b"Content-Length: 100\r\n\r\n", b"half"),
                       (b"Transfer-Encoding: chunked\r\n\r\n", b"8\r\nhalf"),
                       (b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalfX\r\n0\r\n\r\n"),
                       (b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nhalf\r\nnonsense\r\n")):
        upstream, server = Script(says(b"HTTP/1.1 200 OK\r\n" + head + more)), proxy()
        answer = ask(server, get(upstream.url()))
        equal(status(answer), 200)
        check(b"half" in answer and not answer.endswith(b"0\r\n\r\n"), answer)
        done = subprocess.run(["curl", "-s", "-x", server.authority, "--noproxy", "",
                               upstream.url()], capture_output=True, timeout=10)
        check(done.returncode in (18, 56), "curl takes it for whole:", done)
        server.alive()


def test_no_answer():
    """Refused, silent, gone or senseless servers are a 502 or a 504, and say which."""
    def silent(sock, _):
        request_of(sock)
        sock.recv(1)

    def too_long(sock, _):
        request_of(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n")

    def resets(sock, _):
        request_of(sock)
        reset(sock)
    server = proxy("--idle", 0.4)
    for want, why, script in ((502, "closed the connection without", says(b"")),
                              (502, "not HTTP/1", says(b"SSH-2.0-x\r\n\r\n")),
                              (502, "Connection reset", resets),
                              (502, "Content-Length", says(b"HTTP/1.1 200 OK\r\nContent-Length: 1"
                                                           b"\r\nContent-Length: 2\r\n\r\nab")),
                              (502, "too long", too_long),
                              (502, "goes on", says(b"HTTP/1.1 101 Switch\r\n\r\n")),
                              (502, "goes on", says(b"HTTP/1.1 102 Wait\r\n\r\n" * 20)),
                              (504, "timed out", silent)):
        answer = ask(server, get(Script(script).url()))
        answer = answer[answer.rindex(b"HTTP/1.1"):]
        equal(status(answer), want, answer)
        check(why.encode() in answer, why, "is not in", answer)
    for port, want in ((free_port(), 502),):
        for data in get(f"http://127.0.0.1:{port}/"), b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" \
                b"Host: x\r\n\r\n" % port:
            answer = ask(server, data)
            equal(status(answer), want)
            check(b"Connection refused" in answer, answer)


def test_black_hole():
    """A server that does not even accept is a 504 after the connect time."""
    full = socket.socket()
    at_end(full.close)
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    for _ in range(3):
        filler = socket.socket()
        at_end(filler.close)
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    server = proxy("--connect", 0.5)
    for data in get(f"http://127.0.0.1:{port}/"), b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" \
            b"Host: x\r\n\r\n" % port:
        start = time.monotonic()
        equal(status(ask(server, data)), 504)
        check(0.4 < time.monotonic() - start < 4, time.monotonic() - start)


REFUSED = (
    (400, "GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET https://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET ftp://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http:/// HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://127.0.0.1:65536/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://127.0.0.1:http/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://127.0.0.1:80:80/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://user@127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://[::1]80/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, f"GET http://{'a' * 300}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://127.0.0.1/#x HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "CONNECT 127.0.0.1:0 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "CONNECT 127.0.0.1:99999 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "CONNECT http://127.0.0.1:80 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "CONNECT :80 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "nonsense\r\n\r\n"),
    (400, "G(T http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nName : y\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"),
    (400, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"),
    (400, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
    (400, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n"),
    (400, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
          "Content-Length: 2\r\n\r\n"),
    (400, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
          "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST http://127.0.0.1/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (501, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"),
    (501, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked"
          "\r\n\r\n"),
    (505, "GET http://127.0.0.1/ HTTP/2.0\r\nHost: x\r\n\r\n"),
    (431, f"GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nA: {'b' * 20000}\r\n\r\n"),
    (431, f"GET http://127.0.0.1/{'a' * 20000} HTTP/1.1\r\nHost: x\r\n\r\n"),
    (431, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 200 + "\r\n"),
    (431, "GET http://127.0.0.1/ HTTP/1.1\r\n" + "A: b\r\n" * 100000),
)


def test_refusals():
    """What is no request for a proxy is refused, with a status and in words."""
    server = proxy()
    for want, data in REFUSED:
        answer = ask(server, data.encode())
        equal(status(answer), want, data[:70])
        equal(answer.count(b"HTTP/1.1 "), 1, data[:60])
        check(b"\r\nConnection: close\r\n" in answer, data[:60])
    server.alive()


def test_loops():
    """The proxy is not asked for itself, directly or by way of another one."""
    server = proxy()
    for data in (get(server.url("")), get(f"http://localhost:{server.port}/"),
                 f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()):
        answer = ask(server, data)
        equal(status(answer), 508, data)
        check(b"this proxy itself" in answer, answer)

    def back(sock, _):
        head = request_of(sock).replace(b"GET /", b"GET http://127.0.0.1:%d/" % upstream.port, 1)
        sock.sendall(ask(server, head))
    upstream = Script(back)
    answer = ask(server, get(upstream.url("")))
    equal(status(answer), 508)
    check(b"it has been here before" in answer, answer)
    equal(upstream.count, 1)


def test_bad_body():
    """A client whose body is broken, or does not come, is told so, and the server is let go."""
    for body, want in (("zz\r\n", 400), ("3\r\nabcd\r\n0\r\n\r\n", 400), ("3\r\nab", 408)):
        ended = threading.Event()

        def script(sock, _):
            request_of(sock)
            while sock.recv(4096):
                pass
            ended.set()
        upstream, server = Script(script), proxy("--idle", 0.4)
        answer = ask(server, f"POST {upstream.url()} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                             f"chunked\r\n\r\n{body}".encode())
        equal(status(answer), want, body)
        check(ended.wait(3), "the server still waits")


def test_slow_upload():
    """A body that comes slowly, but comes, is not cut off while the server waits for it."""
    upstream, server = Upstream(), proxy("--idle", 0.4)
    sock = server.connect()
    sock.sendall(f"POST {upstream.url()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                 "Content-Length: 10\r\n\r\n".encode())
    for byte in b"0123456789":
        time.sleep(0.1)
        sock.sendall(bytes([byte]))
    check(receive(sock).endswith(b"\r\n\r\n0123456789"), "no echo")


def test_pipelined():
    """Requests that are sent at once are answered in turn, on one connection."""
    upstream, server = Upstream(), proxy()
    one = f"POST {upstream.url()} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%s"
    answer = ask(server, "".join(one % text for text in ("one", "two", "six")).encode()
                 + get(upstream.url()))
    equal(answer.count(b"HTTP/1.1 200 OK\r\n"), 4)
    equal(upstream.bodies, [b"one", b"two", b"six", b""])


def test_idle_clients():
    """A client that sends nothing is closed, one that stops in a head gets a 408, or a 400."""
    server = proxy("--idle", 0.3)
    equal(ask(server, b""), b"")
    equal(status(ask(server, b"GET http://127.0.0.1/ HT")), 408)
    equal(status(ask(server, b"GET http://127.0.0.1/ HT", half_close=True)), 400)
    sock = server.connect()
    start = time.monotonic()
    for byte in get("http://127.0.0.1/" + "a" * 100):
        try:
            sock.sendall(bytes([byte]))
        except OSError:
            break
        time.sleep(0.05)
    check(time.monotonic() - start < 3, "a byte now and then kept the connection")


def tunnel(server, port, data=b""):
    sock = server.connect()
    sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port + data)
    head = request_of(sock)
    equal(head, b"HTTP/1.1 200 Connection established\r\n\r\n")
    return sock


def test_tunnel():
    """Bytes go both ways, those behind the request's head, too; each half is closed on its own."""
    def script(sock, _):
        data = receive(sock)
        sock.sendall(data[::-1])
    upstream, server = Script(script), proxy()
    sock = tunnel(server, upstream.port, b"early ")
    sock.sendall(b"late")
    sock.shutdown(socket.SHUT_WR)
    equal(receive(sock), b"etal ylrae")

    def talks_first(sock, _):
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        said.append(receive(sock))
    said, upstream = [], Script(talks_first)
    sock = tunnel(server, upstream.port)
    equal(receive(sock), b"hello")
    sock.sendall(b"I can still talk")
    sock.close()
    wait_for(lambda: said == [b"I can still talk"], said)


def test_tunnel_much():
    """Megabytes go both ways at once."""
    def echo(sock, _):
        while data := sock.recv(65536):
            sock.sendall(data)
    upstream, server = Script(echo), proxy()
    data = bytes(range(256)) * 32768
    sock = tunnel(server, upstream.port)

    def send():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=send)
    thread.start()
    check(receive(sock) == data, "the echo is wrong")
    thread.join()


def test_tunnel_breaks():
    """When either end of a tunnel dies the other one is closed soon; silence ends it, too, but not
    as long as one direction is in use."""
    ended = threading.Event()

    def script(sock, _):
        try:
            while sock.recv(4096):
                pass
        finally:
            ended.set()
    upstream, server = Script(script), proxy("--idle", 0.5)
    sock = tunnel(server, upstream.port, b"something")
    time.sleep(0.1)
    reset(sock)
    check(ended.wait(3), "the server still waits for a dead client")
    ended.clear()
    start = time.monotonic()
    equal(receive(tunnel(server, upstream.port)), b"")
    check(0.4 < time.monotonic() - start < 4, "silence lasted", time.monotonic() - start)

    def dies(sock, _):
        sock.recv(4096)
        reset(sock)
    sock = tunnel(server, Script(dies).port, b"something")
    equal(receive(sock, 3), b"")

    def drips(sock, _):
        for _ in range(10):
            time.sleep(0.1)
            sock.sendall(b"x")
    equal(receive(tunnel(server, Script(drips).port)), b"x" * 10)
    server.alive()


def test_slow_reader():
    """A client that does not read is given up after the idle time, a slow one is not."""
    size = 8 << 20
    upstream, server = Script(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
                                   + bytes(size))), proxy("--idle", 0.4)
    stuck, slow = server.connect(), server.connect()
    for sock in stuck, slow:
        sock.sendall(get(upstream.url()))
    got = 0
    while got < size:
        part = slow.recv(512 << 10)
        check(part, "closed after", got)
        got += len(part)
        time.sleep(0.02)
    time.sleep(0.5)
    check(len(receive(stuck)) < size, "a client that never read got it all")


def test_resets():
    """Clients that vanish at any moment harm nobody."""
    upstream, server = Upstream(), proxy()
    for data in (b"", b"GET ht", get(upstream.url()), get(upstream.url())[:-2],
                 f"POST {upstream.url()} HTTP/1.1\r\nHost: x\r\n"
                 "Content-Length: 9\r\n\r\nab".encode(),
                 f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) * 5:
        sock = server.connect()
        sock.sendall(data)
        reset(sock)
    equal(through(server, "-d", "still there", upstream.url()), b"still there")
    server.alive()


def test_out_of_descriptors():
    """When descriptors run out it says so, and serves on once some are free."""
    upstream, server = Upstream(), proxy(before=limit_files(40, 40))
    socks = [server.connect() for _ in range(60)]
    wait_for(lambda: "cannot take a connection: Too many open files" in server.err(), "the message")
    for sock in socks:
        sock.close()
    wait_for(lambda: ask(server, get(upstream.url())).startswith(b"HTTP/1.1 200"), "an answer")


def test_workers():
    """With several workers it is the same."""
    upstream, server = Upstream(), proxy("--workers", 3)
    urls = [upstream.url()] * 200
    out = through(server, "--parallel", "--parallel-max", "40", "-d", "abc", *urls)
    equal(out, b"abc" * 200)


def test_ipv6():
    """Servers and the proxy itself may have IPv6 addresses."""
    try:
        upstream = Script(says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nsix"), "::1")
    except OSError:
        raise Skip("there is no IPv6 loopback")
    server = proxy("--host", "::1")
    equal(through(server, f"http://[::1]:{upstream.port}/"), b"six")
    equal(status(ask(server, get(f"http://[::1]:{server.port}/"))), 508)


def test_stops():
    """SIGTERM and SIGINT end it at once with status 0, also with tunnels and requests open."""
    def silent(sock, _):
        sock.recv(4096)
        sock.recv(4096)
    for number in signal.SIGTERM, signal.SIGINT:
        upstream, server = Script(silent), proxy()
        tunnel(server, upstream.port, b"x")
        server.connect().sendall(get(upstream.url()))
        server.connect()
        time.sleep(0.1)
        server.child.send_signal(number)
        equal(server.child.wait(3), 0, server.err())


def test_wrong_arguments():
    """Wrong arguments are told in one line, with status 2; --help is not an error."""
    server = proxy()
    for args, why in ((["--port", "http"], "--port wants a number from 0 to 65535, not \"http\""),
                      (["--idle", "0"], "--idle wants seconds"),
                      (["--port", str(server.port)], "Address already in use"),
                      (["--nonsense"], "nonsense"), (["file"], "file is no option; try --help")):
        r = run("http_proxy", *args)
        equal((r.status, r.out), (2, ""), args)
        equal(len(r.err.splitlines()), 1, r.err)
        check("http_proxy: " in r.err and why in r.err, why, "is not in", r.err)
    r = run("http_proxy", "--help")
    equal((r.status, r.err), (0, ""))
    matches("^usage: http_proxy", r.out)
