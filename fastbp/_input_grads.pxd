from fastbp._second_order cimport SecondOrder


cdef class InputGradients(SecondOrder):
    """`input_grad` and `jacobian` of an `MLP`; only `MLP` is made."""
    cdef object counts      # 0, 1, 2, ..., n_outputs, made by the first `jacobian`
