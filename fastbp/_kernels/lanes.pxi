# Numbers of many networks into the lanes of vectors, and back.
#
# The rows of VL networks, one of each, are a matrix (VL, width) whose rows lie anywhere; as lanes
# it is (width, VL). It is turned in registers, PART columns at a time (packing.pxi): nothing is
# rounded.

cdef enum:
    SHORT_ROWS = 32         # rows of less than PART numbers that are taken at a time

cdef inline const real* row_of(source X, Py_ssize_t offset, Py_ssize_t row,
                               Py_ssize_t width) noexcept nogil:
    """A row of a matrix that lies `offset` bytes behind X."""
    return <const real*> (<Py_ssize_t> X + offset) + row * width


cdef inline const Py_ssize_t* order_of(const Py_ssize_t* order,
                                       Py_ssize_t offset) noexcept nogil:
    return <const Py_ssize_t*> (<Py_ssize_t> order + offset)


cdef void gather_networks(memory out, source X, const Py_ssize_t* order, const Py_ssize_t* offsets,
                          Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    """Rows of each network into its lane: number j of a row goes into vector j."""
    if all_alike(offsets):
        spread_rows(<real*> out, <const real*> X, order, n, width)
    elif width < PART:
        take_short_rows(<real*> out, X, order, offsets, n, width)
    else:
        turn_rows_of_networks(<real*> out, X, order, offsets, n, width)


cdef inline bint all_alike(const Py_ssize_t* offsets) noexcept nogil:
    """Whether all lanes have the rows of the first."""
    cdef Py_ssize_t i
    for i in range(2 * VL):
        if offsets[i] != offsets[i & 1]:
            return False
    return True


cdef void spread_rows(real* out, const real* X, const Py_ssize_t* order, Py_ssize_t n,
                      Py_ssize_t width) noexcept nogil:
    cdef const real* row
    cdef Py_ssize_t i, j
    for i in range(n):
        row = X + order[i] * width
        for j in range(width):
            store(out, splat(row[j]))
            out += VL


cdef void take_short_rows(real* out, source X, const Py_ssize_t* order, const Py_ssize_t* offsets,
                          Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    """Lane after lane, a few rows at a time: what they fill stays in the first-level cache."""
    cdef const Py_ssize_t* mine
    cdef const real* first
    cdef Py_ssize_t start = 0, end, lane, i, j
    while start < n:
        end = min(start + SHORT_ROWS, n)
        for lane in range(VL):
            first = row_of(X, offsets[2 * lane], 0, width)
            mine = order_of(order, offsets[2 * lane + 1])
            if width == 1:
                for i in range(start, end):
                    out[i * VL + lane] = first[mine[i]]
                continue
            for i in range(start, end):
                for j in range(width):
                    out[(i * width + j) * VL + lane] = first[mine[i] * width + j]
        start = end


cdef void turn_rows_of_networks(real* out, source X, const Py_ssize_t* order,
                                const Py_ssize_t* offsets, Py_ssize_t n,
                                Py_ssize_t width) noexcept nogil:
    """Where PART does not divide the width, the last part of a row overlaps the one before."""
    cdef const real* rows[VL]
    cdef vec x[4]
    cdef Py_ssize_t i, j, lane
    cdef int c
    for i in range(n):
        for lane in range(VL):
            rows[lane] = row_of(X, offsets[2 * lane], order_of(order, offsets[2 * lane + 1])[i],
                                width)
        j = 0
        while j < width:
            j = min(j, width - PART)
            for c in range(PART):
                x[c] = load_parts_of(rows + c, j)
            turn_parts(x)
            for c in range(PART):
                store(out + (j + c) * VL, x[c])
            j += PART
        out += width * VL


cdef void scatter_networks(memory out, const Py_ssize_t* offsets, source x, Py_ssize_t networks,
                           Py_ssize_t size) noexcept nogil:
    """Lane k of every number to the memory of network k."""
    cdef real* rows[VL]
    cdef vec y[4]
    cdef Py_ssize_t j = 0, lane
    cdef int c
    if networks < VL or size < PART:
        for lane in range(networks):
            take_lane(<real*> (<char*> out + offsets[2 * lane]), x, lane, size)
        return
    for lane in range(VL):
        rows[lane] = <real*> (<char*> out + offsets[2 * lane])
    while j < size:
        j = min(j, size - PART)
        for c in range(PART):
            y[c] = load(<const real*> x + (j + c) * VL)
        turn_parts(y)
        for c in range(PART):
            store_parts_of(rows + c, j, y[c])
        j += PART


cdef inline void take_lane(real* out, source x, Py_ssize_t lane, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        out[i] = (<const real*> x)[i * VL + lane]


cdef inline void put_lane(memory out, const real* x, Py_ssize_t lane,
                          Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        (<real*> out)[i * VL + lane] = x[i]
