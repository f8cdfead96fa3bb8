# The one loop that runs a plan.

from fastbp._engine.plan cimport Action, Frame, Pass, Sharing
from fastbp._kernels.table cimport KernelTable

# Every mini-batch of the pass; -1 with an exception set when it was called off
cdef int carry_out(Pass* run) except -1
# The same without the GIL, from any thread, which leaves signals to others; of the threads of the
# plan, at most so many
cdef void carry_out_alone(Pass* run, int threads) noexcept nogil
# The same of a pass that is a part of a step of another, in the thread of that step: nonzero when
# both are called off. Thread 0 looks for signals in either
cdef bint run_within(Frame* f, Pass* run) noexcept nogil
# A pass of one step with so many parts, each of so many items; a thread takes one part after the
# other, and signals are looked for between two items
cdef int carry_out_parts(Action action, const KernelTable* kernels, void* more, int parts,
                         Py_ssize_t items, double work, int threads) except -1
# The same with one item for each part, without the GIL: signals are left to others
cdef void carry_out_parts_alone(Action action, const KernelTable* kernels, void* more, int parts,
                                int threads) noexcept nogil
# A pass of one step over arrays of any owner, which `more` leads to: n samples in blocks of so many
# rows, and of each the items, at most so many at once
cdef int carry_out_one(Action action, Sharing sharing, const KernelTable* kernels, void* more,
                       char* scratch, Py_ssize_t n, Py_ssize_t block, Py_ssize_t items,
                       Py_ssize_t most, double work) except -1
