"""The way back over a whole batch whose activations are kept, from any dL/dh_L.

Block after block: delta_L = dL/dh_L * act'(z_L) and E5 in parts of rows, then E6 over the block.
"""

from libc.string cimport memcpy

from fastbp._kernels.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._recursion cimport carry_out, descend, rows_in_turn, threads_for, weight_gradients
from fastbp._team cimport Seat, do_phase
from fastbp._workspace cimport BLOCK, Buffers, Shape, Sweep

ctypedef struct Backward:       # the task of `backward_of_thread` and its phases
    Sweep* sweep
    const char* X
    const char* grad_output
    char* input_grad
    Py_ssize_t n
    Py_ssize_t row                  # of the block, its first
    Py_ssize_t rows


cdef int backward_all(Workspace ws, const char* X, const char* grad_output, char* input_grad,
                      Py_ssize_t n, int asked) except -1:
    cdef Backward task = Backward(&ws.sweep, X, grad_output, input_grad, n, 0, 0)
    return carry_out(&ws.sweep, backward_of_thread, &task,
                     min(ws.threads, threads_for(ws.shape, n, 2, asked)))


cdef void backward_of_thread(void* task, Seat* seat) noexcept nogil:
    cdef Backward t = (<Backward*> task)[0]
    cdef Py_ssize_t block = <Py_ssize_t> BLOCK * t.sweep.meeting.parts, i
    cdef float_mode mode = enter_float_mode()
    for i in range(max(1, (t.n + block - 1) // block)):
        t.row = i * block
        t.rows = min(block, t.n - t.row)
        if do_phase(t.sweep.meeting, seat, delta_part, &t):
            break
        if t.sweep.layers[0].dW != NULL and do_phase(t.sweep.meeting, seat, weights_part, &t):
            break
    leave_float_mode(mode)


cdef void delta_part(void* task, const Seat* seat) noexcept nogil:
    cdef Backward* t = <Backward*> task
    rows_in_turn(t.sweep, seat, t.rows, delta_rows, t)


cdef bint delta_rows(void* task, const Seat* seat, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """delta_L and E5 for rows [at, at + n) of a block."""
    cdef Backward* t = <Backward*> task
    cdef const Shape* s = t.sweep.shape
    cdef Py_ssize_t features = s.sizes[0] * s.itemsize
    cdef Py_ssize_t outputs = s.sizes[s.n_layers] * s.itemsize, row = t.row + at
    cdef Buffers* last = &t.sweep.layers[s.n_layers - 1]
    if last.dh == NULL:                     # h_L = z_L
        memcpy(last.delta + at * outputs, t.grad_output + row * outputs, n * outputs)
    else:
        s.kernels.multiply(last.delta + at * outputs, t.grad_output + row * outputs,
                           last.dh + row * outputs, n * s.sizes[s.n_layers])
    return descend(t.sweep, seat, row, at, n,
                   t.input_grad + row * features if t.input_grad != NULL else NULL)


cdef void weights_part(void* task, const Seat* seat) noexcept nogil:
    cdef Backward* t = <Backward*> task
    cdef const Shape* s = t.sweep.shape
    weight_gradients(t.sweep, seat, t.X + t.row * s.sizes[0] * s.itemsize, t.row, t.rows, t.row > 0)
