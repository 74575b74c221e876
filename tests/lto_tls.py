#!/usr/bin/env python3
"""The law of thread-locals, checked on what the compilers make of it: no thread pointer, no address
of a thread-local, and not errno's address, is carried over a switch.
SPDX-License-Identifier: MIT

    tests/lto_tls.py LIBRARY...    libcoir.so built with -O2 -flto, where inlining goes furthest
    tests/lto_tls.py --worker CORE.o    the freestanding core, whose fibers may move: the current
                                        worker, as read from %gs:0, is not carried either
    tests/lto_tls.py --self-test CC...    is a function that does it found?

In every function of the disassembly, which registers and stack slots hold such an address is
followed along all paths. A call that may come to coir__arch_switch, by the calls in the library or
by a pointer, marks what they hold as carried; any use of what is carried, as an address, as an
argument or as a result, is a failure. What a function was given as a parameter is not known here.
x86-64."""
import re
import subprocess
import sys
import tempfile

SWITCH = {"coir__arch_switch"}
ADDRESS_OF = {"__errno_location", "__tls_get_addr"}
CALLER_SAVED = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"}
NARROW = {}
for full, names in {
        "rax": "eax ax al ah", "rbx": "ebx bx bl bh", "rcx": "ecx cx cl ch",
        "rdx": "edx dx dl dh", "rsi": "esi si sil", "rdi": "edi di dil", "rbp": "ebp bp bpl",
        "rsp": "esp sp spl", **{f"r{i}": f"r{i}d r{i}w r{i}b" for i in range(8, 16)}}.items():
    for name in [full, *names.split()]:
        NARROW[name] = full
LINE = re.compile(r"^\s*([0-9a-f]+):\t(?:(?:notrack|bnd|lock|rep|repz|data16|cs) )*(\S+)\s*(.*?)"
                  r"(?:\s+#.*)?$")
RELOCATION = re.compile(r"^\s+[0-9a-f]+: R_X86_64_(?:PLT|PC)32\s+(\w+)-0x4$")
HEAD = re.compile(r"^[0-9a-f]+ <(.*)>:$")
THREAD_POINTER = re.compile(r"^%fs:0x0$")  # %fs:(%reg) is what a thread-local holds
WORKER = re.compile(r"^%gs:0x0$")
ARGUMENTS = {"rdi", "rsi", "rdx", "rcx", "r8", "r9"}
# Functions of the host that may park (sched/host.h).
HOST_PARKS = {"coir__host_fiber_values_end"}
# Calls by pointer that do not park, in functions that keep the worker over them.
HOOKS = {
    "coir__fiber_main": "an after-hook, on arrival; what the fiber runs is followed by a new look",
    "coir__op_stop": "the engine",
    "stop_bucket": "the engine",
    "coir__ops_stop_all": "the engine, where stop_bucket is inlined",
    "coir__ops_stop_closing": "likewise",
    "coir__ops_stop_fd": "likewise",
}


def disassemble(path):
    """{function: [(address, mnemonic, operands)]}"""
    text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", path], check=True,
                          capture_output=True, text=True).stdout
    functions, code = {}, None
    for line in text.splitlines():
        head = HEAD.match(line)
        found = LINE.match(line)
        relocation = RELOCATION.match(line)
        if relocation:
            address, op, ops = code[-1]
            if op.startswith(("call", "j")):
                code[-1] = (address, op, [f"0 <{relocation.group(1)}>"])
        elif head:
            code = functions.setdefault(head.group(1), [])
        elif found and code is not None:
            code.append((int(found.group(1), 16), found.group(2), split(found.group(3))))
    return functions


