# The memory that one call works in.

from fastbp._engine.team cimport Flag

cdef enum:
    ALIGNMENT = 64          # a line of the cache, and the widest vector
    POOL_BYTES = 1 << 23    # of a kept piece, at most: a call that needs more takes milliseconds

ctypedef struct Memory:     # what one call at a time works in
    char* start             # of the allocator
    char* at                # where a line of the cache begins
    Py_ssize_t nbytes       # from there
    Flag taken

# So many bytes for one call, of what the process keeps for that if they fit there; with the GIL
cdef Memory* borrow(Py_ssize_t nbytes) except NULL
# So many bytes for one owner
cdef Memory* new_memory(Py_ssize_t nbytes) except NULL
cdef void put_back(Memory* memory) noexcept

cdef Py_ssize_t aligned(Py_ssize_t nbytes) noexcept nogil
# MemoryError for more bytes than can be addressed
cdef int check_room(double nbytes) except -1
