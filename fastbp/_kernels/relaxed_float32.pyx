# The relaxed x float32 kernels: the text of variant.pxi under this variant's compiler flags.

cdef const char* ISA = "relaxed"

include "variant.pxi"
