"""The memory of calls: aligned pieces, of which the process keeps a few for the next call.

So no small call waits for the allocator, and many networks hold no more than one.
"""

from libc.stdlib cimport free, malloc

from fastbp._engine.team cimport acquire, release

cdef enum:
    POOL = 8                    # pieces: for as many calls at once


cdef Py_ssize_t aligned(Py_ssize_t nbytes) noexcept nogil:
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


cdef int check_room(double nbytes) except -1:
    """Sizes are computed in float64 first: one that overflows 64 bits cannot be had."""
    if nbytes >= 2.0 ** 62:
        raise no_memory(nbytes)
    return 0


cdef object no_memory(double nbytes):
    return MemoryError(f"the workspace needs {nbytes:.3g} bytes")


# ---- memory of a call -------------------------------------------------------------------

cdef Memory[POOL] pool


cdef Memory* borrow(Py_ssize_t nbytes) except NULL:
    cdef int i
    if nbytes <= POOL_BYTES:
        for i in range(POOL):
            if acquire(&pool[i].taken) == 0:
                return fitted(&pool[i], nbytes)
    return new_memory(nbytes)


cdef Memory* fitted(Memory* piece, Py_ssize_t nbytes) except NULL:
    """A piece of the pool that is taken, grown if need be; whenever a fork comes, it is whole."""
    cdef char* old = piece.start
    cdef char* start
    if piece.nbytes < nbytes:
        start = <char*> malloc(nbytes + ALIGNMENT)
        if start == NULL:
            release(&piece.taken)
            raise no_memory(nbytes)
        piece.nbytes = 0
        piece.start, piece.at = start, line(start)
        piece.nbytes = nbytes
        free(old)
    return piece


cdef Memory* new_memory(Py_ssize_t nbytes) except NULL:
    """For one owner: the bytes follow the description."""
    cdef Memory* memory = <Memory*> malloc(sizeof(Memory) + nbytes + ALIGNMENT)
    if memory == NULL:
        raise no_memory(nbytes)
    memory[0] = Memory(<char*> memory, line(<char*> (memory + 1)), nbytes, 1)
    return memory


cdef char* line(char* at) noexcept:
    """The first line of the cache that begins there or later."""
    return at + (-<Py_ssize_t> at & (ALIGNMENT - 1))


cdef void put_back(Memory* memory) noexcept:
    if memory >= &pool[0] and memory < &pool[0] + POOL:
        release(&memory.taken)
    else:
        free(memory)
