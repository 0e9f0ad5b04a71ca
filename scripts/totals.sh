#!/usr/bin/env bash
# Prints each test runner's own last word, from the logs that `make test` keeps.
set -euo pipefail
cd "$(dirname "$0")/../build/test"

grep -E 'Test run with' swift.log | tail -1
grep -E '^story: ' c.log | tail -1
grep -E '(passed|failed|error).* in ' python.log | tail -1
