"""test_super.py - supervisor, with children of all sorts.
SPDX-License-Identifier: MIT"""

import os
import re
import signal
import subprocess
import threading
import time

from kit import *


class Supervisor:
    """Runs until it is told to end; its output is read as it comes."""

    def __init__(self, *args, stdout=subprocess.PIPE, **more):
        self.child = subprocess.Popen([program("supervisor"), *map(str, args)], stdout=stdout,
                                      stderr=subprocess.PIPE, **more)
        at_end(lambda: stop(self.child))
        self.out, self.err = bytearray(), bytearray()
        self.threads = [threading.Thread(target=self.read, args=(name,), daemon=True)
                        for name in ("out", "err") if getattr(self.child, f"std{name}")]
        for thread in self.threads:
            thread.start()

    def read(self, name):
        pipe = getattr(self.child, f"std{name}")
        while part := os.read(pipe.fileno(), 65536):
            getattr(self, name).extend(part)

    def says(self, pattern, where="err", times=1):
        wait_for(lambda: len(re.findall(pattern, getattr(self, where).decode(errors="replace"),
                                        re.MULTILINE)) >= times,
                 f"{pattern}: {self.out[-300:]} {self.err[-300:]}", 10)

    def pid(self, name):
        """The number of the child that was started last."""
        self.says(f"^supervisor: {name}: started as ")
        return int(re.findall(rf"^supervisor: {name}: started as (\d+)$", self.err.decode(),
                              re.MULTILINE)[-1])

    def end(self, number=signal.SIGTERM, limit_s=8):
        self.child.send_signal(number)
        return self.ends(limit_s)

    def ends(self, limit_s=8):
        status = self.child.wait(limit_s)
        for thread in self.threads:
            thread.join(5)
        return status


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_output():
    """Each line has its child's name before it, whichever of stdout and stderr it came by; names
    are told apart; long lines are cut, and half a line at the end is a line."""
    r = run("supervisor", "-o", "sh -c 'echo one; echo two >&2; printf half'",
            "/bin/echo a  'b  c'", "echo \"it's\" d\\ e '' \"\\\"\"",
            "sh -c 'head -c 5000 /dev/zero | tr \"\\\\0\" x; echo'")
    equal(r.status, 0, r)
    lines = r.out.splitlines()
    equal([line for line in lines if line.startswith("sh     | ")],
          ["sh     | one", "sh     | two", "sh     | half"])
    check("echo   | a b  c" in lines and "echo-2 | it's d e  \"" in lines, lines)
    equal([len(line) for line in lines if line.startswith("sh-2   | ")], [9 + 4096, 9 + 904])


def test_restarts():
    """A child that ends is started again, later each time, and given up after so many times."""
    start = time.monotonic()
    r = run("supervisor", "-r", 3, "-b", 0.1, "sh -c 'echo here; exit 7'")
    equal((r.status, r.out), (1, "sh | here\n" * 4), r)
    equal(re.findall(r"ended with status 7; again in (\S+) s", r.err), ["0.1", "0.2", "0.4"])
    matches(r"^supervisor: sh: ended with status 7: too often: given up$", r.err)
    check(0.65 < time.monotonic() - start < 5, time.monotonic() - start)
    r = run("supervisor", "-r", 4, "-b", 0.1, "-B", 0.2, "false")
    equal(re.findall(r"again in (\S+) s", r.err), ["0.1", "0.2", "0.2", "0.2"])
    r = run("supervisor", "-r", 0, "sh -c 'kill -9 $$'")
    equal(r.status, 1)
    matches(r"^supervisor: sh: was ended by signal 9 \(Killed\): too often: given up$", r.err)


def test_window():
    """Only new starts within the window count, and one that ran for that long begins anew."""
    s = Supervisor("-r", 2, "-w", 0.3, "-b", 0.05, "sleep 0.35")
    s.says("again in 0.1 s", times=5)
    check(b"given up" not in s.err and b"again in 0.2 s" not in s.err, s.err)
    equal(s.end(), 0)


def test_others_go_on():
    """One child is given up, the others go on, and the status tells of it in the end."""
    skip_under_qemu("starts a child by fork, which does not tell that it could not")
    s = Supervisor("-b", 0.05, "-r", 1, "sh -c 'echo up; exec sleep 100'", "false",
                   "no_such_program x", "/etc/passwd")
    s.says("^supervisor: false: .* too often: given up$")
    s.says("^supervisor: no_such_program: cannot start no_such_program: No such file or directory: "
           "given up$")
    s.says("^supervisor: passwd: cannot start /etc/passwd: Permission denied: given up$")
    s.says(r"^sh +\| up$", "out")
    pid = s.pid("sh")
    check(alive(pid), "the good one has ended, too")
    equal(s.end(), 1)
    check(not alive(pid), "the good one is left behind")


