#!/usr/bin/env bash
# Make FOLDER/env: a virtual environment of a Python without the GIL, with what tests fastbp.
#
#     apt-get install build-essential zlib1g-dev libffi-dev libssl-dev debian-archive-keyring
#     tools/freethreaded.sh FOLDER
#     cd CHECKOUT && FOLDER/env/bin/python setup.py build_ext --inplace
#     FOLDER/env/bin/python tools/hardening.py free       # all that have wheels
#     FOLDER/env/bin/python tools/hardening.py parallel   # those of threads, in four threads at once
#
# Tests that cannot run in several threads at once are marked thread_unsafe. CPython is built from
# the source package of Debian 13, fetched by a private apt; wheels come from PyPI. Some ten minutes.
set -euo pipefail

release=trixie version=3.13
. "$(dirname "$0")/debian.sh"
mkdir -p "$1"
cd "$1"
mkdir -p source
private_apt deb-src amd64 $release
(cd source && apt-get -qq source --download-only "python$version" \
    && tar --extract --strip-components=1 --file "python${version}"_*.orig.tar.xz)
prefix=$PWD/python
(cd source && ./configure -q --disable-gil --prefix="$prefix" \
    && make -s -j "$(nproc)" && make -s install) >build.log 2>&1

"$prefix/bin/python${version}t" -m venv env
env/bin/pip install -q --only-binary=:all: 'numpy>=2' 'Cython>=3.3' 'setuptools>=77' 'pytest>=8' \
    'pytest-benchmark>=5' 'pytest-run-parallel>=0.8' 'hypothesis>=6.100' 'mpmath>=1.3' \
    'gmpy2>=2.1' 'rich>=13' 'matplotlib>=3.8' 'scipy>=1.13'
env/bin/python -c 'import sys; sys.exit(sys._is_gil_enabled())'
