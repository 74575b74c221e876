"""test_fetch.py - fetch_many against static_server, nginx and python's http.server; its options.
SPDX-License-Identifier: MIT"""

import fcntl
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import time

from kit import *

OK = b"HTTP/1.1 200 OK\r\n"


def fetch(*args, **more):
    return run("fetch_many", *args, **more)


def tree(pages):
    """A directory with so many pages of different lengths, 0 to 60 kB."""
    root = directory()
    for i in range(pages):
        write(f"{root}/d{i % 7}/p{i}.html", (f"page {i} " * (i * i * 31 % 7000)).encode())
    return root


def names(pages):
    return [f"d{i % 7}/p{i}.html" for i in range(pages)]


def check_sums(out, root, authority, paths):
    """The output of --sums names every page once, in order, with the right length and checksum."""
    want = subprocess.run(["cksum", *paths], cwd=root, capture_output=True, check=True, text=True)
    got = out.replace(f"http://{authority}/", "").splitlines()
    equal(len(got), len(paths), "lines")
    for line, right in zip(got, want.stdout.splitlines()):
        equal(line, right)


def check_stored(store, root, authority, paths):
    for path in paths:
        check(read(f"{store}/{authority}/{path}") == read(f"{root}/{path}"), path, "differs")
    files = [f for _, _, fs in os.walk(store) for f in fs]
    equal(len(files), len(paths), "stored files")


def test_against_static_server():
    """Three hundred pages come right, over kept connections, by thirty fibers on one OS thread."""
    root = tree(300)
    server = Server("static_server", "--root", root, "--port", 0)
    r = fetch("-j", 30, "--sums", *[server.url(n) for n in names(300)])
    equal(r.status, 0, r)
    check_sums(r.out, root, server.authority, names(300))
    size = sum(os.path.getsize(f"{root}/{n}") for n in names(300))
    first, second = r.err.splitlines()
    matches(rf"^300 pages, {size / 1e6:.1f} MB, 0 failed, in \d+\.\d\d s: \d+ pages/s "
            "over 30 connections$", first)
    equal(second, f"30 fibers on 1 worker; OS threads used: {1 + QEMU_THREADS}")


def test_workers():
    """The same with two workers: two OS threads, and ThreadSanitizer's."""
    threads = (3 if "thread" in os.environ.get("SAN", "") else 2) + QEMU_THREADS
    root = tree(300)
    server = Server("static_server", "--root", root, "--port", 0)
    r = fetch("-j", 30, "-w", 2, "--sums", *[server.url(n) for n in names(300)])
    equal(r.status, 0, r)
    check_sums(r.out, root, server.authority, names(300))
    matches(f"^30 fibers on 2 workers; OS threads used: {threads}$", r.err)


def test_concurrency():
    """A hundred pages that take 200 ms each take little more than 200 ms together."""
    root = tree(100)
    server = Server("static_server", "--root", root, "--port", 0, "--delay-ms", 200)
    r = fetch("-j", 100, *[server.url(n) for n in names(100)])
    equal(r.status, 0, r)
    check(0.2 <= float(matches(r"in (\d+\.\d\d) s", r.err)[1]) < 2, r.err)


def test_list():
    """URLs come from files and from stdin, too; comments, spaces and empty lines are skipped."""
    root = tree(9)
    server = Server("static_server", "--root", root, "--port", 0)
    urls = [server.url(n) for n in names(9)]
    write(root + "/list",
          f"# comment\n\n  {urls[0]}  \r\n{urls[1]}\n\t# more\n{urls[2]}#fragment\n")
    r = fetch("--sums", "-i", root + "/list", "-i", "-", *urls[6:], stdin="\n".join(urls[3:6]))
    equal(r.status, 0, r)
    check_sums(r.out.replace("#fragment", ""), root, server.authority, names(9))


def test_store():
    """-o stores every byte under host:port/path; a second run replaces the files."""
    root, store = tree(60), directory()
    server = Server("static_server", "--root", root, "--port", 0)
    for _ in range(2):
        r = fetch("-q", "-j", 10, "-o", store, *[server.url(n) for n in names(60)])
        equal((r.status, r.out, r.err), (0, "", ""))
        check_stored(store, root, server.authority, names(60))


