#!/usr/bin/env bash
# sanitize.sh MODEL_FOLDER: the C story, every bad argument and a short soak with the library
# and the program built for AddressSanitizer, for ThreadSanitizer, each with undefined behaviour
# of C and C++ as a trap, and under valgrind. Ends at the first finding.
set -euo pipefail
cd "$(dirname "$0")/.."
model=$1
# The sanitizers' runtimes of the compiler that the library is built with.
tools=$(dirname "$(readlink -f "$(command -v swift)")")
# ThreadSanitizer's needs these two.
dispatch=$tools/../lib/swift/linux
options=(-std=c11 -O1 -g -Wall -Wextra -Iinclude -ITests/c)
programs=(story bad_arguments soak)
sources() {
    case $1 in
        story) echo Tests/c/story*.c ;;
        bad_arguments) echo Tests/c/bad_arguments*.c build/test/bad_arguments_cases.c ;;
        soak) echo Tests/Soak/*.c ;;
    esac
}

# run KIND COMMAND...: every program, in a scratch folder of its own.
run() {
    local kind=$1
    shift
    for program in "${programs[@]}"; do
        local scratch=build/$kind/scratch more=()
        [ "$program" != soak ] || more=(20)
        rm -rf "$scratch" && mkdir -p "$scratch"
        "$@" "build/$kind/$program" "$model" "$scratch" "${more[@]}"
        echo "sanitize: $program clean under $kind"
    done
}

# Leaks: Swift's runtime keeps metadata for ever; `make leaks` and valgrind look for them.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1
for kind in address thread; do
    SANITIZE=1 swift build -c release --product unsay --sanitize=$kind \
        --scratch-path "build/with-$kind" \
        --explicit-target-dependency-import-check error --disable-build-manifest-caching
    mkdir -p "build/$kind"
    cp "build/with-$kind/release/libunsay.so" "build/$kind/libunsay.so.1"
    for program in "${programs[@]}"; do
        # shellcheck disable=SC2046
        "$tools/clang" "${options[@]}" -fsanitize=$kind $(sources "$program") \
            -o "build/$kind/$program" "build/$kind/libunsay.so.1" -Wl,-rpath,"$PWD/build/$kind" \
            -L"$dispatch" -ldispatch -lBlocksRuntime -Wl,-rpath,"$dispatch" -lm -lpthread
    done
    run $kind env
done

# Without the soak, which valgrind, one thread at a time, only slows down.
programs=(story bad_arguments)
mkdir -p build/valgrind
cp build/test/story build/test/bad_arguments build/valgrind/
run valgrind valgrind --quiet --suppressions=Tests/c/valgrind.supp --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite --error-exitcode=1
