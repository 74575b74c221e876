"""test_server.py - static_server, asked by curl and by raw sockets.
SPDX-License-Identifier: MIT"""

import os
import socket
import threading
import time

from kit import *

PAGE = b"<title>home</title>\n" * 40


def site():
    """A tree to serve, beside a file that must never be served."""
    root = os.path.join(directory(), "www")
    write(root + "/../secret.txt", "the secret")
    write(root + "/index.html", PAGE)
    write(root + "/sub/index.html", "sub index")
    write(root + "/bare/data.json", '{"a": 1}')
    write(root + "/empty.txt", "")
    write(root + "/with space & 100%.txt", "odd name")
    write(root + "/\u00fcmlaut.md", "umlaut")
    write(root + "/big.bin", bytes(i * 7 % 251 for i in range(8 << 20 >> 3)) * 8)
    os.mkfifo(root + "/fifo")
    return root


def serve(*args, **more):
    root = site()
    server = Server("static_server", "--root", root, "--port", 0, *args, **more)
    server.root = root
    return server


def ask(server, data, half_close=False):
    """Send bytes on a connection of their own, and return the answer up to its end."""
    sock = server.connect()
    sock.sendall(data)
    if half_close:
        sock.shutdown(socket.SHUT_WR)
    return receive(sock)


def status(answer):
    check(answer.startswith(b"HTTP/1.1 "), "this is no answer:", answer[:100])
    return int(answer[9:12])


def get(path, more="", version="1.1"):
    return f"GET {path} HTTP/{version}\r\nHost: x\r\n{more}Connection: close\r\n\r\n".encode()


def test_get():
    """A page comes whole, with its type, length and date."""
    server = serve()
    head, _, body = curl("-i", server.url("")).partition(b"\r\n\r\n")
    equal(body, PAGE)
    fields = head.decode().split("\r\n")
    equal(fields[0], "HTTP/1.1 200 OK")
    for line in ("Content-Type: text/html; charset=utf-8", f"Content-Length: {len(PAGE)}",
                 "Connection: keep-alive"):
        check(line in fields, line, "is not in", fields)
    matches(r"^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r?$", head.decode())


def test_head():
    """HEAD tells the length and sends no body; the connection goes on."""
    server = serve()
    head = curl("-I", server.url("big.bin"))
    check(b"Content-Length: 8388608\r\n" in head, head)
    answer = ask(server, b"HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n" + get("/empty.txt"))
    equal(answer.count(b"HTTP/1.1 "), 2)
    equal(answer.count(b"404"), 1, answer)
    check(answer.endswith(b"\r\n\r\n"), answer)


def test_files():
    """Index pages, types, empty and large files, percent-encoded names, a query to ignore."""
    server = serve()
    for path, body in (("sub/", b"sub index"), ("index.html?x=/../y", PAGE), ("empty.txt", b""),
                       ("./sub/.", b"sub index"), ("with%20space%20%26%20100%25.txt", b"odd name"),
                       ("%C3%BCmlaut.md", b"umlaut"), ("bare//data.json", b'{"a": 1}'),
                       ("big.bin", read(server.root + "/big.bin"))):
        check(curl("-f", server.url(path)) == body, path, "is wrong")
    types = {"bare/data.json": "application/json", "empty.txt": "text/plain; charset=utf-8",
             "big.bin": "application/octet-stream"}
    for path, kind in types.items():
        equal(curl("-o", "/dev/null", "-w", "%{content_type}", server.url(path)).decode(), kind)


def test_keep_alive():
    """Requests share a connection, also when sent all at once; HTTP/1.0 closes unless asked."""
    server = serve()
    out = curl("-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ",
               server.url(""), server.url("none"), server.url("sub/"))
    equal(out, b"1 0 0 ")
    answer = ask(server, b"GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + get("/empty.txt"))
    equal(answer.count(b"HTTP/1.1 200 OK\r\n"), 4)
    equal(answer.count(b"sub index"), 3)
    check(b"Connection: close" in ask(server, b"GET / HTTP/1.0\r\n\r\n"), "HTTP/1.0 is kept")
    kept = ask(server, b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
                       b"GET /none HTTP/1.0\r\n\r\n")
    equal(kept.count(b"HTTP/1.1 "), 2)


def test_redirect():
    """A directory without its slash is a redirect that keeps the query and the host."""
    server = serve()
    for path, location in (("/sub", "/sub/"), ("/sub?q=1", "/sub/?q=1"), ("//sub", "/sub/"),
                           ("/s%75b", "/sub/")):
        answer = ask(server, get(path)).decode()
        equal(answer[9:12], "301", path)
        check(f"\r\nLocation: {location}\r\n" in answer, path, answer)
    equal(curl("-L", server.url("sub")), b"sub index")


def test_not_found():
    """What is no page is a 404, and the connection goes on; opening a FIFO does not wait."""
    server = serve()
    for path in ("/none", "/bare/", "/index.html/", "/index.html/x", "/fifo", "/" + "a" * 300,
                 "/%2fnone"):
        answer = ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + get("/sub/"))
        equal(status(answer), 404, path)
        check(answer.endswith(b"sub index"), "no second answer after", path)


