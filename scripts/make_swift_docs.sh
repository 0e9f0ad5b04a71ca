#!/usr/bin/env bash
# The reference of `import Unsay` by the toolchain's docc, in build/docs/swift.
#     make_swift_docs.sh SCRATCH BUILD_FLAGS...
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$1
shift

tools=$(dirname "$(readlink -f "$(command -v swift)")")
for tool in docc swift-symbolgraph-extract; do
    [ -x "$tools/$tool" ] || { echo "docs-swift: this toolchain has no $tool"; exit 1; }
done

swift build -c release --target Unsay --scratch-path "$scratch" "$@"
symbols=build/docs/symbols
rm -rf "$symbols" build/docs/swift
mkdir -p "$symbols"
# The C targets below, as SwiftPM shows them to the compiler.
maps=()
for map in "$scratch"/release/*.build/module.modulemap; do
    maps+=(-Xcc "-fmodule-map-file=$map")
done
"$tools/swift-symbolgraph-extract" -module-name Unsay -minimum-access-level public \
    -target "$(swiftc -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)",/\1/p' | head -1)" \
    -I "$scratch/release/Modules" -I include "${maps[@]}" -output-dir "$symbols"
"$tools/docc" convert Sources/Unsay/Unsay.docc --additional-symbol-graph-dir "$symbols" \
    --fallback-display-name Unsay --fallback-bundle-identifier unsay --warnings-as-errors \
    --output-path build/docs/swift
echo "docs-swift: $(find build/docs/swift/data -name '*.json' | wc -l) pages in build/docs/swift"
