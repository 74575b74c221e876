#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The style check: what the compiler does not see, and what review would otherwise have to.

    tools/tidy.py              check the whole tree; prints file:line: message, and fails on any
    tools/tidy.py FILE...      check these only
    tools/tidy.py --self-test  give each rule a snippet that breaks it: is it found?

A rule is one function: it takes a Source and yields (line number, message). A new rule goes into
RULES, and a snippet that breaks it into BROKEN: the self-test insists on both.
"""
import ast
import os
import re
import sys

LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

# A folder of src/ may include from itself, from those with a lower number, and from include/.
LAYERS = {'arch': 0, 'sched': 1, 'sync': 2, 'io': 3, 'fetch': 4, 'dropin': 4, 'api': 4}
CORE = ('src/arch/', 'src/sched/', 'src/sync/', 'src/io/')
SWITCH_CALLER = 'src/sched/park.c'
# The accessor of the current worker, and the public edge, where libc and its thread-locals live.
THREAD_LOCAL_HOMES = ('src/sched/worker.h', 'src/sched/worker.c', 'src/api/')

C_ENDINGS = ('.c', '.h', '.S', '.cc', '.hpp')
CODE_ENDINGS = C_ENDINGS + ('.py', '.sh', '.mk', '.go', '.rs')
PROSE = ('.md',)
MAN = re.compile(r'\.[1-8]$')
FOLDERS = ('.ci', 'bench', 'docs', 'include', 'samples', 'src', 'tests', 'tools')
SKIPPED_ENDINGS = ('.png', '.svg', '.json', '.gz', '.pem', '.pyc')

# Words that mean one of ours (a fiber, to park, a worker) in somebody else's language.
FOREIGN_WORDS = re.compile(
    r'(?<![\w/])(coroutines?|goroutines?|tasks?|suspend(?:s|ed|ing)?|carriers?)(?!\w)', re.I)
UNFINISHED = re.compile(r'\b(TO' r'DO|FIX' r'ME|X' r'XX)\b')
CPU_MACRO = re.compile(r'__(x86_64|i386|aarch64|arm|riscv|powerpc64|s390x)\w*')
# The core also runs beneath a libc that knows nothing of it, so it calls none: arch.h has the raw
# system calls. memcpy, memmove, memset and memcmp are the compiler's own and are not in this list.
LIBC_CALL = re.compile(
    r'(?<![\w.])(?<!->)('
    r'(?:m|c|re)alloc|free|aligned_alloc|posix_memalign|'
    r'v?[sdf]?n?printf|f?puts|putchar|fwrite|fflush|perror|'
    r'str(?:n?len|n?cmp|n?cpy|n?cat|r?chr|str|dup|error|to[a-z]+)|ato[il]+|qsort|'
    r'(?:secure_)?getenv|abort|_?exit|atexit|assert|setjmp|longjmp|__errno_location|'
    r'open|close|read|write|readv|writev|pread|pwrite|recv|send|recvmsg|sendmsg|accept4?|connect|'
    r'mmap|munmap|mprotect|madvise|syscall|ioctl|poll|ppoll|eventfd|epoll_\w+|'
    r'nanosleep|usleep|clock_gettime|gettimeofday|sysconf|getpid|gettid|sched_\w+|pthread_\w+|'
    r'sigaction|sigaltstack|sigprocmask|raise|kill|getauxval|'
    r'io_uring_(?:queue_\w+|submit\w*|wait_\w+|register\w*|get_probe\w*|setup|enter)'
    r')\s*\(')
CLASS = re.compile(r'\b(class|struct|namespace) \w+( : [\w ]+)?$')
FLOAT = re.compile(r'\b(float|double)\b')
SPDX = 'SPDX-License-Identifier: MIT'


def blank_comments(text):
    """C text with comments and the insides of literals blanked; every line stays where it was."""
    def blank(match):
        found = match.group(0)
        if found[0] in '"\'':
            return found[0] + ' ' * (len(found) - 2) + found[-1]
        return re.sub(r'[^\n]', ' ', found)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text,
                  flags=re.S)


class Source:
    """One file: its path from the root of the repository, its lines, and its lines of pure code."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split('\n')
        if self.lines[-1] == '':
            self.lines.pop()
        self.is_c = path.endswith(C_ENDINGS)
        self.is_code = (path.endswith(CODE_ENDINGS) or path.endswith('Makefile')
                        or text.startswith('#!'))
        self.code = blank_comments(text).split('\n') if self.is_c else self.lines

    def under(self, *prefixes):
        return self.path.startswith(prefixes)

    @staticmethod
    def numbered(lines):
        return enumerate(lines, 1)


