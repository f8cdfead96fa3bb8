"""`train_many`: separate networks, of any sizes, through their epochs in one call.

Networks of one shape and loss are a crew, whose groups become lanes as those of a `Population` do;
the parameters stay where each `MLP` has them. The groups of all crews are shared by the threads.
"""

import numpy as np

from fastbp import _arguments, _fit
from fastbp._calls import explain
from fastbp._mlp import MLP

cimport numpy as cnp

from fastbp._crew cimport Crew, JointPass, new_thread_spaces
from fastbp._engine.arrays cimport data, shaped
from fastbp._engine.epoch cimport BatchLoss
from fastbp._engine.network cimport IN_ORDER, LOSS, UPDATE
from fastbp._engine.plan cimport Maker, asked_threads
from fastbp._engine.population cimport Member, Result, add_epoch, add_gradients
from fastbp._engine.team cimport release
from fastbp._epochs cimport check_all, let_go, new_states, run_epochs, take_all
from fastbp._given cimport orders_of
from fastbp._network cimport Network
from fastbp._optimizer cimport Optimizer
from fastbp._problem cimport Problem, read_again

cnp.import_array()

NAME = "optimizers"

cdef enum:
    KEPT_KINDS = 16         # of networks whose places are kept from epoch to epoch,
    MOST_CREWS = 64         # and whose places are there at the same time


