#!/usr/bin/env bash
# A libunsay.so exports the functions of include/unsay.h and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
library=${1:-bindings/python/src/unsay/libunsay.so}

exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort)
diff <(python3 scripts/header_functions.py | sort) <(echo "$exported") || {
    echo "$library: exports (right) are not the header's functions (left)"; exit 1; }
echo "exports: $(echo "$exported" | wc -l) functions, nothing else"