def test_done():
    """With -o, who ends well is done, others are started again; when all are done it ends."""
    flag = f"{directory()}/flag"
    r = run("supervisor", "-o", "-b", 0.05, "true", f"sh -c 'test -e {flag} || {{ touch {flag}; "
            "exit 3; }'")
    equal(r.status, 0, r)
    equal(len(re.findall("started as", r.err)), 3)
    equal(len(re.findall("ended with status 0: done", r.err)), 2)


def test_passes_sigterm_on():
    """SIGTERM and SIGINT reach the children, and theirs, as SIGTERM; what they say last is
    heard."""
    script = f"{directory()}/script"
    write(script, "trap : TERM\nsh -c 'trap \"echo inner bye; exit\" TERM; echo inner; while :; do "
                  "sleep 0.02; done'\nexit 6\n")
    for number in signal.SIGTERM, signal.SIGINT:
        s = Supervisor("sh -c 'trap \"echo bye; exit 5\" TERM; echo up; while :; do sleep 0.02; "
                       "done'", "sleep 100", f"sh {script}")
        s.says("up", "out")
        s.says("inner", "out")
        pids = [s.pid(name) for name in ("sh", "sleep", "sh-2")]
        start = time.monotonic()
        equal(s.end(number), 0)
        check(time.monotonic() - start < 3, "it waited for the grace time")
        matches(r"^sh    \| bye$", s.out.decode())
        matches(r"^sh-2  \| inner bye$", s.out.decode())
        matches("^supervisor: sh: ended with status 5$", s.err.decode())
        matches("^supervisor: sh-2: ended with status 6$", s.err.decode())
        matches(r"^supervisor: sleep: was ended by signal 15 \(Terminated\)$", s.err.decode())
        check(not any(alive(pid) for pid in pids), "children are left behind")


def test_ignores_sigterm():
    """A child that ignores SIGTERM is killed after the grace time, with what it has started."""
    s = Supervisor("-g", 0.5, "sh -c 'trap \"\" TERM; sh -c \"trap : TERM; echo $$; echo inner "
                   "\\$\\$; while :; do sleep 1; done\"'")
    s.says("inner", "out")
    inner = int(re.search(rb"inner (\d+)", s.out)[1])
    start = time.monotonic()
    equal(s.end(), 0)
    check(0.4 < time.monotonic() - start < 4, time.monotonic() - start)
    matches("^supervisor: sh: does not end on SIGTERM: killed$", s.err.decode())
    wait_for(lambda: not alive(inner), "the end of what the child has started")


def test_second_signal():
    """A second signal does not wait for the grace time."""
    s = Supervisor("-g", 60, "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done'")
    s.says("up", "out")
    s.child.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    equal(s.child.poll(), None)
    equal(s.end(limit_s=3), 0)
    matches(r"^supervisor: sh: was ended by signal 9 \(Killed\)$", s.err.decode())


def test_endless_output():
    """Children that spew without end hold up neither each other nor the end, and lines stay
    whole."""
    s = Supervisor("yes aaaaaaaaaaaaaaaaaaaaaaaaaa", "yes bbbbbbbbbbbbbbbbbbbbbbbbbb",
                   "sh -c 'cat /dev/zero'", "sh -c 'while :; do echo tick; sleep 0.05; done'")
    s.says(r"\| tick$", "out", 5)
    check(len(s.out) > 1 << 20, "only", len(s.out))
    start = time.monotonic()
    equal(s.end(), 0)
    check(time.monotonic() - start < 3, time.monotonic() - start)
    lines = bytes(s.out).splitlines()
    for name, text in (b"yes  ", b"a" * 26), (b"yes-2", b"b" * 26), (b"sh-2 ", b"tick"):
        said = [line for line in lines if line.startswith(name)]
        equal(set(said[:-1]), {name + b" | " + text})
        check((name + b" | " + text).startswith(said[-1]), said[-1])
    check(all(re.fullmatch(rb"(yes|sh).{3,4}\| .{0,4096}", line, re.DOTALL) for line in lines),
          "a line has another form")


