# The relaxed x float64 kernels: the text of variant.pxi under this variant's compiler flags.

cdef const char* ISA = "relaxed"

include "variant.pxi"