def split(operands):
    """At the commas that are not in parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", operands) if part.strip()]


def called(operands):
    """The function that a call or jump goes to; None: through a pointer."""
    found = re.search(r"<([^>+]+)(?:@plt)?(?:\+0x[0-9a-f]+)?>", " ".join(operands))
    return found.group(1).removesuffix("@plt") if found else None


def that_may_park(functions):
    callees = {name: {called(ops) for _, op, ops in code
                      if op.startswith("call") or op == "jmp"}
               for name, code in functions.items()}
    may, grown = SWITCH | HOST_PARKS, True
    while grown:
        more = {name for name, those in callees.items() if name not in may and those & may}
        grown, may = bool(more), may | more
    return may


def register(operand):
    found = re.fullmatch(r"%(\w+)", operand)
    return NARROW.get(found.group(1)) if found else None


def slot(operand):
    """A place on the stack."""
    return operand if re.fullmatch(r"-?(0x[0-9a-f]+)?\(%r[sb]p\)", operand) else None


def bases(operand):
    """The registers that a memory operand is addressed by."""
    found = re.search(r"\((.*)\)", operand)
    return {NARROW[name] for name in re.findall(r"%(\w+)", found.group(1)) if name in NARROW} \
        if found else set()


class Walk:
    """One function. A state maps registers and slots to False (an address) or True (carried)."""

    def __init__(self, name, code, may_park, wanted=THREAD_POINTER):
        self.name, self.code, self.may_park, self.wanted = name, code, may_park, wanted
        self.by_pointer = wanted is THREAD_POINTER or name not in HOOKS
        self.at = {address: i for i, (address, _, _) in enumerate(code)}
        self.found = set()

    def use(self, state, places, line):
        if any(state.get(place) for place in places):
            self.found.add(line)

    def step(self, i, state):
        address, op, ops = self.code[i]
        state = dict(state)
        line = f"{self.name}: {address:x}: {op} {', '.join(ops)}"
        for operand in ops:
            self.use(state, bases(operand), line)
        if op.startswith("ret"):
            self.use(state, {"rax"}, line)
        if op == "jmp" and called(ops) not in (None, self.name):
            self.use(state, ARGUMENTS, line)
        if op.startswith("call"):
            target = called(ops)
            parks = self.by_pointer if target is None else target in self.may_park
            self.use(state, ARGUMENTS, line)
            state = {place: carried or parks for place, carried in state.items()
                     if place not in CALLER_SAVED}
            if target in ADDRESS_OF and self.wanted is THREAD_POINTER:
                state["rax"] = False
            return state
        if len(ops) < 2 or op.startswith(("cmp", "test")):
            if len(ops) == 1 and op.startswith("pop"):
                state.pop(register(ops[0]), None)
            return state
        source, to = ops[0], register(ops[-1]) or slot(ops[-1])
        gives = None
        if op.startswith("mov") or op.startswith("add"):
            if self.wanted.match(source):
                gives = False
            else:
                place = register(source) or slot(source)
                gives = state.get(place) if place else None
            if op.startswith("add") and gives is None:
                gives = state.get(to)
        elif op.startswith("lea"):
            given = [state[base] for base in bases(source) if base in state]
            gives = any(given) if given else None
        if to:
            state.pop(to, None)
            if gives is not None:
                state[to] = gives
        return state

    def next_of(self, i):
        _, op, ops = self.code[i]
        after = [i + 1] if i + 1 < len(self.code) else []
        if op.startswith("j") and ops:
            found = re.match(r"([0-9a-f]+) <", ops[0])
            target = self.at.get(int(found.group(1), 16)) if found else None
            return ([] if op == "jmp" else after) + ([target] if target is not None else [])
        return [] if op.startswith(("ret", "ud2", "hlt")) else after

    def run(self):
        states, work = {0: {}}, [0]
        while work:
            i = work.pop()
            state = self.step(i, states[i])
            for after in self.next_of(i):
                known = states.get(after)
                merged = dict(known or {})
                for place, carried in state.items():
                    merged[place] = merged.get(place, False) or carried
                if known is None or merged != known:
                    states[after] = merged
                    work.append(after)
        return self.found


def check(path, wanted=THREAD_POINTER):
    """(functions, those that may park, failures)"""
    functions = disassemble(path)
    may_park = that_may_park(functions)
    found = set()
    for name, code in functions.items():
        if code:
            found |= Walk(name, code, may_park, wanted).run()
    return functions, may_park & set(functions), sorted(found)


MUTANT = """
#include <errno.h>
void coir__arch_switch(void) { __asm__ volatile(""); }
__attribute__((noinline)) void park(void) { coir__arch_switch(); __asm__ volatile(""); }
static _Thread_local int local;
int carries_errno(void) { int *e = &errno; *e = 0; park(); return *e; }
int carries_local(int n) { int sum = 0; while (n--) { local++; park(); sum += local; }
                           return sum; }
int carries_none(void) { park(); return 7; }
static inline __attribute__((always_inline)) int *worker(void)
{
    int *w;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(w));
    return w;
}
void take(int *);
int carries_worker(void) { int *w = worker(); *w = 0; park(); return *w; }
void passes_worker(void) { int *w = worker(); *w = 0; park(); take(w); }
int looks_again(void) { int *w = worker(); *w = 0; park(); w = worker(); return *w; }
"""


def self_test(compilers):
    failed = 0
    for cc in compilers:
        with tempfile.TemporaryDirectory() as directory:
            source, library = f"{directory}/m.c", f"{directory}/m.so"
            with open(source, "w", encoding="utf-8") as file:
                file.write(MUTANT)
            subprocess.run([cc, "-O2", "-fPIC", "-shared", "-ftls-model=initial-exec",
                            "-fno-inline-functions", "-o", library, source], check=True)
            names = {line.split(":")[0] for line in check(library)[2]}
            workers = {line.split(":")[0] for line in check(library, WORKER)[2]}
            if "carries_errno" not in names or names - {"carries_errno", "carries_local"} or \
                    workers != {"carries_worker", "passes_worker"}:
                print(f"{cc}: of the mutants, found {names or 'none'}, {workers or 'none'}")
                failed += 1
    return failed


def main():
    if sys.argv[1] == "--self-test":
        failed = self_test(sys.argv[2:])
        print(f"{len(sys.argv) - 2 - failed} passed, {failed} failed")
        sys.exit(failed > 0)
    bad = 0
    wanted = WORKER if sys.argv[1] == "--worker" else THREAD_POINTER
    paths = sys.argv[1 + (wanted is WORKER):]
    for path in paths:
        functions, parking, found = check(path, wanted)
        for line in found:
            print(f"carried over a switch: {line}")
        print(f"{path}: {len(functions)} functions, {len(parking)} of them may park")
        bad += bool(found) or len(parking) < 20
    print(f"{len(paths) - bad} passed, {bad} failed")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
