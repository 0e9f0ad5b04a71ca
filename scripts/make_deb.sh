#!/usr/bin/env bash
# Debian packages of build/lib, in build/deb: libunsay1, libunsay-dev, python3-unsay. Works on a
# copy of what they need, so that debian/ stays out of the checkout's root. Their maintainer is who
# makes them: DEBFULLNAME and DEBEMAIL, as for debhelper's and devscripts' own tools.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in dpkg-buildpackage dh dh_python3; do
    command -v "$tool" > /dev/null ||
        { echo "deb: needs $tool: apt-get install dpkg-dev debhelper dh-python"; exit 1; }
done

tree=build/deb/tree
rm -rf build/deb
mkdir -p "$tree/build" "$tree/bindings/python/src"
cp -a Makefile LICENSE README.md include packaging scripts "$tree"
cp -a packaging/debian "$tree/debian"
mkdir -p "$tree/bindings/python/src/unsay/cli"
cp -a bindings/python/src/unsay/*.py bindings/python/src/unsay/py.typed \
    "$tree/bindings/python/src/unsay"
cp -a bindings/python/src/unsay/cli/*.py "$tree/bindings/python/src/unsay/cli"
cp -a build/lib "$tree/build/lib"

if [ -n "${DEBEMAIL:-}" ]; then
    case $DEBEMAIL in
        *?' <'?*@?*'>') maintainer=$DEBEMAIL ;;
        *?@?*) maintainer="${DEBFULLNAME:-Unsay developers} <$DEBEMAIL>" ;;
        *) echo "deb: DEBEMAIL is '$DEBEMAIL', expected an address"; exit 1 ;;
    esac
    escaped=$(printf '%s' "$maintainer" | sed 's/[&|\\]/\\&/g')
    sed -i "s|^Maintainer: .*|Maintainer: $escaped|" "$tree/debian/control"
    sed -i "s|^ -- .*>  | -- $escaped  |" "$tree/debian/changelog"
fi

# Without a check of build dependencies: what they build is there.
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps --no-pre-clean \
    --root-command=) > build/deb/log 2>&1 || { tail -n 40 build/deb/log; exit 1; }
rm -rf "$tree"
echo "deb:"
(cd build/deb && ls -1 ./*.deb)
