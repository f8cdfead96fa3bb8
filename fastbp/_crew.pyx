"""From the checked arguments of a population to the groups that go through a pass together."""

import numpy as np

from fastbp import _arguments, _random

from libc.stdlib cimport calloc, free

from fastbp._engine.arrays cimport data
from fastbp._engine.plan cimport Shape, threads_worth
from fastbp._engine.population cimport carry_out_groups
from fastbp._engine.samples cimport permutation
from fastbp._kernels.table cimport OUTPUTS_TOGETHER
from fastbp._engine.team cimport acquire, release
from fastbp._loss cimport Loss, weights_fit
from fastbp._network cimport Network
from fastbp._optimizer cimport Optimizer
from fastbp._problem cimport apart_from
from fastbp._training cimport check_optimizer

cdef enum:
    # Networks as lanes pay while the parameters, gradient and optimiser's state of them all are in
    # the second-level cache (bench/population.py), and while half of the lanes are taken.
    TOGETHER_BYTES = 1 << 20
    CHUNK_WORK = 1 << 20        # multiply-adds between two looks for signals, at least


cdef Table new_table(Members all, X, y, sample_weight, bint mean):
    cdef Table s = Table()
    cdef Network net = all.net
    cdef Py_ssize_t N = all.n_members
    X = apart_from(_arguments.inputs(X, net.dtype, N, net.n_features), all.written)
    cdef Py_ssize_t n = X.shape[X.ndim - 2]
    widths = [(net.n_outputs,)]
    if net.n_outputs == 1 or net.measure.terms.is_distribution:
        widths = [(), *widths]
    y = _arguments.real_array("y", y, net.dtype)
    if sample_weight is not None:
        sample_weight = _arguments.real_array("sample_weight", sample_weight, net.dtype)
    each_y = _arguments.has_each("y", y, n, N, widths)
    each_weight = sample_weight is not None and _arguments.has_each(
        "sample_weight", sample_weight, n, N, [()])
    if each_weight and not each_y and net.measure.class_weight is not None:
        y, each_y = np.broadcast_to(y, (N, *y.shape)), True
    if each_y and not each_weight and sample_weight is not None:
        sample_weight = np.broadcast_to(sample_weight, (N, n))
    targets = (targets_of_each(net.measure, y, N, n) if each_y
               else net.measure.targets(y, n))
    each_weight = each_y or each_weight
    weights = (weights_of_each(net.measure, sample_weight, targets, N, n, mean) if each_weight
               else net.measure.weights(sample_weight, targets, n, mean))
    s.X, s.n = X, n
    s.y = apart_from(targets, all.written)
    s.sample_weight = None if weights is None else apart_from(weights, all.written)
    s.batch = net.measure.batch(NULL, s.y[:n], s.sample_weight)
    s.X_step = n * net.n_features * net.dtype.itemsize if X.ndim == 3 else 0
    s.y_step = n * s.batch.y_width * net.dtype.itemsize if each_y else 0
    s.weight_step = n * net.dtype.itemsize if each_weight else 0
    return s


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


