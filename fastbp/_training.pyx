"""The native epoch of a network: its arguments, and their hand-over to `_engine/epoch`."""

import numpy as np

from fastbp import _arguments, _random
from fastbp._calls import explain

cimport numpy as cnp

from fastbp._engine.arrays cimport data, filled, new_float
from fastbp._engine.epoch cimport (
    BatchLoss, Course, draws_ahead, new_epoch, prepare_epoch, run_epoch,
)
from fastbp._engine.memory cimport Memory, put_back
from fastbp._engine.network cimport Workspace, bind_flat
from fastbp._engine.per_sample cimport blank_samples, deviation_of
from fastbp._engine.plan cimport Batch, Pass
from fastbp._engine.orders cimport fisher_yates
from fastbp._engine.team cimport acquire, release

cnp.import_array()


class DefaultSize(int):
    """The batch size of a call that gives none, which 32 itself is not."""


BATCH_SIZE = DefaultSize(32)


cdef int check_optimizer(optimizer) except -1:
    """Refuse what an epoch, which calls the rule of an optimizer alone, cannot step as."""
    if not isinstance(optimizer, Optimizer) or (<Optimizer> optimizer).rule.advance == NULL:
        _arguments.refuse_optimizer(optimizer)
    return (<Optimizer> optimizer).check_native()


cdef Batches batches_of(Py_ssize_t n, Py_ssize_t size, lengths) except *:
    """Each takes `size` samples, or as many as `lengths` says, which the caller keeps."""
    if lengths is None:
        return Batches(n, size, lengths=NULL, count=0)
    return Batches(lengths.sum(), max(lengths.max(), 1), <const Py_ssize_t*> data(lengths),
                   lengths.size)


cdef Py_ssize_t count_of(const Batches* batches) noexcept:
    if batches.lengths != NULL:
        return batches.count
    return (batches.n + batches.size - 1) // batches.size


