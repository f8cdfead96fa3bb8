# The derivative of E1 to E5 along a direction of the parameters (E8, E9); x_dot is that of x.
#
# With the direction V_l, v_l of W_l, b_l:
#   z_dot_l     = h_{l-1} V_l + v_l + h_dot_{l-1} W_l,   h_dot_l = act'(z_l) z_dot_l
#   delta_dot_L = (d^2 loss / dz^2) z_dot_L
#   delta_dot_l = (delta_dot_{l+1} W_{l+1}^T + delta_{l+1} V_{l+1}^T) act'(z_l)
#                 + delta_l bend_l,   bend_l = act''(z_l) / act'(z_l) z_dot_l
# act'' / act' is 1 - 2 h of sigma, and -2 h of tanh; relu and the identity have none.

cdef inline void bend_units(real* h_dot, real* bend, const real* h, const real* slope,
                            Activation activation, bint first, Py_ssize_t size) noexcept nogil:
    """h_dot and bend of units, from the two parts of z_dot that they hold before.

    h_dot holds h V + v and, unless it is the `first` layer, bend holds h_dot W, both with h and
    h_dot of the layer below. Quicker where `first` is a literal.
    """
    cdef Py_ssize_t i, vector, lanes
    cdef vec z_dot, s = splat(1), two = splat(2), one = splat(1)
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        z_dot = load_lanes(h_dot + i, lanes)
        if not first:
            z_dot = z_dot + load_lanes(bend + i, lanes)
        if slope != NULL:
            s = load_lanes(slope + i, lanes)            # where it is 0, so is delta
            z_dot = countable(z_dot, s)
        if activation == SIGMOID:
            store_lanes(bend + i, fma(-two, load_lanes(h + i, lanes), one) * z_dot, lanes)
        elif activation == TANH:
            store_lanes(bend + i, -two * load_lanes(h + i, lanes) * z_dot, lanes)
        if slope != NULL:
            z_dot = z_dot * s
        store_lanes(h_dot + i, z_dot, lanes)


cdef void activate_tangent(memory h_dot, memory bend, source h, source slope, Activation activation,
                           bint first, Py_ssize_t size) noexcept nogil:
    """h_dot and bend of units (E8, E9)."""
    if first:
        bend_units(<real*> h_dot, <real*> bend, <const real*> h, <const real*> slope, activation,
                   True, size)
    else:
        bend_units(<real*> h_dot, <real*> bend, <const real*> h, <const real*> slope, activation,
                   False, size)


cdef void multiply_add(memory out, source a, source b, Py_ssize_t size) noexcept nogil:
    """out += a b; b may be NULL, for 1."""
    cdef Py_ssize_t i, vector, lanes
    cdef real* o = <real*> out
    cdef vec x
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x = load_lanes(<const real*> a + i, lanes)
        if b == NULL:
            store_lanes(o + i, load_lanes(o + i, lanes) + x, lanes)
        else:
            store_lanes(o + i, fma(x, load_lanes(<const real*> b + i, lanes),
                                   load_lanes(o + i, lanes)), lanes)


cdef inline vec second_derivative(vec z, vec t, vec p, Activation output) noexcept nogil:
    """d^2 loss / dz^2 of an output that stands alone: positives count p times."""
    cdef vec q
    if output == SIGMOID:
        q = logistic(z).q
        return fma(p, t, splat(1) - t) * (q * (splat(1) - q))
    if output == EXPONENTIAL:
        return exponential_of(z)
    return splat(1)


cdef void curve(memory delta_dot, source z_dot, source z, source y, source sample_weight,
                const Target* target, Activation output, Py_ssize_t n,
                Py_ssize_t n_outputs) noexcept nogil:
    """E8, E9: delta_dot_L = weight (d^2 loss / dz^2) z_dot; of a softmax, delta_dot holds h_L."""
    cdef Py_ssize_t size = n * n_outputs, i, vector, lanes
    cdef vec x, t, p = splat(1), scale = splat(<real> target.scale)
    cdef vec shift = splat(<real> target.shift)
    if output == SOFTMAX:
        curve_softmax(<real*> delta_dot, <const real*> z_dot, <const real*> sample_weight, n,
                      n_outputs)
        return
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        t = splat(0)
        if output == SIGMOID:
            t = fma(scale, load_lanes(<const real*> y + i, lanes), shift)
            if target.pos_weight != NULL:
                p = of_columns(<const real*> target.pos_weight, i, lanes, n_outputs)
        x = second_derivative(load_lanes(<const real*> z + i, lanes), t, p, output)
        x = counted(load_lanes(<const real*> z_dot + i, lanes), x)
        if sample_weight != NULL:
            x = counted(x, of_rows(<const real*> sample_weight, i, lanes, n_outputs))
        store_lanes(<real*> delta_dot + i, x, lanes)


cdef void curve_softmax(real* p, const real* z_dot, const real* weight, Py_ssize_t n,
                        Py_ssize_t n_outputs) noexcept nogil:
    """w p_j (a_j - sum_k p_k a_k) over p, in float64, ascending (N3).

    a_j = z_dot_j - z_dot of the largest p, which may have rounded to 1: its own a is 0, so that the
    sum is over what is left to the others.
    """
    cdef Py_ssize_t i, j, top
    cdef double mean, w = 1
    for i in range(n):
        top, mean = 0, 0
        for j in range(1, n_outputs):
            if p[j] > p[top]:
                top = j
        for j in range(n_outputs):
            mean += <double> p[j] * (<double> z_dot[j] - <double> z_dot[top])
        if weight != NULL:
            w = <double> weight[i]
        for j in range(n_outputs):
            # a sample that counts 0 times has 0, also where z_dot is infinite
            p[j] = <real> (w * (<double> p[j] * (
                (<double> z_dot[j] - <double> z_dot[top]) - mean if w > 0 else 1)))
        p += n_outputs
        z_dot += n_outputs