cdef class Crew:
    def __cinit__(self, Members all, Py_ssize_t most):
        self.all = all
        self.members = <Member*> calloc(max(most, 1), sizeof(Member))
        self.groups = <Group*> calloc(max(most, 1), sizeof(Group))
        if self.members == NULL or self.groups == NULL:
            raise MemoryError
        self.step = all.net.n_params * all.net.dtype.itemsize

    def __dealloc__(self):
        free(self.members)
        free(self.groups)

    cdef Member* add(self, Py_ssize_t k) except NULL:
        cdef Member* member = &self.members[self.count]
        self.count += 1
        member.number = k
        member.params = data(self.all.params_array) + k * self.step
        return member

    cdef void seat(self, Member* member, Table table, Py_ssize_t k):
        member.X, member.y = data(table.X) + k * table.X_step, data(table.y) + k * table.y_step
        if table.sample_weight is not None:
            member.sample_weight = data(table.sample_weight) + k * table.weight_step

    cdef int plan(self, Quarters quarters, int key, Maker add_steps, Py_ssize_t n,
                  Py_ssize_t batch_size, int products) except -1:
        cdef const Shape* s = self.all.net.shape
        cdef Py_ssize_t batches = 1
        cdef double work = 3 * s.weights * max(batch_size, <Py_ssize_t> 1)
        cdef int asked = self.all.net.asked
        self.quarters, self.key, self.add_steps = quarters, key, add_steps
        self.group()
        self.call.n, self.call.batch_size = n, batch_size
        if batch_size < n:
            batches = max(<Py_ssize_t> (CHUNK_WORK / work), <Py_ssize_t> 1)
        self.call.chunk = max(batches * batch_size, <Py_ssize_t> 1)
        self.call.chunks = max((n + self.call.chunk - 1) // self.call.chunk, <Py_ssize_t> 1)
        self.threads = min(asked, self.call.n_groups) if asked > 0 else threads_worth(
            products, n, s, self.count, self.call.n_groups)
        return 0

    cdef int prepare(self) except -1:
        return self.quarters.furnish(&self.call, self.key, self.add_steps, self.threads)

    cdef void group(self) noexcept:
        """Lanes full of networks, and those that are left one by one unless they are many."""
        cdef const Shape* s = self.all.net.shape
        cdef Py_ssize_t lanes = self.quarters.together.shape.kernels.lanes, first = 0, count
        cdef bint fits = (4 * s.n_params * s.itemsize * lanes <= TOGETHER_BYTES
                          and s.sizes[s.n_layers] <= OUTPUTS_TOGETHER)
        self.call.groups, self.call.n_groups = self.groups, 0
        while first < self.count:
            count = min(lanes, self.count - first)
            if not (fits and 2 * count > lanes):
                count = 1
            self.groups[self.call.n_groups] = Group(&self.members[first], count, count > 1)
            self.call.n_groups += 1
            first += count


cdef int prepare_all(list crews) except -1:
    """Each crew takes what it needs of the places they share, so that all fit in the end."""
    cdef Crew crew
    cdef int most = 1
    for crew in crews:
        most = max(most, crew.threads)
    for crew in crews:
        crew.quarters.make_spaces(most)
        crew.prepare()
    return 0


cdef int carry_out_all(list crews) except -1:
    cdef Crew crew
    for crew in crews:
        if len(crews) > 1:
            crew.prepare()
        carry_out_groups(&crew.call)
    return 0


# ---- rows ---------------------------------------------------------------------------------

cdef int check_rows(Table table, list rows) except -1:
    """Refuse rows that have no weight together."""
    if table.sample_weight is None:
        return 0
    _arguments.rows_with_weight(table.sample_weight.reshape(-1, table.n), rows)
    return 0


cdef list orders_of(list rows, source):
    """The rows of each network in its permutation; with one source, in the same for all."""
    if isinstance(source, list):
        return [indices[permuted(indices.size, rng)]
                for indices, rng in zip(rows, source, strict=True)]
    numbers = {indices.size for indices in rows}
    if len(numbers) > 1:
        _arguments.refuse_shared_rng(numbers)
    order = permuted(rows[0].size, source)
    taken = {id(indices): indices for indices in rows}
    ordered = {number: indices[order] for number, indices in taken.items()}
    return [ordered[id(indices)] for indices in rows]


cdef object permuted(Py_ssize_t n, rng):
    return permutation(n, _random.raw_bits, rng, _random.DRAWS_BETWEEN_SIGNALS)


# ---- optimizers -------------------------------------------------------------------------

cdef int check_all(list optimizers) except -1:
    cdef Py_ssize_t k = 0
    try:
        for optimizer in optimizers:
            check_optimizer(optimizer)
            (<Optimizer> optimizer)._check_made()
            k += 1
    except (TypeError, RuntimeError) as error:
        _arguments.refuse_of_network("optimizer", k, error)
    _arguments.distinct("optimizer", optimizers)
    return 0


cdef int take_all(list optimizers) except -1:
    cdef Py_ssize_t taken = 0
    cdef Optimizer optimizer
    for optimizer in optimizers:
        if acquire(&optimizer.busy):
            let_go(optimizers, taken)
            _arguments.refuse_of_network("optimizer", taken, RuntimeError(
                _arguments.IN_USE.format("optimizer")))
        taken += 1
    return 0


cdef void let_go(list optimizers, Py_ssize_t count) noexcept:
    cdef Py_ssize_t k
    for k in range(count):
        release(&(<Optimizer> optimizers[k]).busy)


cdef list new_states(list optimizers, Network net):
    cdef Py_ssize_t k = 0
    cdef Optimizer optimizer
    states = []
    try:
        for optimizer in optimizers:
            states.append(optimizer.new_state(net.n_params, net.dtype))
            k += 1
    except ValueError as error:
        _arguments.refuse_of_network("optimizer", k, error)
    return states


cdef int begin_all(list optimizers, list states, Network net) except -1:
    cdef Py_ssize_t k, itemsize = net.dtype.itemsize
    for k in range(len(states)):
        (<Optimizer> optimizers[k]).begin(states[k], net.n_params, itemsize)
    return 0


cdef object rule_key(Optimizer o):
    """What must be alike where optimisers step together."""
    return (<Py_ssize_t> <void*> o.rule.advance, bool(o.rule.nesterov), o.rule.momentum != 0,
            o.rule.weight_decay != 0)