def layer_of(path):
    parts = path.split('/')
    return parts[1] if parts[0] == 'src' and len(parts) > 2 else None


def includes(src):
    """(line number, name, quoted) of each include; names are literals, so the raw lines count."""
    for number, line in src.numbered(src.lines):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match and src.is_c:
            yield number, match.group(2), match.group(1) == '"'


def rule_include_direction(src):
    """src: own folder, folders to the left, include/. Elsewhere: see below."""
    mine = layer_of(src.path)
    if src.under('src/') and src.is_c and mine not in LAYERS:
        yield 1, f'{os.path.dirname(src.path)} is not among the folders of LAYERS in tools/tidy.py'
        return
    for number, name, quoted in includes(src):
        target = name.split('/')[0]
        if name.startswith('.'):
            target = layer_of(os.path.normpath(os.path.join(os.path.dirname(src.path), name)))
        if src.under('include/', 'samples/') and (
                target in LAYERS or quoted and ('/' in name or src.under('include/'))):
            yield number, f'"{name}": only <coir...> and system headers here'
        if mine is None or target not in LAYERS or '/' not in name or target == mine:
            continue
        if LAYERS[target] >= LAYERS[mine]:
            yield number, f'{mine} must not include {target} ({name}): only what stands left of it'


def rule_include_of_source(src):
    for number, name, _ in includes(src):
        if name.endswith(('.c', '.cc')):
            yield number, f'includes the source file {name}'


def rule_file_length(src):
    if src.is_code and len(src.lines) > LINES_MAX:
        yield LINES_MAX + 1, f'{len(src.lines)} lines; at most {LINES_MAX}: this is two files'


