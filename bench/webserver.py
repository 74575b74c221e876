"""bench/webserver.py - the servers that the rows fetch ask: nginx, and a sample that holds answers
back.
SPDX-License-Identifier: MIT
"""
import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time

MIB = 1 << 20
PAGE = b"<title>A page</title>\n" + b"<p>Hello, and hello again.\n" * 30
CONF = """daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 10000000; default_type text/html; root .;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
  scgi_temp_path t5; server {{ listen 127.0.0.1:{port} backlog=4096; }} }}
"""


def find_nginx():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def await_port(port):
    for _ in range(500):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.01)
    return False


def start(command, directory, cpus):
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    atexit.register(process.kill)
    return process


def serve(build, cpus, stream_mib):
    """Start them, on these CPUs: {row: url}; rows that have no server here are not in it."""
    directory = tempfile.mkdtemp(prefix="coir-bench-")
    atexit.register(shutil.rmtree, directory, True)
    os.chmod(directory, 0o755)  # for nginx's workers, who are nobody
    with open(os.path.join(directory, "page.html"), "wb") as f:
        f.write(PAGE)
    with open(os.path.join(directory, "large"), "wb") as f:
        f.truncate(stream_mib * MIB)
    urls = {}
    port = free_port()
    with open(os.path.join(directory, "nginx.conf"), "w", encoding="utf-8") as f:
        f.write(CONF.format(port=port))
    nginx = find_nginx()
    if nginx:
        start([nginx, "-p", directory, "-c", "nginx.conf"], directory, cpus)
        if await_port(port):
            urls["fetch"] = f"http://127.0.0.1:{port}/page.html"
            urls["fetch_stream"] = f"http://127.0.0.1:{port}/large"
    port = free_port()
    sample = os.path.abspath(os.path.join(build, "samples", "static_server"))
    if os.access(sample, os.X_OK):
        start([sample, "--root", directory, "--port", str(port), "--delay-ms", "2000"], directory,
              cpus)
        if await_port(port):
            urls["fetch_delay"] = f"http://127.0.0.1:{port}/page.html"
    return urls
