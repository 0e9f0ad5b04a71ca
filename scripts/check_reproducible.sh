#!/usr/bin/env bash
# Builds the last commit from two clean clones in folders of different names and compares
# build/lib/libunsay.so.N, byte by byte; says in which sections they differ, if they do.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -z "$(git status --porcelain --untracked-files=no)" ] ||
    echo "reproducible: builds the last commit, without what is changed since"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

libraries=()
for name in one another/of-a-longer-name; do
    git clone --quiet . "$work/$name"
    echo "reproducible: building in $work/$name"
    make --no-print-directory -C "$work/$name" build > "$work/log" 2>&1 ||
        { tail -n 20 "$work/log"; exit 1; }
    libraries+=("$(echo "$work/$name"/build/lib/libunsay.so.*)")
done

sha256sum "${libraries[@]}"
cmp --silent "${libraries[@]}" && { echo "reproducible: the same bytes"; exit 0; }

readelf --sections --wide "${libraries[0]}" | sed -n 's/^ *\[ *[0-9]*\] \(\.[^ ]*\).*/\1/p' |
    while read -r section; do
        for index in 0 1; do
            objcopy --dump-section "$section=$work/section$index" "${libraries[index]}" \
                /dev/null 2> /dev/null || : > "$work/section$index"
        done
        cmp --silent "$work/section0" "$work/section1" || echo "reproducible: $section differs"
    done
exit 1
