"""CPU features -> kernel table: which variants were built, which the CPU has, which is used.

A variant's module is imported only after the CPU reported every feature it was compiled
for; its table arrives as a capsule, because a ``cimport`` would import the module first.
The choice is made once, at import: the best variant, or the one FASTBP_ISA names.
"""

import importlib
import os
import sys
from importlib.machinery import PathFinder

from cpython.pycapsule cimport PyCapsule_GetPointer

from fastbp._kernels.table cimport MOST_LANES, TABLE_VERSION, KernelTable

cdef extern from *:
    """
    #if defined(__x86_64__)
    /* The processor itself is asked. __builtin_cpu_supports is what a compiler's library makes of
       it, and the one of `zig cc` says no to everything. */
    #include <cpuid.h>
    static int fastbp_saved(unsigned registers) {      /* by the system, when threads change */
        unsigned a, b, c, d;
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
        __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
        return (a & registers) == registers;
    }
    static int fastbp_has_avx2(void) {
        unsigned a, b, c, d;
        return fastbp_saved(0x6) && __get_cpuid(1, &a, &b, &c, &d)
            && (c & bit_AVX) && (c & bit_FMA)
            && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
    }
    static int fastbp_has_avx512(void) {
        const unsigned all = bit_AVX512F | bit_AVX512CD | bit_AVX512VL | bit_AVX512BW
            | bit_AVX512DQ;
        unsigned a, b, c, d;
    #if !defined(__APPLE__)             /* macOS sets these bits when a thread first needs them */
        if (!fastbp_saved(0xe6)) return 0;
    #endif
        return fastbp_has_avx2() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & all) == all;
    }
    static int fastbp_has_neon(void) { return 0; }
    #else
    static int fastbp_has_avx2(void) { return 0; }
    static int fastbp_has_avx512(void) { return 0; }
    #if defined(__aarch64__)
    static int fastbp_has_neon(void) { return 1; }
    #else
    static int fastbp_has_neon(void) { return 0; }
    #endif
    #endif
    #ifndef __VERSION__
    #define __VERSION__ "unknown"
    #endif
    #if defined(__clang__)
    #define FASTBP_COMPILER "Clang " __clang_version__
    #else
    #define FASTBP_COMPILER "GCC " __VERSION__
    #endif
    #ifndef FASTBP_FLAGS
    #define FASTBP_FLAGS "unknown"
    #endif
    """
    bint has_avx512 "fastbp_has_avx512"()
    bint has_avx2 "fastbp_has_avx2"()
    bint has_neon "fastbp_has_neon"()
    const char* FASTBP_COMPILER
    const char* FASTBP_FLAGS

# Digests of gradients are recorded per version of the numerics contract N1-N6.
CONTRACT_VERSION = 1
COMPILER = FASTBP_COMPILER.decode()
FLAGS = FASTBP_FLAGS.decode()       # of all modules; then, after semicolons, of each variant

# Best first.
ISAS = ("avx512", "avx2", "neon", "relaxed", "generic")
DTYPES = ("float32", "float64")

cdef const KernelTable* active_float32 = NULL
cdef const KernelTable* active_float64 = NULL
cdef const KernelTable* networks_float32 = NULL
cdef const KernelTable* networks_float64 = NULL
cdef str active_isa = None


cdef const KernelTable* kernels(Py_ssize_t itemsize) noexcept nogil:
    return active_float32 if itemsize == 4 else active_float64


cdef const KernelTable* kernels_of_networks(Py_ssize_t itemsize) noexcept nogil:
    return networks_float32 if itemsize == 4 else networks_float64


def has_relaxed():
    """Whether relaxed SIMD of WebAssembly is there, and fuses."""
    if sys.platform != "emscripten":
        return False
    from fastbp._kernels.webassembly import rounds_once
    return rounds_once()


def cpu_isas():
    """Variants whose instructions this CPU and operating system support, best first."""
    has = {"avx512": has_avx512(), "avx2": has_avx2(), "neon": has_neon(),
           "relaxed": has_relaxed(), "generic": True}
    return tuple(isa for isa in ISAS if has[isa])


