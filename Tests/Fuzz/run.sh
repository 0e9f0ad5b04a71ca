#!/usr/bin/env bash
# run.sh PROGRAM FOLDER SECONDS: runs every fuzz target on its seeds in FOLDER/seeds, keeps what
# it finds in FOLDER/corpus, and ends with a line for each. The first crash, leak or
# allocation out of proportion stops it; its input lies in FOLDER/crashes.
set -euo pipefail
program=$1 folder=$2 seconds=$3

# Leaks: Swift's runtime keeps metadata for ever, which LeakSanitizer would report; the C
# tests look for leaks under valgrind.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
for target in folder spiece tokenizer config delta session classifier; do
    corpus=$folder/corpus/$target log=$folder/$target.log
    mkdir -p "$corpus" "$folder/crashes"
    if ! "$program" "$target" -max_total_time="$seconds" -max_len=200000 -timeout=20 \
        -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 \
        -artifact_prefix="$folder/crashes/$target-" \
        "$corpus" "$folder/seeds/$target" "Tests/Fuzz/regressions/$target" > "$log" 2>&1; then
        tail -40 "$log"
        echo "fuzz $target: failed; the input lies in $folder/crashes"
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p' "$log")
    echo "fuzz $target: $runs executions, $covered edges, 0 crashes"
done
