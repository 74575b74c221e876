"""test_web.py - samples that fetch, with python3's http.server.
SPDX-License-Identifier: MIT
"""
import http.server
import json
import threading

from kit import at_end, check, equal, matches, run

LINES = 200000


class Pages(http.server.BaseHTTPRequestHandler):
    """POST: what came, and how it was called. GET /lines: many; /cut: fewer than it says."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        self.answer(404 if self.path == "/no" else 201, f"{kind} {body.decode()}".encode())

    def do_GET(self):
        try:
            if self.path == "/cut":
                self.answer(200, b"one\ntwo", 100)
                self.close_connection = True
            else:
                text = "".join(f"line {i} of many\n" for i in range(LINES)) + "the last"
                self.answer(200, text.encode())
        except ConnectionError:
            pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that go are expected
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at_end(server.server_close)
    at_end(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


def test_post():
    """JSON goes out as it should, and the answer is printed; its status tells how it ended."""
    url = serve()
    r = run("22_post", url + "/", "name=co\"ir\\", "fibers=2.5e3", "line=a\nb", "none", "x=1x")
    equal(r.status, 0, r)
    status, kind, body = r.out.rstrip("\n").split(" ", 2)
    equal((status, kind), ("201", "application/json"), r)
    equal(json.loads(body), {"name": 'co"ir\\', "fibers": 2500, "line": "a\nb", "none": "",
                             "x": "1x"}, r)
    equal(run("22_post", url + "/no").status, 1)
    r = run("22_post", "http://127.0.0.1:1/")
    equal(r.status, 2, r)
    matches("127.0.0.1:1/: connect: ", r.err)


def test_lines():
    """A large response is printed line by line; what is not wanted any more is not fetched."""
    url = serve()
    r = run("23_lines", url + "/lines")
    equal(r.status, 0, r)
    lines = r.out.splitlines()
    equal(len(lines), LINES + 1)
    equal(lines[7], "     8  line 7 of many")
    equal(lines[-1], f"{LINES + 1:6d}  the last")
    r = run("23_lines", url + "/lines", 3)
    equal(r.out.splitlines()[1:], ["     2  line 1 of many", "     3  line 2 of many"], r)
    r = run("23_lines", url + "/cut")
    equal((r.status, r.out), (1, "     1  one\n"), r)
    matches("/cut: receive: ", r.err)
    check("deadline" not in r.err, r)
