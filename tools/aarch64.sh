#!/usr/bin/env bash
# Make FOLDER/python: an arm64 Python under emulation, with what builds and tests fastbp.
#
#     apt-get install qemu-user-static gcc-aarch64-linux-gnu debian-archive-keyring
#     tools/aarch64.sh FOLDER
#     cd CHECKOUT && FOLDER/python setup.py build_ext --inplace && FOLDER/python -m pytest
#
# For Debian 12. Its packages for arm64 are unpacked and not installed, by a private apt, and wheels
# come from PyPI: no root, no chroot, no binfmt. QEMU emulates this Python and what it starts as
# sys.executable; the cross compiler, which its sysconfig names, runs on the host.
set -euo pipefail

release=bookworm version=3.11
. "$(dirname "$0")/debian.sh"
mkdir -p "$1"
cd "$1"
mkdir -p sysroot site
private_apt deb arm64 $release
apt-get -qq --yes --download-only --no-install-recommends install \
    "python$version" "libpython$version-dev" libstdc++6
for package in apt/cache/archives/*.deb; do
    dpkg --extract "$package" sysroot
done

"${PYTHON:-python3}" -m pip install -q --upgrade --target site --python-version "$version" \
    --only-binary=:all: --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux2014_aarch64 \
    'numpy>=2' 'Cython>=3.3' 'setuptools>=77' 'pytest>=8' 'mpmath>=1.3' 'gmpy2>=2.1' \
    'hypothesis>=6.100'

cat >python <<PYTHON
#!/bin/sh
export PYTHONHOME=$PWD/sysroot/usr PYTHONPATH="$PWD/site\${PYTHONPATH:+:\$PYTHONPATH}"
# The compiler has headers of its own, and takes from the sysroot only those that it lacks.
export CFLAGS="-idirafter $PWD/sysroot/usr/include"
exec qemu-aarch64-static -0 "$PWD/python" -L $PWD/sysroot $PWD/sysroot/usr/bin/python$version "\$@"
PYTHON
chmod +x python