def test_names_never_leave():
    """Whatever a URL says, and whatever links lie about, files come below the directory only."""
    outer = directory()
    store = f"{outer}/store"
    os.makedirs(store)
    server = Script(says(OK + b"Content-Length: 4\r\n\r\nevil"))
    authority = f"127.0.0.1:{server.port}"
    paths = {"../../up": "%2E%2E/%2E%2E/up", "a/../../b": "a/%2E%2E/%2E%2E/b", "e/..": "e/%2E%2E",
             "e/.": "e/%2E", "": "index.html", "d/": "d/index.html", "//x//y": "x/y",
             "%2e%2e/%2fetc": "%2e%2e/%2fetc", "q?a=../../c": "q?a=..%2F..%2Fc", "..?": "..?",
             "?..": "index.html?..", "d/..\\..": "d/..\\.."}
    for path, name in paths.items():
        r = fetch("-q", "-o", store, server.url(path))
        equal((r.status, r.err), (0, ""), path)
        equal(read(f"{store}/{authority}/{name}"), b"evil", path)
    equal(len([f for _, _, fs in os.walk(outer) for f in fs]), len(paths), "files in all")

    os.symlink(outer, f"{store}/{authority}/link")
    write(f"{outer}/mine", "mine")
    os.symlink(f"{outer}/mine", f"{store}/{authority}/file")
    r = fetch("-q", "-o", store, server.url("link/evil"))
    equal(r.status, 1)
    matches("could not store the body: ", r.err)
    equal(fetch("-q", "-o", store, server.url("file")).status, 0)
    equal(read(f"{outer}/mine"), b"mine")
    r = fetch("-q", "-o", store, server.url("d"), server.url("d/" + "n" * 300))
    equal(r.status, 1)
    matches("/d: could not store the body: Is a directory$", r.err)
    matches("n: could not store the body: File name too long$", r.err)
    equal(sorted(os.listdir(outer)), ["mine", "store"])


def test_against_nginx():
    """Against nginx, which closes after ten requests: plain and chunked bodies, 404s, redirects."""
    root = tree(200)
    os.chmod(root, 0o755)
    port = nginx(root, "keepalive_requests 10;")
    urls = [f"http://127.0.0.1:{port}/{n}" for n in names(200)]
    r = fetch("-j", 20, "--sums", *urls)
    equal(r.status, 0, r)
    check_sums(r.out, root, f"127.0.0.1:{port}", names(200))
    chunked = [n for n in names(200) if os.path.getsize(f"{root}/{n}")]
    store = directory()
    r = fetch("-j", 5, "-o", store, *[f"http://127.0.0.1:{port}/ssi/{n}" for n in chunked])
    equal(r.status, 0, r)
    check_stored(store, root, f"127.0.0.1:{port}/ssi", chunked)
    r = fetch("-j", 1, f"http://127.0.0.1:{port}/none", f"http://127.0.0.1:{port}/d1", urls[5])
    equal(r.status, 1, r)
    matches("/none: the server answered: 404 Not Found$", r.err)
    matches("/d1: the server answered: 301 Moved Permanently$", r.err)
    matches(r"^1 page, .*, 2 failed, .* over 1 connection$", r.err)


def test_against_nginx_idle():
    """A kept connection that the server has closed meanwhile costs a new one, not a page."""
    root = tree(3)
    os.chmod(root, 0o755)
    port = nginx(root, "keepalive_timeout 1s;")
    slow = Script(lambda sock, _: (time.sleep(2), says(OK + b"Content-Length: 0\r\n\r\n")(sock, _)))
    page = f"http://127.0.0.1:{port}/{names(3)[2]}"
    r = fetch("-j", 1, page, slow.url(), page)
    equal(r.status, 0, r)
    matches("^3 pages, .*, 0 failed, .* over 3 connections$", r.err)


def test_against_python():
    """Against python's http.server: HTTP/1.0, a connection per page, and a backlog of five."""
    root, port = tree(80), free_port()
    child = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1",
                              "-d", root, str(port)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    at_end(lambda: stop(child))

    def up():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    wait_for(up, "http.server")
    r = fetch("-j", 40, "--sums", *[f"http://localhost:{port}/{n}" for n in names(80)])
    equal(r.status, 0, r)
    check_sums(r.out, root, f"localhost:{port}", names(80))
    matches("over 80 connections$", r.err)


