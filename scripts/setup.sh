#!/usr/bin/env bash
# Checks what building and testing need. As root, installs missing Debian packages;
# otherwise says which, and stops.
set -euo pipefail

needed=6.3
if ! command -v swift > /dev/null; then
    echo "setup: needs a Swift $needed toolchain on PATH, found none (see swift.org/install)"
    exit 1
fi
found=$(swift --version 2> /dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -1)
if [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -1)" != "$needed" ]; then
    echo "setup: needs Swift $needed or later, found ${found:-no version}"
    exit 1
fi

packages=(gcc g++ libonnx-dev libprotobuf-dev libzstd-dev
    libcjson-dev nettle-dev pkg-config valgrind clang-format)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' ||
        missing+=("$package")
done
command -v ld.lld > /dev/null || command -v "$(dirname "$(command -v swift)")/ld.lld" > /dev/null ||
    missing+=(lld)
python3 -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: these packages are missing; install them and try again:"
    echo "    sudo apt-get install ${missing[*]}"
    exit 1
fi
echo "setup: installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