def train_many(networks, X, y, optimizers, *, epochs=1, batch_size=32, shuffle=True, rng=None,
               rows=None, sample_weight=None, l2=0.0, batch_losses=None, validation=None,
               patience=None, min_delta=0.0, schedule=None, callback=None, progress=False,
               n_threads=None):
    """Epochs of many separate networks, which may differ in size, loss, data and optimizer.

    Those of one shape and loss become lanes of a vector, and threads share the networks. Each ends
    in the bits of a loop over `MLP.train_epoch` and `MLP.loss_value`.

    Parameters
    ----------
    networks : sequence of MLP
        Each once; no two on the same memory.
    X, y, sample_weight : array, or list or tuple of n_networks arrays
        An array is for all networks; a list or tuple has that of each, which `MLP.train_epoch`
        takes. `sample_weight` may be None, for all or for one.
    optimizers : sequence of SGD or Adam
        That of each network.
    batch_losses : sequence of n_networks (n_batches, 2) ndarrays of float64, optional
        Of one epoch, as in `MLP.train_epoch`.
    validation : (X, y) or (X, y, sample_weight), optional
        As in `Population.train`; each of them an array for all, or a list or tuple of those of
        each.
    n_threads : int or None
        Threads of the call; None leaves the number to the work and to `get_num_threads`.
    epochs, batch_size, shuffle, rng, rows, l2, patience, min_delta, schedule, callback, progress
        As in `Population.train`; `rows` are those of each network's own X.

    Returns
    -------
    History
        As `Population.train`.

    Warns
    -----
    RuntimeWarning
        As `Population.train`.

    Raises
    ------
    ValueError, TypeError, MemoryError, RuntimeError
        As `Population.train`; the message names the network.
    KeyboardInterrupt
        On Ctrl-C; every network has made a whole number of steps, as after a MemoryError.
    """
    networks = _arguments.networks_of_any_kind(networks, MLP)
    options = _fit.options(epochs, patience, min_delta, callback, progress)
    cdef Many many = Many(networks, optimizers, n_threads)
    problems = many.begin(X, y, sample_weight, batch_size, l2)
    many.rows = _arguments.each_rows(rows, many.count, [(<Problem> p).n for p in problems])
    shuffle = _arguments.boolean("shuffle", shuffle)
    many.source = _arguments.each_rng(rng, shuffle, many.rows)
    many.check_weights(problems, range(many.count))
    schedule = _arguments.schedule(schedule, options.epochs, many.count)
    held_out = None
    if validation is not None:
        samples = _arguments.validation(validation, True)
        try:
            held_out = many.problems_of(samples, np.zeros(many.count))
        except (TypeError, ValueError) as error:
            _arguments.refuse_of_validation(error, validation, True)
    if batch_losses is not None and options.epochs > 1:
        _arguments.refuse_losses_of_epochs(options.epochs)
    outs = _arguments.each_batch_losses(batch_losses, [
        -(-indices.size // size) for indices, size in zip(many.rows, many.sizes, strict=True)],
        {} if batch_losses is None else many.memory_of(X, y, sample_weight))

    def run_epoch(epoch, active):
        if schedule is not None:
            _fit.set_rates(many.optimizers, schedule(epoch))
        return many.epoch(problems, np.flatnonzero(active).tolist(), outs)

    def validate(active):
        return many.losses(held_out, np.flatnonzero(active).tolist())

    return _fit.checked(_fit.fit(run_epoch, None if held_out is None else validate,
                                 [net.params for net in networks], options))


cdef class Many:
    """Networks, and what is the same in each of their epochs."""
    cdef list networks, optimizers, sizes, rows, kinds
    cdef object source
    cdef Py_ssize_t count
    cdef int asked
    cdef dict places            # thread_spaces of each kind

    def __init__(self, list networks, optimizers, n_threads):
        self.networks, self.count = networks, len(networks)
        self.asked = asked_threads(_arguments.n_threads(n_threads))
        self.optimizers = _arguments.each(NAME, optimizers, self.count)
        self.places = {}
        for net in networks:
            (<Network?> net)._check_made()
        _arguments.distinct("networks", networks, [
            <Py_ssize_t> data((<Network> net).params_array) for net in networks])
        check_all(NAME, self.optimizers)
        self.kinds = [kind_of(net) for net in networks]

    cdef list begin(self, X, y, sample_weight, batch_size, l2):
        """The problem of each network."""
        penalties = _arguments.each_number("l2", l2, self.count, _arguments.non_negative)
        self.sizes = _arguments.each_count("batch_size", batch_size, self.count)
        return self.problems_of((X, y, sample_weight), penalties)

    cdef list problems_of(self, tuple samples, penalties):
        """A checked problem for each network; an array for all is converted once."""
        cdef Py_ssize_t k
        cdef Network net
        cdef dict converted = {}
        names = "X", "y", "sample_weight"
        given = [_arguments.all_or_each(name, value, self.count)
                 for name, value in zip(names, samples, strict=True)]
        problems = []
        for k in range(self.count):
            net = self.networks[k]
            try:
                parts = [part[k] if part is not None else once(converted, name, value, net)
                         for name, part, value in zip(names, given, samples, strict=True)]
                problems.append(net._problem(parts[0], parts[1], parts[2], "mean", penalties[k]))
            except (TypeError, ValueError) as error:
                _arguments.refuse_of_network("networks", k, error)
        return problems

    cdef dict memory_of(self, X, y, sample_weight):
        """Arrays that the call reads or writes, by their names."""
        found = {}
        for name, value in (("X", X), ("y", y), ("sample_weight", sample_weight)):
            if isinstance(value, (list, tuple)):
                found.update({f"{name}[{k}]": part for k, part in enumerate(value)})
            elif value is not None:
                found[name] = value
        for k in range(self.count):
            found[f"networks[{k}].params"] = self.networks[k].params
            found[f"networks[{k}].grad"] = self.networks[k].grad
        return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}

    cdef int check_weights(self, list problems, numbers) except -1:
        cdef Py_ssize_t k
        for k in numbers:
            if (<Problem> problems[k]).sample_weight is not None:
                _arguments.row_weights((<Problem> problems[k]).sample_weight, self.rows[k], k)
        return 0

    cdef object epoch(self, list problems, list numbers, outs):
        cdef Py_ssize_t taken = 0
        losses = np.full(self.count, np.nan)
        try:
            for k in numbers:
                self.enter(k)
                taken += 1
            orders = (self.rows if self.source is None
                      else orders_of(self.rows, self.source, numbers,
                                     (<Network> self.networks[0]).shape.kernels, self.asked))
            take_all(NAME, self.optimizers)
            try:
                states = new_states(NAME, self.networks, self.optimizers, numbers)
                for some in self.parts(problems, numbers):
                    self.leave_places()
                    crews = [self.crew(ks, problems, orders, self.sizes, UPDATE + IN_ORDER,
                                       add_epoch, 3, outs) for ks in some]
                    run_epochs(crews, self.networks, self.optimizers, None,
                               {k: states[k] for ks in some for k in ks}, self.asked, losses)
            finally:
                let_go(self.optimizers, self.count)
        finally:
            self.leave(numbers, taken)
        return losses

    cdef object losses(self, list problems, list numbers):
        cdef Crew crew
        cdef Py_ssize_t i, taken = 0
        losses = np.full(self.count, np.nan)
        cdef Result* results = <Result*> data(losses)
        sizes = [(<Problem> problem).n for problem in problems]
        orders = _arguments.each_rows(None, self.count, sizes)
        try:
            for k in numbers:
                self.enter(k)
                taken += 1
            for some in self.parts(problems, numbers):
                self.leave_places()
                crews = [self.crew(ks, problems, orders, sizes, LOSS, add_gradients, 1, None)
                         for ks in some]
                JointPass(crews, self.asked).carry_out()
                for crew in crews:
                    for i in range(crew.count):
                        results[crew.members[i].number].loss = crew.members[i].loss
        finally:
            self.leave(numbers, taken)
        return losses

    cdef int enter(self, Py_ssize_t k) except -1:
        try:
            (<Network> self.networks[k])._enter()
        except RuntimeError as error:
            _arguments.refuse_of_network("networks", k, error)
        return 0

    cdef void leave(self, list numbers, Py_ssize_t taken) noexcept:
        """Without a request for memory, which may be refused."""
        cdef Py_ssize_t i, k
        for i in range(taken):
            k = numbers[i]
            release(&(<Network> self.networks[k]).busy)

    cdef list parts(self, list problems, list numbers):
        """Lists of the networks of each kind, not too many of them at a time."""
        alike = {}
        for k in numbers:
            alike.setdefault(self.kind(problems[k], k), []).append(k)
        kinds = list(alike.values())
        return [kinds[first:first + MOST_CREWS] for first in range(0, len(kinds), MOST_CREWS)]

    cdef int leave_places(self) except -1:
        """Before the crews of a part: those of many kinds are not kept for the next epoch."""
        if len(self.places) > KEPT_KINDS:
            self.places.clear()
        return 0

    cdef tuple kind(self, Problem problem, Py_ssize_t k):
        """That of a crew: also whether y has classes or the probability of each."""
        return self.kinds[k], bool(problem.batch.target.indices)

    cdef Crew crew(self, list numbers, list problems, list orders, list sizes, int key,
                   Maker add_steps, int products, outs):
        cdef Network net = self.networks[numbers[0]]
        cdef Problem p
        cdef Member* member
        cdef Py_ssize_t k
        kind = self.kind(problems[numbers[0]], numbers[0])
        place = self.places.get(kind)       # of one crew alone: they are all under way at once
        if place is None:
            place = self.places[kind] = new_thread_spaces(net, True)
        cdef Crew crew = Crew(net, place, len(numbers))
        for k in numbers:
            net, p = self.networks[k], problems[k]
            p = read_again(p, net.measure)
            member = crew.add(k, data(net.params_array),
                              data(net.grad_array) if key != LOSS else NULL, orders[k].size,
                              min(sizes[k], orders[k].size))
            member.X, member.y, member.sample_weight = p.batch.X, p.batch.y, p.batch.sample_weight
            member.order = <const Py_ssize_t*> data(orders[k])
            member.l2, member.divisor = p.l2, p.divisor
            if key != LOSS:
                member.rule = &(<Optimizer> self.optimizers[k]).rule
            if outs is not None:
                member.course.batch_loss = <BatchLoss*> data(outs[k])
        crew.call.batch, crew.call.criterion = p.batch, net.measure.number
        crew.plan(key, add_steps, products)
        return crew


cdef class Lockstep:
    """Epochs of separate networks, whose rows alone change from one to the next.

    Parameters
    ----------
    networks : list of MLP
    X, y, sample_weight, optimizers, batch_size, l2, n_threads
        As `train_many` takes them.
    """
    cdef Many many
    cdef list problems

    def __init__(self, list networks, X, y, sample_weight, optimizers, batch_size, l2, n_threads):
        self.many = Many(networks, optimizers, n_threads)
        self.problems = self.many.begin(X, y, sample_weight, batch_size, l2)

    def epoch(self, list numbers, list rows, list batch_losses):
        """An epoch of the networks with these numbers.

        Parameters
        ----------
        numbers : list of int
        rows : list of (n_rows,) ndarrays of intp
            Of each of these networks, in the order in which it takes them.
        batch_losses : list of (n_batches, 2) ndarrays of float64
            Of each, as `MLP.train_epoch` fills one; in memory of their own.
        """
        cdef Many many = self.many
        cdef Py_ssize_t k
        many.rows, outs = [None] * many.count, [None] * many.count
        for k, indices, out in zip(numbers, rows, batch_losses, strict=True):
            many.rows[k] = rows_within(indices, (<Problem> self.problems[k]).n)
            outs[k] = losses_for(out, -(-many.rows[k].size // many.sizes[k]))
        many.check_weights(self.problems, numbers)
        many.epoch(self.problems, numbers, outs)


cdef object rows_within(rows, Py_ssize_t n):
    """A copy of the rows, so that no other thread can change them after this check."""
    cdef Py_ssize_t i
    cdef const Py_ssize_t* indices
    if shaped(rows, cnp.NPY_INTP, 1, -1, len(rows)) and len(rows) > 0:
        rows = rows.copy()
        indices = <const Py_ssize_t*> data(rows)
        for i in range(len(rows)):
            if not 0 <= indices[i] < n:
                break
        else:
            return rows
    return _arguments.each_rows([rows], 1, [n])[0]


cdef object losses_for(out, Py_ssize_t n_batches):
    if shaped(out, cnp.NPY_DOUBLE, 2, n_batches, 2) and cnp.PyArray_ISWRITEABLE(out):
        return out
    return _arguments.output("batch_losses", out, (n_batches, 2), float, {}, required=True)


cdef tuple kind_of(Network net):
    """All that the networks of a crew share."""
    weights = net.measure.positives
    return (net.layer_sizes, net.activation, net.dtype.num, net.loss, net.measure.label_smoothing,
            None if weights is None else weights.tobytes())


cdef object once(dict converted, name, value, Network net):
    """An argument for all networks as an array of the network's dtype; converted a single time."""
    if value is None:
        return None
    key = name, net.dtype.num
    if key not in converted:
        converted[key] = (
            _arguments.target_values(value, net.dtype, net.measure.name, net.n_outputs)
            if name == "y" else _arguments.real_array(name, value, net.dtype))
    return converted[key]


explain(train_many)