def test_request():
    """The request is what servers expect: the path as given, Host with the port, an agent."""
    heads = []

    def script(sock, _):
        heads.append(request_of(sock))
        sock.sendall(OK + b"Content-Length: 0\r\n\r\n")
    server = Script(script)
    r = fetch("-q", f"HTTP://LocalHost:{server.port}/a%20b/../c?d=e/f#g",
              f"http://127.0.0.1:{server.port}?q")
    equal(r.status, 0, r)
    heads.sort(key=len, reverse=True)
    lines = heads[0].decode().split("\r\n")
    equal(lines[0], "GET /a%20b/../c?d=e/f HTTP/1.1")
    check(f"Host: localhost:{server.port}" in lines, lines)
    check("Connection: keep-alive" in lines, lines)
    check(any(line.startswith("User-Agent: ") for line in lines), lines)
    check(heads[1].startswith(b"GET /?q HTTP/1.1\r\n"), heads[1])


def test_kept_per_server():
    """A fiber keeps a connection to each of several servers."""
    def script(sock, _):
        while request_of(sock):
            sock.sendall(OK + b"Content-Length: 2\r\n\r\nok")
    servers = [Script(script) for _ in range(6)]
    r = fetch("-j", 1, *[s.url() for s in servers[:4]] * 5)
    equal(r.status, 0, r)
    equal([s.count for s in servers[:4]], [1] * 4, "connections")
    r = fetch("-j", 1, *[s.url() for s in servers] * 5)
    equal(r.status, 0, r)


def test_unreachable():
    """A closed port is a failure, and the other URLs are fetched all the same."""
    good, closed = Script(says(OK + b"Content-Length: 2\r\n\r\nok")), free_port()
    r = fetch(f"http://127.0.0.1:{closed}/x", good.url(), f"http://localhost:{closed}/")
    equal(r.status, 1, r)
    for host, path in ("127.0.0.1", "x"), ("localhost", ""):
        matches(f"^fetch_many: http://{host}:{closed}/{path}: "
                "could not connect: Connection refused$", r.err)
    matches("^1 page, 2 B, 2 failed", r.err)


NOT_HOST = "the host is missing or too long for an address"
NAME = "the host is a name; only numeric addresses and localhost are supported"
NOT_PORT = "the port is no number from 1 to 65535"
WRONG = {
    "https://127.0.0.1/": "https is not supported, only http",
    "ftp://127.0.0.1/": "it does not begin with http://",
    "127.0.0.1": "it does not begin with http://",
    "http://": NOT_HOST,
    "http:///x": NOT_HOST,
    "http://" + "1" * 99 + "/": NOT_HOST,
    "http://example.com/": NAME,
    "http://127.0.0.1.5/": NAME,
    "http://[localhost]/": NAME,
    "http://127.0.0.1:/": "the port is missing after the colon",
    "http://127.0.0.1:0/": NOT_PORT,
    "http://127.0.0.1:65536/": NOT_PORT,
    "http://127.0.0.1:99999999999/": NOT_PORT,
    "http://127.0.0.1:8x/": NOT_PORT,
    "http://u:p@127.0.0.1/": "user names and passwords in URLs are not supported",
    "http://[::1/": "the closing bracket of the address is missing",
    "http://[::1]8/": "there is more than a port after the address",
    "http://127.0.0.1/a b": "it holds a byte that must be written as %XX",
    "http://127.0.0.1/" + "a" * 5000: "it is longer than 4096 bytes",
}


def test_urls():
    """A URL that cannot be fetched says why, and only that one fails."""
    good = Script(says(OK + b"Content-Length: 2\r\n\r\nok"))
    r = fetch("-q", *WRONG, "http://127.0.0.1/\x1b[2J", good.url())
    equal(r.status, 1, r)
    for url, why in WRONG.items():
        line = f"fetch_many: {url[:4096]}: cannot fetch this URL: {why}\n"
        check(line in r.err, url, why, r.err)
    check("\x1b" not in r.err, "a control character reached the terminal")
    equal(good.count, 1)


def test_ipv6():
    """An IPv6 address in brackets works."""
    try:
        server = Script(says(OK + b"Content-Length: 2\r\n\r\nok"), "::1")
    except OSError:
        raise Skip("there is no IPv6 loopback")
    r = fetch("-q", "--sums", f"http://[::1]:{server.port}/x")
    equal((r.status, r.out), (0, f"{cksum(b'ok')} 2 http://[::1]:{server.port}/x\n"), r)


