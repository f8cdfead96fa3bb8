# What the passes over one network work on: its shape, each layer's arrays, and who takes part.

from fastbp._kernels.table cimport Activation, KernelTable
from fastbp._signals cimport Clock
from fastbp._team cimport Meeting

cdef enum:
    ALIGNMENT = 64          # a line of the cache, and the widest vector
    BLOCK = 256             # rows of a part in one block of a pass: N1's block length

ctypedef struct Buffers:    # one layer's arrays during one pass
    const char* W           # IN  (fan_in, fan_out), or (fan_out, fan_in)
    const char* b           # IN  (fan_out,)
    char* dW                # OUT like W
    char* db                # OUT (fan_out,)
    char* h                 # workspace (rows, fan_out)
    Py_ssize_t room         # bytes for each row of h, so that no two parts meet
    char* dh                # workspace (rows, fan_out): act'(z), or NULL
    char* delta             # workspace (block, fan_out)

ctypedef struct Shape:      # sizes, activations, layout, kernels: fixed for a network
    const KernelTable* kernels
    Py_ssize_t n_layers
    Py_ssize_t itemsize
    bint transposed         # weights lie (fan_out, fan_in)
    Py_ssize_t* sizes       # n_layers + 1
    Activation* activations  # n_layers
    double weights          # in all layers
    double units            # in all layers
    Py_ssize_t widest       # of all sizes

ctypedef struct Memory:     # what one call at a time works in
    char* start             # of the allocator
    char* at                # where a line of the cache begins
    Py_ssize_t nbytes       # from there
    int taken

ctypedef struct Sweep:      # a pass over a batch: the arrays, and the threads that share it
    const Shape* shape
    Buffers* layers         # n_layers
    char* losses            # workspace (block, n_outputs): of each output, not weighted
    char* scratch           # of part 0; the others' follow
    Py_ssize_t scratch_bytes
    Meeting* meeting
    Clock* clock            # of thread 0


cdef class Architecture:
    """The owner of a Shape."""
    cdef Shape shape


cdef class Workspace:
    """The memory and the array pointers of passes over one network.

    It keeps its memory; or, if it is `lent`, borrows some for one call at a time.
    """
    cdef Architecture architecture
    cdef const Shape* shape
    cdef Sweep sweep
    cdef Meeting meeting
    cdef Clock clock
    cdef Memory* memory                 # or NULL: none now
    cdef char* placed                   # the memory that the pointers lead into
    cdef bint backward                  # keeps every h and dh, has room for every delta
    cdef bint lent
    cdef readonly Py_ssize_t rows, block, nbytes
    cdef int threads, taken

    # of a lent one: itself for a call, or one like it when another call has it, for `give_back`
    cdef Workspace lease(self)
    cdef void give_back(self) noexcept
    cdef int reserve(self, Py_ssize_t rows, int threads) except -1
    cdef Py_ssize_t needed(self, Py_ssize_t rows, Py_ssize_t block, int threads) except -1
    cdef Py_ssize_t place(self, char* memory, Py_ssize_t rows, Py_ssize_t block,
                          int threads) noexcept
    cdef void bind(self, const char* params, char* grad) noexcept nogil


# So many bytes for one call, of what the process keeps for that if they fit there; with the GIL
cdef Memory* borrow(Py_ssize_t nbytes) except NULL
cdef void put_back(Memory* memory) noexcept

cdef Py_ssize_t aligned(Py_ssize_t nbytes) noexcept nogil
# MemoryError for more bytes than can be addressed
cdef int check_room(double nbytes) except -1
