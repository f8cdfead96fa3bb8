# The avx2 x float32 kernels: the text of variant.pxi under this variant's compiler flags.

cdef const char* ISA = "avx2"

include "variant.pxi"
