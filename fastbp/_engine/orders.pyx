"""Permutations of samples by Fisher and Yates: one order, or the orders of many networks at once.

For i from n - 1 down to 1, entry i changes places with entry j = floor(raw (i + 1) / 2^64) (N6);
`_random.permutation` is the plain twin.
"""

from functools import cache

import numpy as np

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memcpy

from fastbp._engine.arrays cimport data
from fastbp._engine.loop cimport carry_out_parts_alone
from fastbp._engine.memory cimport Memory, new_memory, put_back
from fastbp._engine.plan cimport Frame, Step, threads_worth

cnp.import_array()


@cache
def of_64_bits():
    """Bit generators whose raw output is 64 bits of the C function that their capsule names.

    They are asked for at the first draw: NumPy imports its generators when they are.
    """
    return frozenset({np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64})


# Not by a cimport of numpy.random, which is an import, too.
cdef extern from "numpy/random/bitgen.h":
    ctypedef struct bitgen_t:
        void* state
        unsigned long long (*next_raw)(void* state) noexcept nogil

cdef extern from *:
    """
    /* The upper 64 bits of the 128-bit product. */
    static inline unsigned long long multiply_high(unsigned long long a, unsigned long long b) {
    #ifdef __SIZEOF_INT128__
        return (unsigned long long) (((unsigned __int128) a * b) >> 64);
    #else
        unsigned long long low = 0xffffffff;
        unsigned long long mid = (a >> 32) * (b & low) + (((a & low) * (b & low)) >> 32);
        return (a >> 32) * (b >> 32) + (mid >> 32)
               + (((a & low) * (b >> 32) + (mid & low)) >> 32);
    #endif
    }
    """
    unsigned long long multiply_high(unsigned long long a, unsigned long long b) noexcept nogil


cdef inline void change_places(Py_ssize_t* a, Py_ssize_t i, unsigned long long raw) noexcept nogil:
    cdef Py_ssize_t j = <Py_ssize_t> multiply_high(raw, i + 1)
    a[i], a[j] = a[j], a[i]


# ---- one order --------------------------------------------------------------------------

cdef object fisher_yates(order, draw, source, Py_ssize_t most):
    cdef Py_ssize_t* a = <Py_ssize_t*> data(order)
    cdef Py_ssize_t i = cnp.PyArray_DIM(order, 0) - 1, end, k
    cdef const unsigned long long* numbers
    cdef Shuffle shuffle
    if type(source) in of_64_bits():
        shuffle = shuffle_of(order, source)
        while shuffle.left > 1:
            with source.lock, nogil:
                shuffle_some(&shuffle, most)
            PyErr_CheckSignals()
        return order
    while i > 0:
        end = max(i - most, <Py_ssize_t> 0)
        raw = draw(source, i - end)
        numbers = <const unsigned long long*> data(raw)
        for k in range(i - end):
            change_places(a, i - k, numbers[k])
        i = end
        PyErr_CheckSignals()
    return order


def permuted(raw):
    """What `_random.permutation` gives of the draws: an order of one row more than these are."""
    raw = raw.astype(np.uint64, order="C", casting="equiv", copy=False)
    cdef Py_ssize_t n = cnp.PyArray_SIZE(raw) + 1, k
    order = np.arange(n, dtype=np.intp)
    cdef Py_ssize_t* a = <Py_ssize_t*> data(order)
    cdef const unsigned long long* numbers = <const unsigned long long*> data(raw)
    for k in range(n - 1):
        change_places(a, n - 1 - k, numbers[k])
    return order


# ---- many orders ------------------------------------------------------------------------

cdef enum:
    DRAWS_AT_ONCE = 1 << 22     # between two looks for signals: some 20 ms
    DRAW_WORK = 200             # of a draw, as `threads_worth` takes it

ctypedef struct Shuffle:        # an order, and where it stands
    bitgen_t* generator
    const Py_ssize_t* rows      # what it is of, until the first draw; then NULL
    Py_ssize_t* order
    Py_ssize_t left             # the first entries, which are still to be drawn

ctypedef struct Some:           # orders that threads go on with
    Shuffle* shuffles
    Py_ssize_t count
    Py_ssize_t most             # draws for each


cdef Shuffle shuffle_of(order, source) except *:
    return Shuffle(<bitgen_t*> PyCapsule_GetPointer(source.capsule, "BitGenerator"), NULL,
                   <Py_ssize_t*> data(order), cnp.PyArray_DIM(order, 0))


cdef void shuffle_some(Shuffle* shuffle, Py_ssize_t most) noexcept nogil:
    """So many more draws, or what is left. The thread that needs the rows copies them first."""
    cdef bitgen_t* generator = shuffle.generator
    cdef Py_ssize_t* a = shuffle.order
    cdef Py_ssize_t i, end = max(shuffle.left - 1 - most, <Py_ssize_t> 0)
    if shuffle.rows != NULL:
        memcpy(a, shuffle.rows, shuffle.left * sizeof(Py_ssize_t))
        shuffle.rows = NULL
    for i in range(shuffle.left - 1, end, -1):
        change_places(a, i, generator.next_raw(generator.state))
    shuffle.left = end + 1


cdef void shuffle_part(const Step* step, Frame* f) noexcept nogil:
    cdef const Some* some = <const Some*> f.run.more
    shuffle_some(&some.shuffles[f.part], some.most)


cdef bint draw_apart(list sources):
    return (len(set(map(id, sources))) == len(sources)
            and of_64_bits().issuperset(map(type, sources)))


cdef int shuffle_each(list orders, list rows, list sources, Py_ssize_t most,
                      const KernelTable* kernels, int asked) except -1:
    cdef Py_ssize_t count = len(orders), longest = 1, first, k, at_once
    cdef Memory* memory = new_memory(count * sizeof(Shuffle))
    cdef Some some
    try:
        some.shuffles, some.most = <Shuffle*> memory.at, most
        for k in range(count):
            some.shuffles[k] = shuffle_of(orders[k], sources[k])
            some.shuffles[k].rows = <const Py_ssize_t*> data(rows[k])
            longest = max(longest, some.shuffles[k].left)
        at_once = DRAWS_AT_ONCE // min(longest, most)
        for first in range(0, count, at_once):
            some.count = min(at_once, count - first)
            for _ in range(0, longest, most):
                draw_locked(&some, sources[first:first + at_once], kernels, asked)
                PyErr_CheckSignals()
            some.shuffles += some.count
    finally:
        put_back(memory)
    return 0


cdef int draw_locked(Some* some, list sources, const KernelTable* kernels, int asked) except -1:
    """In the order of their addresses, so that two calls cannot wait for each other.

    No handler of signals runs meanwhile: it may draw from one of these generators.
    """
    cdef list locks = [source.lock for source in sorted(sources, key=id)]
    cdef Py_ssize_t taken = 0, k
    cdef int parts = <int> some.count, threads
    cdef double draws = 0
    for k in range(some.count):
        draws += min(some.shuffles[k].left, some.most)
    threads = min(asked, parts) if asked > 0 else threads_worth(draws * DRAW_WORK, parts)
    try:
        for lock in locks:
            lock.acquire()
            taken += 1
        with nogil:
            carry_out_parts_alone(shuffle_part, kernels, some, parts, threads)
    finally:
        for k in range(taken):
            locks[k].release()
    return 0
