"""The gradient of each sample: its norm, a sum of clipped ones, the gradients themselves.

The methods check their arguments, take the network, and hand over to `_engine/per_sample`.
"""

from fastbp import _arguments, _random
from fastbp._calls import explain

cimport numpy as cnp
from libc.float cimport DBL_MAX

from fastbp._engine.arrays cimport (
    data, filled, new_float, new_matrix, new_vector, shaped,
)
from fastbp._engine.network cimport bind_flat
from fastbp._engine.per_sample cimport (
    Samples, blank_samples, clipped_gradient, deviation_of, draws_of, gradients_of_samples,
    norms_of_samples,
)
from fastbp._engine.team cimport release
from fastbp._problem cimport Problem, divisor_of

cnp.import_array()


cdef double checked_limit(object max_norm) except -1:
    if type(max_norm) is float and max_norm > 0:
        return max_norm
    return _arguments.limit("max_norm", max_norm)


cdef class PerSample(Network):
    def per_sample_grad_norms(self, X, y, *, sample_weight=None, out=None):
        """The norm of the gradient of each sample's loss, ||g_i||_2 by all parameters.

        ||g_i||^2 = sum_l ||delta_l,i||^2 (1 + ||h_{l-1},i||^2), from E1 to E5 alone: no gradient
        is formed, and `grad` is left alone. The sums are in float64 and free of overflow and
        underflow: with the delta and h that `backprop` computes, the norm of a float32 network is
        rounded once, that of a float64 one is off by at most K/8 + L/2 + 8 units of rounding, K
        being the widest layer's width and L the number of layers. The norm of a sample has the
        same bits in any batch.

        Parameters
        ----------
        X, y
            As in `backprop`.
        sample_weight : (n,) array, optional
            Not negative; multiplies each sample's loss, and with it the norm.
        out : (n,) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n,) ndarray
            In the network's dtype; infinite or NaN where delta or h are, or where the norm is
            beyond the dtype's largest number.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `backprop`; `out` holds nothing of use after Ctrl-C.
        """
        cdef Problem p = self._problem(X, y, sample_weight, "sum", 0.0)
        if out is None:
            out = new_vector(p.n, self.typenum)
        elif not (shaped(out, self.typenum, 1, -1, p.n)
                  and self._apart(out, p, X, y, sample_weight)):
            self._check_out(out, (p.n,), X, y, sample_weight)
        self._enter()
        try:
            bind_flat(self.workspace, data(self.params_array), NULL)
            norms_of_samples(self.workspace, &p.batch, data(out), p.n, self.asked)
        finally:
            release(&self.busy)
        return out

    def clipped_backprop(self, X, y, max_norm, *, sample_weight=None, reduction="sum",
                         noise_multiplier=0.0, rng=None):
        """The sum of the samples' gradients, each clipped to a norm, with noise, into `grad`.

        sum_i min(1, max_norm / ||g_i||) g_i in one pass: E1 to E5, the norms, then E6 with each
        sample's delta times its factor. Then noise_multiplier max_norm z, z being independent
        normal numbers: the gradient of DP-SGD. A sample's gradient of norm 0 counts as it is; no
        other exceeds `max_norm` by more than some units of rounding, whatever delta and h are.

        The noise is specified (N6): parameter i of the flat vector gets the i-th number that the
        raw draws of `rng` make, two of two draws; docs/derivation.md has the algorithm. It is added
        in float64, rounded once, and has the same bits on every platform.

        Parameters
        ----------
        X, y
            As in `backprop`.
        max_norm : float
            Above 0; with infinity nothing is clipped, and `grad` has the bits of `backprop`.
        sample_weight : (n,) array, optional
            Not negative; multiplies each sample's loss before its gradient is clipped, so that no
            sample counts more than `max_norm`.
        reduction : {"sum", "mean"}
            "mean" divides loss and gradient, with its noise, by n, whatever the weights.
        noise_multiplier : float
            At least 0. Above 0, its product with `max_norm` is a number of the network's dtype.
        rng : numpy.random.Generator, BitGenerator or None
            Source of the noise, not used without it; None takes fresh entropy. An int, which would
            give the same noise at every call, is refused.

        Returns
        -------
        loss : float
            In nats: the loss of `backprop`, neither clipped nor with noise.
        norms : (n,) ndarray
            ||g_i|| before clipping, the bits of `per_sample_grad_norms`.

        Raises
        ------
        ValueError
            As `backprop`, and for a `max_norm` that is not above 0, a `noise_multiplier` below 0;
            for a sample whose norm is infinite or NaN, which no factor clips: `grad` holds nothing
            of use then.
        TypeError, MemoryError, RuntimeError, KeyboardInterrupt
            As `backprop`.
        """
        cdef double limit = checked_limit(max_norm), deviation = 0
        cdef bint mean = divisor_of(reduction) == 0
        cdef Py_ssize_t bad
        source = raw = None
        if rng is not None or type(noise_multiplier) is not float or <double> noise_multiplier != 0:
            multiplier, source = _arguments.noise(noise_multiplier, rng)
            _arguments.deviation(multiplier, limit, self.dtype)
            deviation = 0 if source is None else deviation_of(multiplier, limit)
        cdef Problem p = self._problem(X, y, sample_weight, "sum", 0.0)
        if mean:
            _arguments.at_least_one_sample(p.n, "mean")
        norms, loss = new_vector(p.n, self.typenum), new_float()
        self._enter()
        try:
            if deviation > 0:
                raw = _random.many_raw_bits(source, draws_of(self.shape))
            bind_flat(self.workspace, data(self.params_array), data(self.grad_array))
            filled(loss, self._clipped(p, norms, limit, deviation, raw, p.n if mean else 1))
        finally:
            release(&self.busy)
        bad = self.shape.kernels.first_outside(data(norms), DBL_MAX, False, p.n)
        if bad >= 0:
            _arguments.refuse_norm(bad, norms[bad], self.dtype)
        return loss, norms

    cdef double _clipped(self, Problem p, norms, double limit, double deviation, raw,
                         double divisor) except? -1:
        cdef Samples samples = blank_samples()
        samples.norms, samples.max_norm, samples.deviation = data(norms), limit, deviation
        samples.raw = <const unsigned long long*> data(raw)
        return clipped_gradient(self.workspace, &p.batch, &samples, p.n, divisor, self.asked)

    def per_sample_grads(self, X, y, *, sample_weight=None, out=None):
        """The gradient of each sample's loss: row i has the bits of `backprop` on sample i alone.

        The pass goes from block to block of rows, so that it needs no memory that grows with the
        batch but the result; `grad` is left alone.

        Parameters
        ----------
        X, y
            As in `backprop`.
        sample_weight : (n,) array, optional
            Not negative; multiplies each sample's loss.
        out : (n, n_params) ndarray, optional
            Of the network's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n, n_params) ndarray
            In the network's dtype, each row in the order of `grad`.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As `backprop`; `out` holds nothing of use after Ctrl-C.
        MemoryError
            When the workspace, or the result, cannot be had.
        """
        cdef Problem p = self._problem(X, y, sample_weight, "sum", 0.0)
        if out is None:
            out = new_matrix(p.n, self.n_params, self.typenum)
        elif not (shaped(out, self.typenum, 2, p.n, self.n_params)
                  and self._apart(out, p, X, y, sample_weight)):
            self._check_out(out, (p.n, self.n_params), X, y, sample_weight)
        self._enter()
        try:
            bind_flat(self.workspace, data(self.params_array), NULL)
            gradients_of_samples(self.workspace, &p.batch, data(out), p.n, self.asked)
        finally:
            release(&self.busy)
        return out


explain(PerSample)
