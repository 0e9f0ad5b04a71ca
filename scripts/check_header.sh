#!/usr/bin/env bash
# The rules of include/unsay.h: it compiles alone, in every dialect and without padding,
# and the C tests know each of its functions.
set -euo pipefail
cd "$(dirname "$0")/.."

warnings=(-pedantic -Wall -Wextra -Wpadded -Werror -Iinclude -fsyntax-only)
compilers=0
for pair in gcc:g++ clang:clang++; do
    c=${pair%%:*} cxx=${pair##*:}
    command -v "$c" > /dev/null || continue
    "$c" -std=c99 "${warnings[@]}" Tests/c/header/alone.c
    command -v "$cxx" > /dev/null || continue
    for standard in c++11 c++20; do
        "$cxx" -std="$standard" -x c++ "${warnings[@]}" Tests/c/header/alone.c
    done
    compilers=$((compilers + 1))
done
[ "$compilers" -gt 0 ] || { echo "found neither gcc nor clang"; exit 1; }

declared=$(python3 scripts/header_functions.py | sort)
tested=$(grep -oE '\{"unsay_[a-z0-9_]+"' Tests/c/every_function.c | tr -d '{"' | sort)
diff <(echo "$declared") <(echo "$tested") || {
    echo "Tests/c/every_function.c and include/unsay.h disagree"; exit 1; }
for name in $declared; do
    grep -qw "$name" Tests/c/story*.c || { echo "Tests/c/story*.c never calls $name"; exit 1; }
done
echo "header: $compilers compilers, $(echo "$declared" | wc -l) functions, no padding"
