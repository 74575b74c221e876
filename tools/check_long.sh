#!/bin/bash
# tools/check_long.sh - everything that is too slow for every change: both compilers, Boost's
# switch, other CPUs, musl, all sanitizers at large counts, valgrind. For make check-long.
# SPDX-License-Identifier: MIT
#
# Goes on after a failure; the last line is the sum of all, "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() {
    local start=$SECONDS status=0
    printf '\n=== %s\n' "$*"
    "$@" 2>&1 | tee "$log" || status=$?
    while read -r good bad; do
        passed=$((passed + good))
        failed=$((failed + bad))
        ((bad)) && status=0 # counted
    done < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p' "$log")
    ((status)) && failed=$((failed + 1))
    printf '=== %d s\n' $((SECONDS - start))
}

step make CC=gcc CXX=g++ test
step make CC=clang CXX=clang++ BUILD=build/clang test
step make ARCH=boost BUILD=build/boost test
step make CFLAGS="-O0 -g" CXXFLAGS="-O0 -g" BUILD=build/O0 test
# The linker's compiler sees a channel copy 16 bytes to a long, in a branch that is not taken.
step make CFLAGS="-O3 -g -flto=auto -ffat-lto-objects -Wno-stringop-overflow" BUILD=build/lto test
step make check-lto
step make cross SCALE=20
step make musl SCALE=100
step make asan SCALE=100
step make asan SCALE=50 CC=clang CXX=clang++ BUILD=build/clang
step make ubsan SCALE=100
step make tsan SCALE=20
step make valgrind SCALE=5
step make tidy
echo "$passed passed, $failed failed"
exit $((failed > 0))
