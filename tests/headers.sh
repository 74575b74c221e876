#!/bin/sh
# tests/headers.sh - the public headers compile without a warning in every language that base.h
# promises, each of them also on its own, and so do programs that use their macros. Env: CC, CXX.
# SPDX-License-Identifier: MIT
cd "$(dirname "$0")/.." || exit 1
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror'
cxx="${CXX:-c++} -Wold-style-cast -Wzero-as-null-pointer-constant"
passed=0
failed=0

compiles() { # LANGUAGE TEXT COMPILER OPTIONS...
    language=$1 text=$2
    shift 2
    # shellcheck disable=SC2086 # several words
    if echo "$text" | "$@" -Iinclude $warnings -fsyntax-only -x "$language" -; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$(echo "$text" | head -1): $*"
    fi
}

for header in coir.h $(cd include && ls coir/*.h); do
    compiles c "#include <$header>" "${CC:-cc}" -std=gnu11
    compiles c "#include <$header>" "${CC:-cc}" -std=c11 -D_GNU_SOURCE
    for std in c++11 c++17 c++20; do
        # shellcheck disable=SC2086
        compiles c++ "#include <$header>" $cxx -std=$std
    done
done
for header in coir.hpp $(cd include && ls coir/*.hpp); do
    for std in c++17 c++20; do
        # shellcheck disable=SC2086
        compiles c++ "#include <$header>" $cxx -std=$std
    done
done
for std in c++11 c++17 c++20; do
    # shellcheck disable=SC2086
    compiles c++ "$(cat tests/cxx/usage.cc)" $cxx -std=$std
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