def built_isas():
    """Variants this installation contains, best first."""
    path = sys.modules["fastbp._kernels"].__path__     # an import would wait for that of fastbp
    return tuple(isa for isa in ISAS if all(
        PathFinder.find_spec(f"fastbp._kernels.{isa}_{dtype}", path) for dtype in DTYPES))


def available_isas():
    """Names of the kernel variants that are built and supported by this CPU, best first.

    Returns
    -------
    tuple of str
        Any of "avx512", "avx2", "neon", "relaxed", "generic".
    """
    built = built_isas()
    return tuple(isa for isa in cpu_isas() if isa in built)


def get_isa():
    """Name of the kernel variant in use.

    Returns
    -------
    str
        One of `available_isas()`.
    """
    return active_isa


cdef int first_missing(const KernelTable* table) noexcept:
    """Which of the functions is not there; -1 if all are that a table with its lanes has."""
    cdef void* const* functions = <void* const*> &table.activate
    cdef const void* end = table + 1
    if table.networks > 1:
        end = &table.sigmoid_backward
    cdef int i, n = <int> ((<const char*> end - <const char*> functions) // sizeof(void*))
    for i in range(n):
        if functions[i] == NULL:
            return i
    return -1


cdef const KernelTable* load_table(str isa, str dtype, str name) except NULL:
    cdef const KernelTable* table
    module = importlib.import_module(f"fastbp._kernels.{isa}_{dtype}")
    table = <const KernelTable*> PyCapsule_GetPointer(getattr(module, name), "fastbp.KernelTable")
    if (table.version != TABLE_VERSION or table.size != sizeof(KernelTable)
            or table.networks > MOST_LANES or first_missing(table) >= 0):
        raise ImportError(f"{module.__file__} was compiled for another version of the kernels' "
                          "table, or lacks a kernel; reinstall with `pip install .`")
    if (table.isa.decode() != isa
            or table.itemsize != table.networks * (4 if dtype == "float32" else 8)):
        raise ImportError(f"{module.__file__} was compiled for {table.isa.decode()}; "
                          "reinstall with `pip install .`")
    return table


def set_isa(str isa):
    """Switch the variant that equation functions, and networks built from now on, use.

    Meant for tests and benchmarks, which compare the variants within one process; users
    set FASTBP_ISA.  Raises `ValueError` for a name that `available_isas()` lacks.
    """
    global active_float32, active_float64, networks_float32, networks_float64, active_isa
    available = available_isas()
    if isa not in available:
        raise ValueError(
            f"isa is {isa!r}; this CPU and this build of fastbp have {', '.join(available)}")
    cdef const KernelTable* single = load_table(isa, "float32", "table")
    cdef const KernelTable* double_ = load_table(isa, "float64", "table")
    cdef const KernelTable* singles = load_table(isa, "float32", "networks")
    networks_float64 = load_table(isa, "float64", "networks")
    networks_float32, active_float64, active_float32 = singles, double_, single
    active_isa = isa


def fma_peak(dtype, Py_ssize_t rounds):
    """Run a register-only FMA loop of the active variant; the floating-point operations done."""
    cdef double sink = 0
    cdef double operations
    cdef const KernelTable* table = kernels(4 if dtype == "float32" else 8)
    with nogil:
        operations = table.fma_peak(&sink, rounds)
    return operations


def _choose():
    available = available_isas()
    if not available:
        raise ImportError(
            "fastbp has no kernel variant for this CPU: built are "
            f"{', '.join(built_isas()) or 'none'}; reinstall with `pip install .`")
    isa = os.environ.get("FASTBP_ISA", "").strip().lower() or available[0]
    if isa not in available:
        raise ImportError(
            f"FASTBP_ISA is {isa!r}; this CPU and this build of fastbp have "
            f"{', '.join(available)} (known names: {', '.join(ISAS)})")
    set_isa(isa)


_choose()