def test_traversal():
    """No path leads out of the root."""
    server = serve()
    for path in ("/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt",
                 "/..%2fsecret.txt", "/%2E./secret.txt", "/.%2e%2fsecret.txt", "//../secret.txt",
                 "/sub/..", "/./../secret.txt", "http://x/../secret.txt",
                 "http://x/..%2fsecret.txt"):
        answer = ask(server, get(path))
        equal(status(answer), 400, path)
        check(b"the secret" not in answer, path)
    for path in ("//etc/passwd", "/..secret.txt", "/...", "/%252e%252e/secret.txt",
                 "/..%5csecret.txt"):
        equal(status(ask(server, get(path))), 404, path)


REFUSED = (
    (400, b"GET /\r\n\r\n"),
    (400, b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n"),
    (400, b" GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"nonsense\r\n\r\n"),
    (400, b"GET / SMTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET index.html HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET /% HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET /index.html%00.png HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET /a\x1b[2J HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\nName : y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n"),
    (405, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    (405, b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (405, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    (405, b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (413, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    (413, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 9000 + b"\r\n\r\n"),
    (431, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 8000 + b"\r\n"),
    (501, b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (501, b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (501, b"get / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
)


def test_refusals():
    """What it cannot take is refused with the right status, and the connection is closed."""
    server = serve()
    for want, data in REFUSED:
        answer = ask(server, data)
        equal(status(answer), want, data[:60])
        equal(answer.count(b"HTTP/1.1 "), 1, data[:60])
        check(b"\r\nConnection: close\r\n" in answer, data[:60])
        check(want != 405 or b"\r\nAllow: GET, HEAD\r\n" in answer, answer)
    server.alive()


def test_refusal_reaches_a_client_that_still_sends():
    """The answer to a request that is too long arrives, although its bytes are still coming."""
    server = serve()
    for _ in range(5):
        equal(status(ask(server, b"GET / HTTP/1.1\r\nA: " + b"b" * 50000)), 431)


def test_accepted_oddities():
    """Strange but right: bare newlines, leading empty lines, tabs, an absolute target."""
    server = serve()
    for data in (b"GET /sub/ HTTP/1.1\nHost: x\nConnection: close\n\n",
                 b"\r\n\r\n" + get("/sub/"),
                 b"GET http://x/sub/ HTTP/1.1\r\nHost:\tx \r\nconnection: a, CLOSE\r\n\r\n",
                 get("/sub/", "Content-Length: 0\r\n"),
                 b"GET /sub/ HTTP/1.0\r\n\r\n"):
        check(ask(server, data).endswith(b"sub index"), data)


def test_byte_by_byte():
    """A request that comes one byte at a time is answered as any other."""
    server = serve()
    sock = server.connect()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in get("/sub/"):
        sock.sendall(bytes([byte]))
        time.sleep(0.002)
    check(receive(sock).endswith(b"sub index"), "no page")


def test_half_close():
    """A client that closes its half after the request gets its answer; within it, a 400."""
    server = serve()
    answer = ask(server, b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True)
    check(answer.endswith(read(server.root + "/big.bin")), "the file is not whole")
    equal(status(ask(server, b"GET / HTT", half_close=True)), 400)
    equal(ask(server, b"", half_close=True), b"")


def test_reset():
    """A client that vanishes in the middle of a large answer harms nobody."""
    server = serve()
    for _ in range(10):
        sock = server.connect()
        sock.sendall(get("/big.bin"))
        sock.recv(1000)
        reset(sock)
        reset(server.connect())
    check(ask(server, get("/sub/")).endswith(b"sub index"), "no answer afterwards")
    server.alive()


def test_idle():
    """A silent client is closed after the idle time; within a request, with a 408."""
    server = serve("--idle-ms", 300)
    start = time.monotonic()
    equal(ask(server, b""), b"")
    equal(status(ask(server, b"GET / HTTP/1.1\r\nHo")), 408)
    answer = ask(server, b"GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n")
    check(answer.endswith(b"sub index"), answer)
    check(0.8 < time.monotonic() - start < 5, "it took", time.monotonic() - start)
    sock = server.connect()
    start = time.monotonic()
    for byte in get("/sub/"):
        try:
            sock.sendall(bytes([byte]))
        except OSError:
            break
        time.sleep(0.05)
    check(time.monotonic() - start < 2, "a byte now and then kept the connection")


def test_slow_reader():
    """A client that does not read is closed after the idle time, a slow one is not."""
    server = serve("--idle-ms", 300)
    stuck, slow = server.connect(), server.connect()
    for sock in stuck, slow:
        sock.sendall(get("/big.bin"))
    got, size = b"", 8 << 20
    while len(got) < size:
        part = slow.recv(512 << 10)
        check(part, "closed after", len(got))
        got += part
        time.sleep(0.02)
    time.sleep(0.4)
    check(len(receive(stuck)) < size, "a client that never read got it all")


def test_delay():
    """--delay-ms holds each answer back, but not one for the other."""
    server = serve("--delay-ms", 200)
    start = time.monotonic()
    socks = [server.connect() for _ in range(50)]
    for sock in socks:
        sock.sendall(get("/sub/"))
    for sock in socks:
        check(receive(sock).endswith(b"sub index"), "no page")
    check(0.2 <= time.monotonic() - start < 2, "fifty answers took", time.monotonic() - start)


def test_many_connections():
    """A thousand connections at once are served, although the soft limit of descriptors is 256."""
    server = serve(before=limit_files(256, 4096))
    socks = [server.connect() for _ in range(1000)]
    for sock in socks:
        sock.sendall(b"GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n")
    for sock in socks:
        check(sock.recv(4096).startswith(b"HTTP/1.1 200 OK"), "no page")
    for sock in socks:
        sock.close()


def test_out_of_descriptors():
    """When descriptors run out it says so, and serves on once some are free."""
    server = serve(before=limit_files(40, 40))
    socks = [server.connect() for _ in range(60)]
    wait_for(lambda: "cannot take a connection: Too many open files" in server.err(), "the message")
    for sock in socks:
        sock.close()
    wait_for(lambda: ask(server, get("/sub/")).endswith(b"sub index"), "a page")


def test_workers():
    """With two workers it serves as well."""
    server = serve("--workers", 2)
    results = []

    def client():
        results.append(all(ask(server, get("/sub/")).endswith(b"sub index") for _ in range(25)))
    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(results, [True] * 8)


def test_hosts():
    """It listens where it is told, and says so."""
    equal(serve("--host", "localhost").port > 0, True)
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        raise Skip("there is no IPv6 loopback")
    server = serve("--host", "::1")
    equal(server.authority, f"[::1]:{server.port}")
    equal(curl(server.url("sub/")), b"sub index")


def test_wrong_arguments():
    """Wrong arguments are told in one line, with status 2; --help is not an error."""
    server = serve()
    for args, why in ((["--root", "/nonexistent"], "cannot serve /nonexistent: No such file"),
                      (["--root", "/etc/passwd"], "cannot serve /etc/passwd: Not a directory"),
                      (["--port", "http"], "--port wants a number from 0 to 65535, not \"http\""),
                      (["--port", "65536"], "--port wants"), (["--port", ""], "--port wants"),
                      (["--port", str(server.port)], "Address already in use"),
                      (["--host", "example.com"], "cannot listen on example.com:8000"),
                      (["--delay-ms", "1e3"], "--delay-ms wants"), (["--nonsense"], "nonsense"),
                      (["file"], "file is no option; try --help"), (["--root"], "root")):
        r = run("static_server", *args)
        equal((r.status, r.out), (2, ""), args)
        equal(len(r.err.splitlines()), 1, r.err)
        check("static_server: " in r.err and why in r.err, why, "is not in", r.err)
    r = run("static_server", "--help")
    equal((r.status, r.err), (0, ""))
    matches("^usage: static_server", r.out)


def test_stops():
    """SIGTERM and SIGINT end it at once, also with connections open."""
    for number in signal.SIGTERM, signal.SIGINT:
        server = serve()
        sock = server.connect()
        sock.sendall(b"GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.recv(100)
        server.child.send_signal(number)
        equal(server.child.wait(3), -number)
