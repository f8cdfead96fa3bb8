# The avx512 x float64 kernels: the text of variant.pxi under this variant's compiler flags.

cdef const char* ISA = "avx512"

include "variant.pxi"
