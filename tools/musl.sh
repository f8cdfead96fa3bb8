#!/usr/bin/env bash
# Make FOLDER/python: a Python on musl's C library, with what tests fastbp's musllinux wheel.
#
#     apt-get install make xz-utils autoconf automake libtool libltdl-dev debian-archive-keyring
#     pip install ziglang==0.17.1
#     tools/musl.sh FOLDER
#     pip --python FOLDER/python install fastbp-*-cp313-cp313-musllinux_*_x86_64.whl
#     cd FOLDER && ./python -m fastbp check
#     ./python -m pytest --import-mode=importlib CHECKOUT/tests/bits
#
# For x86-64. musl comes from Debian 13, by a private apt and without root, and is unpacked, not
# installed; so do the sources of CPython and of two libraries, which `zig cc` compiles. Wheels come
# from PyPI. The musl of Debian 12 will not do: older than 1.2.4, it skips the packed form of relative
# relocations, which the libraries in NumPy's wheel have, and crashes. Some ten minutes.
set -euo pipefail

release=trixie version=3.13
. "$(dirname "$0")/debian.sh"
mkdir -p "$1"
cd "$1"
mkdir -p source sysroot tool
private_apt "deb deb-src" amd64 $release
(cd apt/cache && apt-get -qq download musl)
dpkg --extract apt/cache/musl_*_amd64.deb sysroot
libc=$(find "$PWD/sysroot" -name libc.so)

# The compiler as one word. What it links names this musl as its loader, not one of the system's.
zig=$("${PYTHON:-python3}" -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')/zig
for name in ar ranlib; do
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$zig" $name >tool/$name
done
cat >tool/cc <<CC
#!/bin/sh
exec $zig cc -target x86_64-linux-musl -dynamic -Wl,-dynamic-linker,$libc -Wno-date-time "\$@"
CC
chmod +x tool/*
export CC=$PWD/tool/cc AR=$PWD/tool/ar RANLIB=$PWD/tool/ranlib
export CFLAGS="-O2 -g0 -fPIC" CPPFLAGS="-I$PWD/library/include" LDFLAGS="-L$PWD/library/lib"

unpack() {      # PACKAGE: its source, in the folder of that name
    (cd source && apt-get -qq source --tar-only "$1" && mkdir -p "$1" \
        && tar --extract --strip-components=1 --directory "$1" --file "$1"_*.orig.tar.*z)
}
build() {       # PACKAGE, the folder it is installed in, then what configure is told
    (cd "source/$1" && ./configure --prefix="$2" "${@:3}" && make -j "$(nproc)" && make install) \
        >>"$1.log" 2>&1
}
unpack zlib
build zlib "$PWD/library" --static
unpack libffi
(cd source/libffi && ./autogen.sh) >libffi.log 2>&1
build libffi "$PWD/library" --build=x86_64-linux-musl --disable-shared --disable-docs
unpack "python$version"
# CPython knows musl by a name in GCC's stdarg.h, which Clang's lacks.
sed -i 's/ifdef __DEFINED_va_list/if 1/' "source/python$version/Misc/platform_triplet.c"
build "python$version" "$PWD/prefix" --with-pkg-config=no --without-ensurepip \
    --disable-test-modules LIBFFI_CFLAGS="$CPPFLAGS" LIBFFI_LIBS="$LDFLAGS -lffi"
ln -sf "prefix/bin/python$version" python

"${PYTHON:-python3}" -m pip install -q --upgrade --only-binary=:all: \
    --target "prefix/lib/python$version/site-packages" --python-version "$version" \
    --platform musllinux_1_2_x86_64 \
    'numpy>=2' 'pytest>=8' 'pytest-benchmark>=5' 'mpmath>=1.3' 'gmpy2>=2.1' 'hypothesis>=6.100'
./python -c 'import ctypes, numpy, zlib'
