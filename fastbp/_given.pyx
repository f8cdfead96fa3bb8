"""The samples of many networks: read by all of them, or a part for each; and in which order."""

import numpy as np

from fastbp import _arguments, _random

from fastbp._engine.arrays cimport data
from fastbp._engine.orders cimport draw_apart, fisher_yates, shuffle_each
from fastbp._loss cimport Loss, weights_fit
from fastbp._problem cimport apart_from


cdef Given new_given(Network net, Py_ssize_t N, tuple written, X, y, sample_weight, bint mean):
    cdef Given given = Given()
    X = apart_from(_arguments.inputs(X, net.dtype, N, net.n_features), written)
    cdef Py_ssize_t n = X.shape[X.ndim - 2]
    widths = [(net.n_outputs,)]
    if net.n_outputs == 1 or net.measure.terms.is_distribution:
        widths = [(), *widths]
    y = _arguments.targets_of_networks(y, net.dtype, net.measure.name, net.n_outputs)
    if sample_weight is not None:
        sample_weight = _arguments.samples_of_networks("sample_weight", sample_weight, net.dtype)
    each_y = _arguments.has_each("y", y, n, N, widths)
    each_weight = sample_weight is not None and _arguments.has_each(
        "sample_weight", sample_weight, n, N, [()])
    given.sent, given.each = (X, y, sample_weight), (X.ndim == 3, each_y, each_weight)
    if each_weight and not each_y and net.measure.class_weight is not None:
        y, each_y = np.broadcast_to(y, (N, *y.shape)), True
    if each_y and not each_weight and sample_weight is not None:
        sample_weight = np.broadcast_to(sample_weight, (N, n))
    targets = (targets_of_each(net.measure, y, N, n) if each_y
               else net.measure.targets(y, n))
    each_weight = each_y or each_weight
    weights = (weights_of_each(net.measure, sample_weight, targets, N, n, mean) if each_weight
               else net.measure.weights(sample_weight, targets, n, mean))
    given.X, given.n = X, n
    given.y = apart_from(targets, written)
    given.sample_weight = None if weights is None else apart_from(weights, written)
    given.batch = net.measure.batch(NULL, given.y[:n], given.sample_weight)
    given.X_step = n * net.n_features * net.dtype.itemsize if X.ndim == 3 else 0
    given.y_step = n * given.batch.y_width * net.dtype.itemsize if each_y else 0
    given.weight_step = n * net.dtype.itemsize if each_weight else 0
    return given


cdef object targets_of_each(Loss loss, y, Py_ssize_t N, Py_ssize_t n):
    """Those of one network after those of the other; an error names the network."""
    cdef Py_ssize_t k
    try:
        return loss.targets(y.reshape(N * n, *y.shape[2:]), N * n)
    except ValueError:
        for k in range(N):
            try:
                loss.targets(y[k], n)
            except ValueError as error:
                _arguments.refuse_of_network("y", k, error)
        raise


cdef object weights_of_each(Loss loss, sample_weight, targets, Py_ssize_t N, Py_ssize_t n,
                            bint mean):
    cdef Py_ssize_t k, size = n * loss.dtype.itemsize
    cdef bint fit = True
    weights = None
    given = None if sample_weight is None else np.ascontiguousarray(sample_weight).reshape(N * n)
    if mean:
        _arguments.at_least_one_sample(n, "mean")
    try:
        weights = loss.weights(given, targets, N * n, False)
    except ValueError:
        fit = False
    if fit and mean and weights is not None:
        fit = all([weights_fit(&loss.terms, data(weights) + k * size, n, True) for k in range(N)])
    for k in range(0 if fit else N):
        part = slice(k * n, (k + 1) * n)
        try:
            loss.weights(None if given is None else given[part], targets[part], n, mean)
        except ValueError as error:
            _arguments.refuse_of_network("sample_weight", k, error)
    return weights


# ---- rows ---------------------------------------------------------------------------------

cdef int check_rows(Given given, list rows, str name) except -1:
    if given.sample_weight is None:
        return 0
    _arguments.rows_with_weight(given.sample_weight.reshape(-1, given.n), rows, name)
    return 0


cdef list orders_of(list rows, source, list numbers, const KernelTable* kernels, int asked):
    """The rows of the networks with these numbers; with one source, in one order for all."""
    orders = [None] * len(rows)
    if isinstance(source, list):
        drawn = draw_each([rows[k] for k in numbers], [source[k] for k in numbers], kernels, asked)
        for k, order in zip(numbers, drawn, strict=True):
            orders[k] = order
        return orders
    size = rows[numbers[0]].size if numbers else 0      # of all: `each_rng` has seen to it
    order = draw(np.arange(size, dtype=np.intp), source)
    taken = {id(rows[k]): rows[k] for k in numbers}
    ordered = {number: indices[order] for number, indices in taken.items()}
    for k in numbers:
        orders[k] = ordered[id(rows[k])]
    return orders


cdef list draw_each(list rows, list sources, const KernelTable* kernels, int asked):
    """Drawn in turn where two networks have the same source, or one draws in Python."""
    if not draw_apart(sources):
        return [draw(indices.copy(), source) for indices, source in zip(rows, sources, strict=True)]
    orders = [np.empty_like(indices) for indices in rows]
    shuffle_each(orders, rows, sources, _random.DRAWS_BETWEEN_SIGNALS, kernels, asked)
    return orders


cdef object draw(order, source):
    return fisher_yates(order, _random.raw_bits, source, _random.DRAWS_BETWEEN_SIGNALS)