def test_nobody_reads():
    """When nobody reads its output the children wait, but it still ends when it is told to."""
    end, other = os.pipe()
    s = Supervisor("-g", 0.5, "yes", "sh -c 'trap \"\" TERM; yes'", stdout=other)
    os.close(other)
    pids = [s.pid("yes"), s.pid("sh")]
    time.sleep(0.3)
    equal(s.end(), 0)
    check(not any(alive(pid) for pid in pids), "children are left behind")
    os.close(end)


def test_output_is_gone():
    """When its output is closed it says so once, and the children go on."""
    end, other = os.pipe()
    s = Supervisor("sh -c 'while :; do echo x; sleep 0.01; done'", stdout=other)
    os.close(other)
    os.read(end, 10)
    os.close(end)
    s.says("cannot write what the children say: Broken pipe")
    time.sleep(0.2)
    check(alive(s.pid("sh")), "the child has ended")
    equal(s.end(), 0)
    equal(s.err.count(b"cannot write"), 1, s.err)


def test_leftovers():
    """What a child leaves behind in its group is killed when it ends; one that has left the group
    and keeps the pipe does not hold up anything."""
    r = run("supervisor", "-r", 0, "sh -c 'sleep 100 & echo $!'")
    pid = int(matches(r"\| (\d+)$", r.out)[1])
    check(r.seconds < 3, "it waited for what is left behind", r.seconds)
    wait_for(lambda: not alive(pid), "the end of what is left behind")
    r = run("supervisor", "-r", 0, "sh -c 'setsid sleep 3 & sleep 0.2; echo done'")
    check(r.seconds < 2.5, "it waited for another group", r.seconds)
    matches(r"\| done$", r.out)


def test_what_a_child_gets():
    """A child has an empty stdin, no descriptor but three, no signal blocked or ignored, and a
    group of its own."""
    r = run("supervisor", "-r", 0, "sh -c 'cat; ls /proc/$$/fd'", stdin="nobody reads this")
    equal(r.out, "sh | 0\nsh | 1\nsh | 2\n")
    r = run("supervisor", "-r", 0, "cat /proc/self/status /proc/self/stat")  # sh unblocks signals
    masks = dict(re.findall(r"(Sig\w+):\t([0-9a-f]+)$", r.out, re.MULTILINE))
    equal((int(masks["SigBlk"], 16), int(masks["SigIgn"], 16) & 0x7fffffff), (0, 0))
    matches(r"\| (\d+) \(cat\) R \d+ \1 ", r.out)


def test_file():
    """Commands also come from a file, one a line."""
    path = f"{directory()}/commands"
    write(path, "# a comment\n\n  echo one\r\n\techo 'two  three'\n   # more\n")
    r = run("supervisor", "-o", "-c", path, "echo four")
    equal((r.status, sorted(r.out.splitlines())),
          (0, ["echo   | one", "echo-2 | two  three", "echo-3 | four"]), r)


def test_many_children():
    """A hundred children are started, and all of them are ended."""
    s = Supervisor(*["sleep 100"] * 100)
    s.says("started as", times=100)
    pids = [int(pid) for pid in re.findall(rb"started as (\d+)", s.err)]
    equal(s.end(), 0)
    check(not any(alive(pid) for pid in pids), "children are left behind")


def test_few_descriptors():
    """What cannot be started for want of descriptors is tried again."""
    s = Supervisor("-r", 1000, "-b", 0.05, "-B", 0.1, *["sleep 0.3"] * 20,
                   preexec_fn=limit_files(24, 24))
    s.says("Too many open files; again")
    s.says("ended with status 0; again", times=20)
    equal(s.end(), 0)


def test_arguments():
    """Wrong arguments are told, with status 2; --help is not an error."""
    path = f"{directory()}/commands"
    write(path, "true\necho 'x\n")
    for args, why in (([], "there is no command"), ([""], "the command is empty"),
                      (["echo 'x"], "a quote is not closed: echo 'x"),
                      (["-c", path], "/commands:2: a quote is not closed: echo 'x"),
                      (["-c", "/nonexistent"], "cannot read /nonexistent: No such file"),
                      (["-r", "x", "true"], "-r wants"), (["-g", "0", "true"], "-g wants seconds"),
                      (["--nonsense"], "nonsense")):
        r = run("supervisor", *args)
        equal((r.status, r.out), (2, ""), args)
        equal(len(r.err.splitlines()), 1, r.err)
        check("supervisor: " in r.err and why in r.err, why, "is not in", r.err)
    r = run("supervisor", "--help")
    equal((r.status, r.err), (0, ""))
    matches("^usage: supervisor", r.out)