cdef class Training(InputGradients):
    def train_epoch(self, X, y, optimizer, *, batch_size=BATCH_SIZE, shuffle=True, order=None,
                    rng=None, sample_weight=None, l2=0.0, max_norm=None, batch_losses=None,
                    max_grad_norm=None, noise_multiplier=0.0):
        """One pass over the data: for each mini-batch gather, E1 to E6 with "mean", update.

        The same bits as the same sequence of `backprop(..., reduction="mean")`, with `max_norm`
        `clip_grad_norm(net.grad, max_norm)`, and `optimizer.step(net.params, net.grad)`. The GIL is
        released, unless it takes microseconds.

        With `max_grad_norm` it is DP-SGD: a step takes the sum of `clipped_backprop`, with its
        noise, over the expected size of a mini-batch. docs/privacy.md has what that promises.

        Parameters
        ----------
        X, y, sample_weight, l2
            As in `backprop` with "mean"; a mini-batch whose weights sum to zero makes no step.
            With `max_grad_norm` as in `clipped_backprop`, and whatever they sum to.
        optimizer : SGD or Adam
            Or of a subclass that leaves `step` and the hyper-parameters' properties alone. Its
            state belongs to this network's size and dtype from the first step or epoch on.
        batch_size : int
            The last mini-batch takes what is left. With `max_grad_norm` and an order of steps it
            must be given: the size that is expected of a step.
        shuffle : bool
            A Fisher-Yates permutation from `rng`; otherwise the rows in their order.
        order : (n_rows,) array of int, or list or tuple of arrays of int, optional
            The rows to take, in this order, instead of shuffling: one of them or more, of which any
            may come twice, or not at all. The epoch is that of X[order] and y[order]. A list of
            arrays has the rows of each step, which may be none: `poisson_order` draws one.
        rng : int, numpy.random.Generator, BitGenerator or None
            Source of the permutation and, after it, of the noise of each step; not used without
            them. An int gives the same permutation at every call: pass a Generator to several
            epochs; for noise an int is refused. The permutation is made of raw 64-bit draws, the
            same in every version of NumPy, and not that of `Generator.permutation`: for a loop with
            that one give ``order=rng.permutation(n)``.
        max_norm : float, optional
            Above 0: clips the gradient of each mini-batch, the mean with the penalty, to this norm
            before the optimizer takes it, as `clip_grad_norm` does. Not `max_grad_norm`, which is
            for privacy, and excludes it.
        batch_losses : (n_batches, 2) ndarray of float64, optional
            C-contiguous; row i is set to the loss of mini-batch i before its update and to its
            penalty, each over the sum of the weights, and left alone if that is zero.
        max_grad_norm : float, optional
            Above 0: clips the gradient of each sample to this norm, for privacy; `max_norm` is that
            of the whole gradient. Their sum, with its noise and
            the penalty, is divided by `batch_size`, or if that is less by n, or the n_rows of an
            order, however many samples the mini-batch has and whatever they weigh; one without
            samples, or without weight, makes a step, too.
        noise_multiplier : float
            The standard deviation of the noise of a step, as a multiple of `max_grad_norm`; their
            product must be a number of the network's dtype.

        Returns
        -------
        float
            Sum of the mini-batches' losses, each before its update and with its penalty,
            over the sum of the weights: nats per sample; NaN if that sum is zero. Neither clipped
            nor with noise.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `backprop`; `TypeError` for an optimizer of another type, or that overrides
            `step`; `RuntimeError` for one whose `__init__` was not called; `ValueError` for no
            samples, batch_size below 1, an order that is empty or has an index outside, a
            noise_multiplier without `max_grad_norm`, both limits of norms, clipped steps of an
            order without batch_size; and, after the steps before it, for a step with a sample whose
            gradient has no finite norm.
        KeyboardInterrupt
            On Ctrl-C, within 0.1 s of processor time; `params` are those after a whole
            number of steps.
        """
        check_optimizer(optimizer)
        given_size = _arguments.count("batch_size", batch_size)
        cdef bint clipped = max_grad_norm is not None
        cdef Problem p = self._problem(X, y, sample_weight, "sum" if clipped else "mean", l2)
        cdef Samples samples = blank_samples()
        cdef Py_ssize_t n = p.n, size
        lengths = source = None
        if order is not None:
            order, lengths = _arguments.order(order, p.n)
            n = p.n if lengths is not None else order.size
        size = min(given_size, n)
        if clipped or type(noise_multiplier) is not float or <double> noise_multiplier != 0:
            source = self._privacy(&samples, p, max_grad_norm, noise_multiplier, rng)
            if lengths is not None and batch_size is BATCH_SIZE:
                _arguments.refuse_default_size(batch_size)
        if lengths is None and samples.deviation > 0:
            lengths = np.diff(np.arange(0, n + size, size).clip(max=n))
        cdef Batches batches = batches_of(n, size, lengths)
        cdef Course course = Course(
            batch_loss=self._batch_losses(batch_losses, &batches, X, y, sample_weight),
            loss=0, weight=0)
        cdef Epoch epoch = new_epoch(NULL, &course)
        epoch.divisor = size if clipped else 0
        if max_norm is not None:
            epoch.max_norm = _arguments.norm_limit(max_norm, max_grad_norm)
        shuffled = _arguments.boolean("shuffle", shuffle) and order is None
        rng = _arguments.bit_generator(rng) if shuffled or rng is not None else None
        loss = new_float()
        self._enter()
        try:
            if shuffled:
                order = fisher_yates(np.arange(p.n, dtype=np.intp), _random.raw_bits, rng,
                                     _random.DRAWS_BETWEEN_SIGNALS)
            filled(loss, self._epoch(p, order, optimizer, &batches, &epoch,
                                     &samples if clipped else NULL, source))
        finally:
            release(&self.busy)
        if epoch.bad >= 0:
            _arguments.refuse_norm(epoch.bad, epoch.norm, self.dtype)
        return loss

    cdef object _privacy(self, Samples* samples, Problem p, max_grad_norm, noise_multiplier, rng):
        samples.max_norm, multiplier, source = _arguments.privacy(
            max_grad_norm, noise_multiplier, rng, self.dtype)
        if source is not None:
            samples.deviation = deviation_of(multiplier, samples.max_norm)
        _arguments.at_least_one_sample(p.n)
        return source

    cdef BatchLoss* _batch_losses(self, out, const Batches* batches, X, y,
                                  sample_weight) except? NULL:
        if out is not None:
            _arguments.output("batch_losses", out, (count_of(batches), 2), float, {
                "X": X, "y": y, "sample_weight": sample_weight, "net.params": self.params_array,
                "net.grad": self.grad_array})
        return <BatchLoss*> data(out)

    cdef double _epoch(self, Problem p, order, Optimizer optimizer, const Batches* batches,
                       Epoch* epoch, Samples* samples, source) except? -1:
        cdef Workspace ws = self.workspace
        cdef Batch batch = p.batch
        cdef Memory* memory
        cdef Pass run
        cdef Py_ssize_t most = 0
        draw = raw = None
        batch.order = <const Py_ssize_t*> data(order)
        memory = prepare_epoch(ws, &run, epoch, &batch, batches, p.l2, samples, self.asked)
        try:
            bind_flat(ws, data(self.params_array), data(self.grad_array))
            if source is not None:
                draw, most = _random.many_raw_bits, _random.DRAWS_BETWEEN_SIGNALS
                raw = draws_ahead(&run, draw, source, most)
            if acquire(&optimizer.busy):
                raise RuntimeError(_arguments.IN_USE.format("optimizer"))
            try:
                optimizer.prepare(self.n_params, self.dtype)
                epoch.rules = &optimizer.rule
                return run_epoch(&run, epoch, raw, draw, source, most)
            finally:
                release(&optimizer.busy)
        finally:
            put_back(memory)


explain(Training)
