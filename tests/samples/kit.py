"""kit.py - what the tests of the samples share: running programs, servers that misbehave, checks.
SPDX-License-Identifier: MIT

A test is a function in a test_*.py file whose name begins with test_ and whose docstring is the
promise it checks. It fails by raising. Everything runs on loopback, has a time limit, and is ended
by run.py when the test is over."""

import ctypes
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(REPO, os.environ.get("BUILD", "build"))
LIMIT_S = 30
# For another CPU or libc there is no libcurl.
NEED_FETCH = ["05_title", "06_race", "22_post", "23_lines"]
HAS_FETCH = os.path.exists(os.path.join(BUILD, "libcoir-fetch.a"))
PROGRAMS = [name[:-2] for name in sorted(os.listdir(os.path.join(REPO, "samples")))
            if name.endswith(".c") and (HAS_FETCH or name[:-2] not in NEED_FETCH)]

# Under qemu-user the samples are scripts that start them in it; it has a thread of its own.
QEMU = "TEST_QEMU" in os.environ
QEMU_THREADS = 1 if QEMU else 0

_undo = []


class Skip(Exception):
    """This machine lacks what the test needs."""


def skip_under_qemu(why):
    if QEMU:
        raise Skip(f"qemu-user {why}")


def undo_all():
    while _undo:
        try:
            _undo.pop()()
        except Exception as trouble:
            print(f"  cleaning up: {trouble}")


def at_end(action):
    _undo.append(action)


def program(name):
    if name in NEED_FETCH and not HAS_FETCH:
        raise Skip("there is no libcoir-fetch")
    return os.path.join(BUILD, "samples", name)


def check(truth, *what):
    if not truth:
        raise AssertionError(" ".join(str(w) for w in what))


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {str(got)[:300]!r}, want {str(want)[:300]!r}")


def matches(pattern, text):
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise AssertionError(f"no {pattern!r} in {text[:600]!r}")
    return found


def directory():
    path = tempfile.mkdtemp(prefix="coir-samples-")
    at_end(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Ended:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def __str__(self):
        return f"status {self.status}, out {self.out[-400:]!r}, err {self.err[-600:]!r}"


def run(name, *args, stdin="", env=None, limit_s=LIMIT_S, stdout=None, before=None):
    """Run a sample to its end. Its environment has no terminal settings of ours."""
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    start = time.monotonic()
    child = subprocess.Popen([program(name), *map(str, args)], stdin=subprocess.PIPE,
                             stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
                             env={**clean, **(env or {})}, preexec_fn=before, errors="replace")
    try:
        out, err = child.communicate(stdin, limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"{name} did not end within {limit_s} s; err {err[-600:]!r}")
    return Ended(child.returncode, out or "", err, time.monotonic() - start)


def stop(child):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)
            raise AssertionError(f"{child.args[0]} did not end on SIGTERM")
    for pipe in (child.stdout, child.stderr):
        if pipe:
            pipe.close()


class Server:
    """A sample that prints "listening on HOST:PORT" and goes on until it is told to stop."""

    def __init__(self, name, *args, before=None):
        self.errors = tempfile.TemporaryFile()
        self.child = subprocess.Popen([program(name), *map(str, args)], stdout=subprocess.PIPE,
                                      stderr=self.errors, preexec_fn=before)
        at_end(self.stop)
        line = self.child.stdout.readline().decode()
        found = re.fullmatch(r"listening on (.+):(\d+)\n", line)
        check(found, name, "said", repr(line), self.err())
        self.host, self.port = found[1].strip("[]"), int(found[2])
        self.authority = f"{found[1]}:{found[2]}"

    def url(self, path):
        return f"http://{self.authority}/{path}"

    def err(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def alive(self):
        check(self.child.poll() is None, "the server has died:", self.child.returncode, self.err())

    def connect(self):
        return connect(self.port, self.host)

    def stop(self):
        stop(self.child)
        self.errors.close()


def connect(port, host="127.0.0.1"):
    sock = socket.create_connection((host, port), 10)
    at_end(sock.close)
    return sock


def receive(sock, limit_s=10):
    """Everything until the peer closes; what came before a reset."""
    sock.settimeout(limit_s)
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Script:
    """A server that does to each connection what script(socket, number) says."""

    def __init__(self, script, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family, backlog=256)
        self.port = self.listener.getsockname()[1]
        self.script, self.count, self.open = script, 0, []
        threading.Thread(target=self._accept, daemon=True).start()
        at_end(self._stop)

    def url(self, path="x"):
        return f"http://127.0.0.1:{self.port}/{path}"

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            self.open.append(sock)
            threading.Thread(target=self._serve, args=(sock, self.count), daemon=True).start()

    def _serve(self, sock, number):
        try:
            self.script(sock, number)
        except OSError:
            pass
        sock.close()

    def _stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def request_of(sock):
    """Read one request's head from a client; b"" when it has gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return b""
        head += byte
    return head


def says(answer):
    """A script: read a request, send the answer, close."""
    def script(sock, _):
        if request_of(sock):
            sock.sendall(answer)
    return script


def cksum(data):
    """The CRC of POSIX cksum."""
    crc, length = 0, len(data)
    while length:
        data += bytes([length & 255])
        length >>= 8
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc ^ 0xFFFFFFFF


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def refuse_io_uring():
    """For preexec_fn: io_uring_setup(2) fails with EPERM, as in Docker's default profile."""
    # Load the call's number; if it is 425 return ERRNO|EPERM, else ALLOW.
    code = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, 425,
                       0x06, 0, 0, 0x00050001, 0x06, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(code)

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    filters = Program(4, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.addressof(filters), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def limit_files(soft, hard):
    """For preexec_fn."""
    import resource
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wait_for(truth, what, limit_s=5):
    end = time.monotonic() + limit_s
    while not truth():
        check(time.monotonic() < end, "waited too long for", what)
        time.sleep(0.02)


def nginx(root, more=""):
    """nginx on a free port: plain files, and below /ssi/ the same in chunks."""
    if not shutil.which("nginx"):
        raise Skip("nginx is not installed")
    home, port = directory(), free_port()
    os.chmod(home, 0o755)
    write(f"{home}/nginx.conf", f"""
        daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; types {{ text/html html; }} default_type application/octet-stream;
            client_body_temp_path {home}/t1; proxy_temp_path {home}/t2;
            fastcgi_temp_path {home}/t3; uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
            {more}
            server {{ listen 127.0.0.1:{port} backlog=4096; root {root};
                      location /ssi/ {{ ssi on; alias {root}/; }} }}
        }}
        """)
    user = [] if os.geteuid() else ["-g", "user root;"]
    with open(f"{home}/stderr", "wb") as errors:
        child = subprocess.Popen(["nginx", "-c", f"{home}/nginx.conf", "-p", home, *user],
                                 stderr=errors)
    at_end(lambda: stop(child))

    def up():
        if child.poll() is not None:
            raise AssertionError(f"nginx did not start: {read(f'{home}/stderr')}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    wait_for(up, "nginx")
    return port


def netcat(server):
    """The command that connects nc to it, and closes its half when there is no more input."""
    if not shutil.which("nc"):
        raise Skip("nc is not installed")
    if "-N" not in subprocess.run(["nc", "-h"], capture_output=True, text=True).stderr:
        raise Skip("this nc has no -N")
    return ["nc", "-N", server.host, str(server.port)]


def curl(*args):
    """Run curl; returns what it printed."""
    done = subprocess.run(["curl", "-sS", "--max-time", "10", "--path-as-is", *args],
                          capture_output=True)
    equal(done.returncode, 0, done.stderr.decode())
    return done.stdout