def python_functions(src):
    for node in ast.walk(ast.parse(src.text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno - node.lineno + 1


def c_functions(src):
    """Our brace style: braces that stand alone in column 0 are a function's, or a C++ class's."""
    start = None
    for number, line in src.numbered(src.code):
        if line.rstrip() == '{' and not CLASS.search(src.code[number - 2]):
            start = number
            while start > 1 and re.match(r'\s*[\w*(]', src.code[start - 2]):
                start -= 1
        elif line.startswith('}') and start is not None:
            yield start, number - start + 1
            start = None


def rule_function_length(src):
    found = ()
    if src.path.endswith('.py'):
        found = python_functions(src)
    elif src.path.endswith(('.c', '.h', '.cc', '.hpp')):
        found = c_functions(src)
    for start, lines in found:
        if lines > FUNCTION_LINES_MAX:
            yield start, f'function of {lines} lines; at most {FUNCTION_LINES_MAX}'


def rule_columns(src):
    """Prose keeps to it too, but for tables and lines that are mostly one link."""
    if not src.is_code and not src.path.endswith(PROSE):
        return
    fenced = False
    for number, line in src.numbered(src.lines):
        if src.path.endswith(PROSE):
            fenced ^= line.startswith('```')
            if fenced or line.startswith('|') or '](http' in line:
                continue
        columns = len(line.expandtabs(8))
        if columns > COLUMNS_MAX:
            yield number, f'{columns} columns; at most {COLUMNS_MAX}'


def rule_cpu_condition(src):
    if not src.is_c or src.under('src/arch/', 'tests/arch/', 'bench/'):
        return
    for number, line in src.numbered(src.code):
        if re.match(r'\s*#\s*(if|elif)', line) and CPU_MACRO.search(line):
            yield number, 'asks for the CPU outside src/arch: give every port a file or a name'


def rule_thread_local(src):
    if not src.is_c or not src.under('src/', 'include/') or src.under(*THREAD_LOCAL_HOMES):
        return
    for number, line in src.numbered(src.code):
        if re.search(r'\b(_Thread_local|__thread|thread_local)\b', line):
            yield number, 'a thread-local outside the accessor (src/sched/worker.h) and src/api'


def rule_tabs(src):
    if src.is_c:
        for number, line in src.numbered(src.lines):
            if '\t' in line:
                yield number, 'a tab'


def rule_trailing_blanks(src):
    for number, line in src.numbered(src.lines):
        if line != line.rstrip():
            yield number, 'blanks at the end of the line'
    if not src.text.endswith('\n') or src.text.endswith('\n\n'):
        yield len(src.lines), 'the file must end with one newline'


def rule_unfinished(src):
    for number, line in src.numbered(src.lines):
        match = UNFINISHED.search(re.sub(r'`[^`]*`', '', line))
        if match:
            yield number, f'{match.group(1)}: finish it, or open an issue'


def rule_spdx(src):
    if src.is_code or MAN.search(src.path):
        if not any(SPDX in line for line in src.lines[:12]):
            yield 1, f'no "{SPDX}" in the first lines'


def rule_foreign_words(src):
    """In prose, `back quotes` may name somebody else's thing."""
    if not src.under('src/', 'include/', 'samples/', 'docs/', 'README.md', 'CONTRIBUTING.md'):
        return
    for number, line in src.numbered(src.lines):
        for match in FOREIGN_WORDS.finditer(re.sub(r'`[^`]*`', '', line)):
            yield number, f'"{match.group(1)}": our words are fiber, worker, ring, op, park, wake'


def rule_core_is_freestanding(src):
    if not src.is_c or not src.under(*CORE):
        return
    for number, line in src.numbered(src.code):
        if re.match(r'\s*#\s*(include|error|warning)', line):
            continue
        for match in LIBC_CALL.finditer(line):
            yield number, f'calls libc: {match.group(1)}()'
        if re.search(r'(?<![\w.])(?<!->)errno\b', line):
            yield number, 'uses errno; inside the library results are -errno'
        if FLOAT.search(line):
            yield number, 'uses floating point'


def rule_one_switch_site(src):
    if not src.is_c or not src.under('src/') or src.under('src/arch/') or src.path == SWITCH_CALLER:
        return
    for number, line in src.numbered(src.code):
        if re.search(r'\bcoir__arch_switch\s*\(', line):
            yield number, f'only {SWITCH_CALLER} calls coir__arch_switch'


def rule_head_comment(src):
    if not src.is_c or not src.lines:
        return
    match = re.match(r'(?:/\*|//) (\S+)', src.lines[0])
    if not match:
        yield 1, 'begins with a head comment: what the file is for'
    elif match.group(1).endswith(C_ENDINGS) and not ('/' + src.path).endswith('/' + match.group(1)):
        yield 1, f'the head comment names {match.group(1)}'


def rule_public_comments(src):
    """A declaration, or the run of declarations it stands in, has a comment right above."""
    if not src.under('include/'):
        return
    covered = False
    depth = 0
    for number, line in src.numbered(src.lines):
        code = src.code[number - 1]
        if not line.strip():
            covered = covered and depth > 0
        elif not code.strip():
            covered = True
        elif re.match(r'(COIR_API|typedef|struct|enum|union)\b', code) and not covered:
            # An enum may explain its members one by one instead.
            if not (code.startswith('enum') and '/*' in ''.join(src.lines[number:number + 1])):
                yield number, 'a public declaration without a comment above'
        depth += code.count('{') - code.count('}')


RULES = (
    rule_include_direction, rule_include_of_source, rule_file_length, rule_function_length,
    rule_columns, rule_cpu_condition, rule_thread_local, rule_tabs, rule_trailing_blanks,
    rule_unfinished, rule_spdx, rule_foreign_words, rule_core_is_freestanding,
    rule_one_switch_site, rule_head_comment, rule_public_comments,
)


def check(src):
    for rule in RULES:
        for number, message in rule(src):
            yield f'{src.path}:{number}: {message}'


def tree():
    """Every text file that is part of the project, from the root of the repository."""
    for name in sorted(os.listdir('.')):
        if os.path.isfile(name) and not name.endswith(SKIPPED_ENDINGS):
            yield name
    for folder in FOLDERS:
        for root, folders, names in os.walk(folder):
            folders[:] = sorted(f for f in folders if f not in ('__pycache__', 'build', 'target'))
            for name in sorted(names):
                if not name.endswith(SKIPPED_ENDINGS):
                    yield os.path.join(root, name)


def load(path):
    with open(path, encoding='utf-8') as file:
        return Source(os.path.normpath(path), file.read())


def head(path):
    return f'/* {path} - what it is for.\n * {SPDX} */\n'


def c(path, body):
    return [(path, head(path) + body)]


# For each rule at least one file that breaks it, and no other rule.
BROKEN = {
    rule_include_direction: c('src/sched/a.c', '#include "io/ring.h"\n')
    + c('src/arch/a.h', '#include "../sched/park.h"\n')
    + c('src/fetch/a.c', '#include "api/edge.h"\n')
    + c('src/other/a.c', '')
    + c('samples/a.c', '#include "sched/park.h"\n')
    + c('samples/a/a.c', '#include "../../src/sched/park.h"\n')
    + c('include/coir/a.h', '#include "base.h"\n'),
    rule_include_of_source: c('tests/sched/a.c', '#include "b.c"\n'),
    rule_file_length: c('src/io/a.c', '\n' * 600 + 'int a;\n'),
    rule_function_length: c('src/io/a.c', 'int a(void)\n{\n' + '    b();\n' * 68 + '}\n')
    + [('tools/a.py', f'# {SPDX}\ndef a():\n' + '    b()\n' * 70)],
    rule_columns: c('src/io/a.c', '/* ' + 'a' * 100 + ' */\n')
    + [('docs/a.md', 'a ' * 60 + 'a\n')],
    rule_cpu_condition: c('src/sched/a.c', '#if defined(__aarch64__)\n#endif\n')
    + c('src/io/a.c', '#ifdef __x86_64__\n#endif\n'),
    rule_thread_local: c('src/io/a.c', 'static _Thread_local int a;\n'),
    rule_tabs: c('src/io/a.c', '\tint a;\n'),
    rule_trailing_blanks: c('src/io/a.c', 'int a; \n') + [('docs/a.md', 'a')],
    rule_unfinished: c('src/io/a.c', '/* TO' 'DO: the rest */\n') + [('README.md', 'X' 'XX\n')],
    rule_spdx: [('src/io/a.c', '/* io/a.c - what it is for. */\n'), ('tools/a', '#!/bin/sh\n')],
    rule_foreign_words: c('src/io/a.c', '/* Suspends the caller. */\n')
    + c('samples/a.c', 'int task;\n') + [('docs/a.md', 'Like a goroutine.\n')],
    rule_core_is_freestanding: c('src/sched/a.c', 'void *a = malloc(1);\n')
    + c('src/io/a.c', 'int a = errno;\n') + c('src/io/b.c', 'close(fd);\n')
    + c('src/sched/b.c', 'double a;\n'),
    rule_one_switch_site: c('src/sched/worker.c', '    coir__arch_switch(&a, &b, 0);\n'),
    rule_head_comment: [('src/io/a.c', f'int a; /* {SPDX} */\n')]
    + [('src/io/a.c', head('io/b.c'))],
    rule_public_comments: c('include/coir/a.h', '\nCOIR_API int coir_a(void);\n')
    + c('include/coir/a.h', '/* One. */\nCOIR_API int coir_a(void);\n\nCOIR_API int coir_b;\n'),
}

# What the rules must leave alone.
SOUND = (
    c('src/sched/a.c', '#include "sched/park.h"\n#include "../arch/arch.h"\n#include <errno.h>\n'
      '/* free() and errno in a comment; "close(" in a string. */\n'
      'const char *a = "close(1) errno";\nint b = w->errno + ring.close(1) + -EINVAL;\n'
      'void c(void *to)\n{\n    memcpy(to, a, 4);\n    coir_free(to);\n}\n')
    + c('src/sched/park.c', '    coir__arch_switch(&a, &b, 0);\n')
    + c('src/api/a.c', '#include "io/op.h"\nint a = errno;\n')
    + c('include/a.hpp', 'class a\n{\n' + '    int b;\n' * 80 + '};\n')
    + c('samples/a/a.c', '#include "b.h"\n#include <coir.h>\n')
    + c('include/coir/a.h', '/* Two. */\nCOIR_API int coir_a(void);\nCOIR_API int coir_b(void);\n')
    + [('docs/a.md', 'Go calls it a `goroutine`; the kernel, /proc/self/task.\n')]
)


def self_test():
    failed = 0
    for rule in RULES:
        if not BROKEN.get(rule):
            print(f'{rule.__name__}: no snippet that breaks it')
            failed += 1
        for path, text in BROKEN.get(rule, ()):
            src = Source(path, text)
            if not list(rule(src)):
                print(f'{rule.__name__}: sees nothing wrong with this {path}:\n{text[:400]}')
                failed += 1
            for other in RULES:
                if other is not rule and list(other(src)):
                    print(f'{other.__name__}: speaks up at {path} of {rule.__name__}')
                    failed += 1
    for path, text in SOUND:
        for line in check(Source(path, text)):
            print(f'should be fine: {line}')
            failed += 1
    print(f'tidy self-test: {len(RULES)} rules, {failed} failed')
    return failed


def main(arguments):
    if arguments == ['--self-test']:
        return 1 if self_test() else 0
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    found = 0
    paths = arguments or list(tree())
    for path in paths:
        for line in check(load(path)):
            print(line)
            found += 1
    print(f'tidy: {len(paths)} files, {found} found')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
