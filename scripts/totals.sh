#!/usr/bin/env bash
# Prints each test runner's own last word, from the logs that `make test` keeps.
set -euo pipefail
cd "$(dirname "$0")/../build/test"

last() { grep -E "$2" "$1" | tail -1 || true; }
printf 'swift   %s\n' "$(last swift.log 'Test run with')"
printf 'c       %s\n' "$(last c.log '^story: ')"
printf 'python  %s\n' "$(last python.log '(passed|failed|error).* in ')"