def test_wrong_arguments():
    """Wrong arguments are told in one line, with status 2; --help is not an error."""
    for args, why in (([], "there is no URL to fetch"),
                      (["-j", "0", "x"], "-j wants a number from 1 to 1000000, not \"0\""),
                      (["-j", "9x"], "-j wants"), (["-j"], "-j wants an argument"),
                      (["-w", "-1"], "-w wants a number from 1 to 1024"),
                      (["-w", "1025"], "-w wants"), (["-t", "soon"], "-t wants seconds"),
                      (["-t", "-1"], "-t wants"), (["-t", "nan"], "-t wants"),
                      (["-i", "/nonexistent"], "cannot read /nonexistent: No such file"),
                      (["-i", "/"], "cannot read /: Is a directory"),
                      (["-o", "/nonexistent"], "cannot store into /nonexistent: No such file"),
                      (["--nonsense"], "there is no option --nonsense")):
        r = fetch(*args)
        equal((r.status, r.out), (2, ""), args)
        equal(len(r.err.splitlines()), 1, r.err)
        check(r.err.startswith("fetch_many: ") and why in r.err, r.err)
    for option in "-h", "--help":
        r = fetch(option)
        equal((r.status, r.err), (0, ""))
        matches("^usage: fetch_many", r.out)


def test_few_descriptors():
    """With few descriptors it uses fewer fibers, says so, and fetches everything."""
    root, store = tree(100), directory()
    server = Server("static_server", "--root", root, "--port", 0)
    r = fetch("-j", 100, "-o", store, *[server.url(n) for n in names(100)],
              before=limit_files(100, 100))
    equal(r.status, 0, r)
    matches(r"^fetch_many: only \d+ at once: this process may have 100 file descriptors$", r.err)
    check_stored(store, root, server.authority, names(100))


def test_full_disk():
    """When stdout takes no more, it says so and ends with status 1."""
    good = Script(says(OK + b"Content-Length: 2\r\n\r\nok"))
    with open("/dev/full", "w") as full:
        r = fetch("--sums", good.url(), stdout=full)
    equal(r.status, 1, r)
    matches("^fetch_many: cannot write the checksums: No space left on device$", r.err)


def on_terminal(columns, env, *args):
    """Run fetch_many with stderr on a terminal so wide; returns what the terminal got."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    child = subprocess.Popen([program("fetch_many"), *args], stderr=slave,
                             env={**clean, "TERM": "xterm", **env})
    os.close(slave)
    text = b""
    try:
        while part := os.read(master, 65536):
            text += part
    except OSError:
        pass
    os.close(master)
    equal(child.wait(LIMIT_S), 0, text)
    return text.decode()


def test_progress_bar():
    """On a terminal there is a bar as wide as it; NO_COLOR and TERM=dumb are honoured."""
    root = tree(40)
    server = Server("static_server", "--root", root, "--port", 0, "--delay-ms", 100)
    args = ["-j", "10", *[server.url(n) for n in names(40)]]
    for columns in 132, 80, 50, 20, 2:
        text = on_terminal(columns, {}, *args)
        drawn = re.findall(r"\r\x1b\[K([^\r\n]+)", text)[:-1]
        check(len(drawn) >= 3, "the bar was drawn", len(drawn), "times")
        for line in drawn:
            plain = re.sub(r"\x1b\[\d*m", "", line)
            check(len(plain) < columns, columns, "columns, but", plain)
            if columns >= 50:
                matches(r"^\[=* *\] \d+/40  [\d.]+ k?B  \d+/s$", plain)
                equal(len(plain), columns - 1, plain)
        matches(r"\r\x1b\[K40 pages, .*\r\n10 fibers on 1 worker; OS threads used: "
                rf"{1 + QEMU_THREADS}\r\n$", text)
    check("\x1b[32m" in on_terminal(80, {"NO_COLOR": ""}, *args), "there is no colour")
    text = on_terminal(80, {"NO_COLOR": "1"}, *args)
    check("[=" in text and not re.search(r"\x1b\[\d+m", text), "NO_COLOR was not honoured", text)
    for text in on_terminal(80, {"TERM": "dumb"}, *args), on_terminal(80, {}, "-q", *args):
        check("\x1b" not in text and "[=" not in text, text)
    check(not re.search("[\r\x1b]", fetch(*args).err), "there is a bar without a terminal")
