from fastbp._network cimport Network
from fastbp._problem cimport Problem


cdef class PerSample(Network):
    """The methods of `MLP` about the gradient of each sample; only `MLP` is made."""
    cdef double _clipped(self, Problem p, norms, double limit, double deviation, raw,
                         double divisor) except? -1
