"""The environment of the measuring process: one thread for each library, and each at its best.

Some variables make a library use other kernels than it would choose for this CPU, or keep it from
compiling. A peer that is timed under one of them makes fastbp look faster than it is, so they are
left out, and the results say which.
"""

import os
import re
import subprocess
import sys

# NPROC and XLA_FLAGS are JAX's; it also looks at the affinity. No accelerator is to be looked for.
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                     "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "FASTBP_NUM_THREADS", "NPROC"),
                    "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu",
}
SET_AT_ALL = r"\S"
ON = r"(?i)^\s*(?!(0|false|off|no|n|f)\s*$)\S"
# Variables that slow a peer down, with a pattern that is found in such a value.
SLOWING = {
    **dict.fromkeys(("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_BLOCK_FACTOR",
                     "BLIS_ARCH_TYPE", "BLIS_MODEL_TYPE", "MKL_DEBUG_CPU_TYPE",
                     "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA",
                     "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS", "DNNL_CPU_ISA_HINTS",
                     "ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES",
                     "NPY_ENABLE_CPU_FEATURES"), SET_AT_ALL),
    **dict.fromkeys(("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE", "JAX_DISABLE_JIT",
                     "JAX_DEBUG_NANS", "JAX_DEBUG_INFS", "JAX_ENABLE_CHECKS",
                     "JAX_DISABLE_MOST_OPTIMIZATIONS"), ON),
    "XLA_FLAGS": r"isa|vector_width|optimization_level|disable",
    "GLIBC_TUNABLES": r"glibc\.cpu\.",
}


def slowing(environ):
    """Those variables of `environ` that slow a peer down, {name: value}."""
    return {name: environ[name] for name, pattern in SLOWING.items()
            if re.search(pattern, environ.get(name, ""))}


def measuring(environ):
    """`environ` for a process that times peers on one core."""
    unset = slowing(environ)
    return {name: value for name, value in environ.items() if name not in unset} | ONE_THREAD


def start_again():
    """Run this script in a process of that environment, and exit; return in that process.

    A BLAS reads the environment when NumPy is loaded, which it is already.
    """
    environ = measuring(os.environ)
    if environ != dict(os.environ):
        for name, value in slowing(os.environ).items():
            print(f"without {name}={value}, which slows a peer down", file=sys.stderr)
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environ).returncode)
