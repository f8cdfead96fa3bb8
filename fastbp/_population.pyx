"""`Population`: many networks of one shape, each to the bit as if alone.

A method checks its arguments for all networks at once, and hands over a `Crew` of those that go
through the same plan; what a population holds is in `_members`.
"""

import numpy as np

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._mlp import MLP

from fastbp._crew cimport (
    Crew, Table, begin_all, carry_out_all, check_all, check_rows, let_go, new_states, new_table,
    orders_of, prepare_all, rule_key, take_all,
)
from fastbp._engine.arrays cimport data
from fastbp._engine.epoch cimport mean_of
from fastbp._engine.network cimport (
    DIVIDED, GRADIENT, IN_ORDER, LOSS, OUTPUTS, PENALISED, UPDATE,
)
from fastbp._engine.population cimport (
    Member, Result, add_all_outputs, add_epoch, add_gradients,
)
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.table cimport IDENTITY, Activation
from fastbp._members cimport Members
from fastbp._optimizer cimport Optimizer
from fastbp._problem cimport apart_from, divisor_of


cdef class Population(Members):
    """Population(n_networks, layer_sizes, *, activation='sigmoid', loss='bce', dtype='float32', \
    seeds=None, n_threads=None, pos_weight=None, class_weight=None, label_smoothing=0.0)\n--\n
    Many multilayer perceptrons of one shape, trained and evaluated at once.

    Every result of a network has the bits that it has as an `MLP` alone, for any number of
    networks, at any position, and on any number of threads.

    Parameters
    ----------
    n_networks : int
        At least 1.
    layer_sizes, activation, loss, dtype, pos_weight, class_weight, label_smoothing
        As in `MLP`; the same for all networks.
    seeds : int, sequence of n_networks seeds, or None
        Of each network, as `MLP` takes a ``seed``; an int s stands for s, s + 1, ...
    n_threads : int or None
        Threads of a call, each with networks of its own; None leaves the number to the work and to
        `get_num_threads`.

    Attributes
    ----------
    params, grad : (n_networks, n_params) ndarray
        A row for each network, as `MLP.params` is: writable in place.
    weights, weight_grads : tuples of (n_networks, fan_in, fan_out) ndarrays
        Views into the two.
    biases, bias_grads : tuples of (n_networks, fan_out) ndarrays
        Views into the two.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As `MLP`; for seeds of another number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import MLP, Population
    >>> X, y = np.eye(2, dtype=np.float32), np.array([0, 1], np.float32)
    >>> population = Population(20, [2, 8, 1], seeds=0)
    >>> population.forward(X).shape
    (20, 2, 1)
    >>> bool((population.forward(X)[7] == MLP([2, 8, 1], seed=7).forward(X)).all())
    True
    """
    @staticmethod
    def from_networks(networks):
        """A population with copies of the parameters of some networks.

        Parameters
        ----------
        networks : sequence of MLP
            Of the same layer sizes, activation, loss with its options, and dtype.

        Returns
        -------
        Population

        Raises
        ------
        TypeError, ValueError
            For an entry that is no `MLP`, or unlike the first; the message names it.
        """
        networks = _arguments.networks(networks, MLP)
        first = networks[0]
        population = Population(len(networks), first.layer_sizes, seeds=0, loss=first.loss,
                                activation=first.activation, dtype=first.dtype,
                                n_threads=first.n_threads, **first.loss_options)
        for k, net in enumerate(networks):
            population.params[k] = net.params
        return population

    # ---- outputs

    cdef object _forward(self, X, out, Activation output):
        self._check_made()
        given = X
        X = apart_from(_arguments.inputs(X, self.dtype, self.n_members, self.net.n_features),
                       self.written)
        cdef Py_ssize_t n = X.shape[X.ndim - 2], k, itemsize = self.dtype.itemsize
        cdef Py_ssize_t step = n * self.net.n_features * itemsize if X.ndim == 3 else 0
        cdef Py_ssize_t size = n * self.net.n_outputs * itemsize
        shape = (self.n_members, n, self.net.n_outputs)
        if out is None:
            out = np.empty(shape, self.dtype)
        else:
            _arguments.output("out", out, shape, self.dtype,
                              {"X": given, "population.params": self.params_array})
        rows = np.arange(n, dtype=np.intp)
        cdef Crew crew = Crew(self, self.n_members)
        cdef Member* member
        for k in range(self.n_members):
            member = crew.add(k)
            member.X, member.order = data(X) + k * step, <const Py_ssize_t*> data(rows)
            member.output = data(out) + k * size
        crew.call.output_activation = output
        crew.plan(self.passes, OUTPUTS, add_all_outputs, n, n, 1)
        self._enter()
        try:
            crew.prepare()
            carry_out_all([crew])
        finally:
            release(&self.busy)
        return out

    def forward(self, X, out=None):
        """E1: outputs h_L of every network.

        Parameters
        ----------
        X : (n, n_features) or (n_networks, n, n_features) array
            For all networks, or for each. Converted to the dtype and layout if need be (a copy).
        out : (n_networks, n, n_outputs) ndarray, optional
            Of the population's dtype, C-contiguous; overwritten and returned.

        Returns
        -------
        (n_networks, n, n_outputs) ndarray

        Raises
        ------
        ValueError, TypeError
            For an argument that does not fit; the message names it.
        MemoryError
            When the memory cannot be had.
        RuntimeError
            When another thread is in a call of this population.
        """
        self._check_made()
        return self._forward(X, out, self.net.measure.output)

    def logits(self, X, out=None):
        """E1: pre-activations z_L of every network's outputs.

        Parameters
        ----------
        X, out
            As in `forward`.

        Returns
        -------
        (n_networks, n, n_outputs) ndarray

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `forward`.
        """
        return self._forward(X, out, IDENTITY)

    # ---- loss and gradient

    cdef object _losses(self, X, y, reduction, sample_weight, l2, bint gradient):
        self._check_made()
        cdef double divisor = divisor_of(reduction)
        penalties = _arguments.each_number("l2", l2, self.n_members, _arguments.non_negative)
        cdef Table table = new_table(self, X, y, sample_weight, divisor == 0)
        rows = np.arange(table.n, dtype=np.intp)
        losses = np.empty(self.n_members)
        cdef Result* results = <Result*> data(losses)
        cdef int key = GRADIENT if gradient else LOSS
        cdef Py_ssize_t k, i
        cdef Crew crew
        cdef Member* member
        if divisor != 1 and gradient:
            key += DIVIDED
        crews = []
        for penalised in np.unique(penalties != 0):
            crew = Crew(self, self.n_members)
            for k in np.flatnonzero((penalties != 0) == penalised):
                member = crew.add(k)
                crew.seat(member, table, k)
                member.order = <const Py_ssize_t*> data(rows)
                member.l2, member.divisor = penalties[k], divisor
                if gradient:
                    member.grad = data(self.grad_array) + k * crew.step
            crew.call.batch, crew.call.criterion = table.batch, self.net.measure.number
            crew.plan(self.quarters, key + (PENALISED if penalised else 0), add_gradients,
                      table.n, table.n, 3 if gradient else 1)
            crews.append(crew)
        self._enter()
        try:
            prepare_all(crews)
            carry_out_all(crews)
        finally:
            release(&self.busy)
        for crew in crews:
            for i in range(crew.count):
                results[crew.members[i].number].loss = crew.members[i].loss
        return losses

    def loss_value(self, X, y, *, sample_weight=None, reduction="sum"):
        """E2: the loss of every network.

        Parameters
        ----------
        X : (n, n_features) or (n_networks, n, n_features) array
        y : array
            As in `MLP.loss_value`, for all networks; or (n_networks, ...) with those of each. A
            shape that fits both, of n_networks samples, is for all.
        reduction : {"sum", "mean"}
            "mean" divides by the sum of the weights.
        sample_weight : (n,) or (n_networks, n) array, optional
            At least 0.

        Returns
        -------
        (n_networks,) ndarray of float64
            In nats.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `forward`; for targets out of range, and weights that sum to 0 under "mean".
        """
        return self._losses(X, y, reduction, sample_weight, 0.0, False)

    def backprop(self, X, y, *, sample_weight=None, reduction="sum", l2=0.0):
        """E1 to E6: the loss of every network, and its gradient into `grad`.

        Parameters
        ----------
        X, y, sample_weight, reduction
            As in `loss_value`.
        l2 : float or (n_networks,) array
            Adds l2/2 times the sum of the squared weights; at least 0.

        Returns
        -------
        (n_networks,) ndarray of float64
            In nats.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `loss_value`.
        """
        return self._losses(X, y, reduction, sample_weight, l2, True)

    # ---- training

    def train_epoch(self, X, y, optimizer, *, batch_size=32, shuffle=True, rng=None, rows=None,
                    sample_weight=None, l2=0.0):
        """One pass over the data for every network, as `MLP.train_epoch` makes it.

        Parameters
        ----------
        X, y, sample_weight
            As in `loss_value`.
        optimizer : SGD or Adam, or a sequence of n_networks of them
            One for all, which keeps the state of each network and whose numbers may be arrays of
            those of each; or that of each network.
        batch_size : int
            The last mini-batch takes what is left.
        shuffle : bool
            A Fisher-Yates permutation of each network's rows; otherwise the rows in their order.
        rng : int, numpy.random.Generator, BitGenerator, None, or sequence of these
            One gives the same permutation to all networks, which then take equally many rows; a
            sequence has the source of each network.
        rows : (n_rows,) array of int, or a sequence of them, optional
            Rows of X and y that all networks take, or each: folds, bootstrap samples. None: all.
        l2 : float or (n_networks,) array

        Returns
        -------
        (n_networks,) ndarray of float64
            What `MLP.train_epoch` returns for each.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `MLP.train_epoch`; the message names the network.
        KeyboardInterrupt
            On Ctrl-C; every network has made a whole number of steps.
        """
        self._check_made()
        batch_size = _arguments.count("batch_size", batch_size)
        penalties = _arguments.each_number("l2", l2, self.n_members, _arguments.non_negative)
        cdef Optimizer shared = optimizer if isinstance(optimizer, Optimizer) else None
        cdef Table table = new_table(self, X, y, sample_weight, True)
        rows = _arguments.each_rows(rows, self.n_members, table.n)
        shuffle = _arguments.boolean("shuffle", shuffle)
        source = _arguments.each_rng(rng, self.n_members) if shuffle or rng is not None else None
        check_rows(table, rows)
        losses = np.empty(self.n_members)
        self._enter()
        try:
            if shared is not None and acquire(&shared.busy):
                raise RuntimeError(_arguments.IN_USE.format("optimizer"))
            try:
                optimizers = self._optimizers(optimizer)
                orders = orders_of(rows, source) if shuffle else rows
                if shared is not None:      # draws run Python, which may have set another lr
                    optimizers = self._optimizers(optimizer)
                take_all(optimizers)
                try:
                    self._epoch(table, orders, optimizers, shared, batch_size, penalties, losses)
                finally:
                    let_go(optimizers, self.n_members)
            finally:
                if shared is not None:
                    release(&shared.busy)
        finally:
            release(&self.busy)
        return losses

    cdef list _optimizers(self, optimizer):
        """Those of the networks."""
        if isinstance(optimizer, Optimizer):
            return (<Optimizer> optimizer).of_networks(self.n_members)
        optimizers = _arguments.each("optimizer", optimizer, self.n_members,
                                     "an SGD or Adam for all networks, or ")
        check_all(optimizers)
        return optimizers

    cdef int _epoch(self, Table table, list orders, list optimizers, Optimizer shared, batch_size,
                    penalties, losses) except -1:
        """All that may fail comes before the first step."""
        cdef Result* results = <Result*> data(losses)
        cdef Crew crew
        cdef Py_ssize_t k, i
        kinds, crews = {}, []
        for k in range(self.n_members):
            kind = orders[k].size, bool(penalties[k]), rule_key(optimizers[k])
            kinds.setdefault(kind, []).append(k)
        for (n, penalised, _), networks in kinds.items():
            crew = self._crew(networks, table, orders, optimizers, penalties)
            crew.plan(self.quarters, UPDATE + IN_ORDER + (PENALISED if penalised else 0),
                      add_epoch, n, min(batch_size, n), 3)
            crews.append(crew)
        states = new_states(optimizers, self.net)
        prepare_all(crews)
        begin_all(optimizers, states, self.net)
        if shared is not None:
            shared.networks = optimizers
        carry_out_all(crews)
        for crew in crews:
            for i in range(crew.count):
                results[crew.members[i].number].loss = mean_of(&crew.members[i].course)
        return 0

    cdef Crew _crew(self, list networks, Table table, list orders, list optimizers, penalties):
        """Those that go through the same plan."""
        cdef Crew crew = Crew(self, len(networks))
        cdef Member* member
        cdef Py_ssize_t k
        for k in networks:
            member = crew.add(k)
            crew.seat(member, table, k)
            member.order = <const Py_ssize_t*> data(orders[k])
            member.rule = &(<Optimizer> optimizers[k]).rule
            member.grad, member.l2 = data(self.grad_array) + k * crew.step, penalties[k]
        crew.call.batch, crew.call.criterion = table.batch, self.net.measure.number
        return crew


explain(Population)
