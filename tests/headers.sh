#!/bin/sh
# tests/headers.sh - the public headers compile without a warning in every language that base.h
# promises, each of them also on its own. Env: CC, CXX.
# SPDX-License-Identifier: MIT
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0

compiles() { # LANGUAGE HEADER COMPILER OPTIONS...
    language=$1 header=$2
    shift 2
    if echo "#include <$header>" |
        "$@" -Iinclude -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x "$language" -; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$header: $*"
    fi
}

for header in coir.h $(cd include && ls coir/*.h); do
    compiles c "$header" "${CC:-cc}" -std=gnu11
    compiles c "$header" "${CC:-cc}" -std=c11 -D_GNU_SOURCE
    for std in c++11 c++17 c++20; do
        compiles c++ "$header" "${CXX:-c++}" -std=$std
    done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
