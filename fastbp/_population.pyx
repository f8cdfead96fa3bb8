"""`Population`: many networks of one shape, each to the bit as if alone.

What a population holds is in `_members`, what it computes without a change in `_evaluation`; here
it is made and trained.
"""

import numpy as np

from fastbp import _arguments, _fit
from fastbp._calls import explain
from fastbp._mlp import MLP

from fastbp._crew cimport Crew
from fastbp._engine.arrays cimport data
from fastbp._engine.epoch cimport BatchLoss
from fastbp._engine.network cimport IN_ORDER, UPDATE
from fastbp._engine.population cimport Member, add_epoch
from fastbp._engine.team cimport acquire, release
from fastbp._epochs cimport check_all, let_go, new_states, run_epochs, take_all
from fastbp._evaluation cimport Evaluation
from fastbp._given cimport Given, check_rows, new_given, orders_of
from fastbp._members cimport new_vectors
from fastbp._network cimport Network
from fastbp._optimizer cimport Optimizer


cdef class Population(Evaluation):
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

    # ---- training

    def train_epoch(self, X, y, optimizer, *, batch_size=32, shuffle=True, rng=None, rows=None,
                    sample_weight=None, l2=0.0, active=None, batch_losses=None):
        """One pass over the data for every network, as `MLP.train_epoch` makes it.

        Parameters
        ----------
        X, y, sample_weight
            As in `loss_value`.
        optimizer : SGD or Adam, or a sequence of n_networks of them
            One for all, which keeps the state of each network and whose numbers may be arrays of
            those of each; or that of each network.
        batch_size : int or (n_networks,) array of int
            The last mini-batch takes what is left.
        shuffle : bool
            A Fisher-Yates permutation of each network's rows; otherwise the rows in their order.
        rng : int, numpy.random.Generator, BitGenerator, None, or sequence of these
            One gives the same permutation to all networks, which then take equally many rows; a
            sequence has the source of each network.
        rows : (n_rows,) array of int, or a sequence of them, optional
            Rows of X and y that all networks take, or each: folds, bootstrap samples. None: all.
        l2 : float or (n_networks,) array
            As in `backprop`.
        active : (n_networks,) array of bool, optional
            The networks that take part. The others stay as they are, cost nothing, and their loss
            is NaN.
        batch_losses : sequence of n_networks (n_batches, 2) ndarrays of float64, optional
            As `MLP.train_epoch` fills one, for each network.

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
        sizes, penalties, given, rows, active, source = self._checked(
            X, y, batch_size, shuffle, rng, rows, sample_weight, l2, active)
        outs = _arguments.each_batch_losses(batch_losses, [
            -(-indices.size // size) for indices, size in zip(rows, sizes, strict=True)], {
            "X": X, "y": y, "sample_weight": sample_weight,
            "population.params": self.params_array, "population.grad": self.grad_array})
        return self._epoch(given, rows, source, optimizer, sizes, penalties, active, outs)

    def train(self, X, y, optimizer, *, epochs, batch_size=32, shuffle=True, rng=None, rows=None,
              sample_weight=None, l2=0.0, validation=None, validation_rows=None, patience=None,
              min_delta=0.0, schedule=None, callback=None, progress=False, client=None):
        """Many epochs, each network until it has learned.

        A network ends in the bits of a loop over `MLP.train_epoch` and `MLP.loss_value`. One that
        stops early costs nothing from then on, and the others go on.

        Parameters
        ----------
        X, y, optimizer, batch_size, shuffle, rows, sample_weight, l2
            As in `train_epoch`.
        epochs : int
            The most that a network makes.
        rng
            As in `train_epoch`, but the epochs draw from it in turn: an int makes one generator.
        validation : (X, y) or (X, y, sample_weight), optional
            Samples of the validation, for all networks or each. After every epoch the networks are
            judged by their mean loss, without the penalty; in the end, also after Ctrl-C, each has
            the parameters of its best epoch, or those it began with where no loss was a number.
        validation_rows : (n_rows,) array of int, or a sequence of them, optional
            In place of `validation`: rows of X and y, the left-out part of a fold. They are not
            taken out of the training: `rows` says what a network trains on.
        patience : int, optional
            A network stops after so many epochs in a row that were not better than its best one:
            by its validation loss, or without validation by the loss of its training.
        min_delta : float
            How much lower a loss has to be to be better; at least 0.
        schedule : callable, sequence with an entry for each epoch, or float, optional
            The learning rates: ``schedule(epoch)`` or ``schedule[epoch]``, from epoch 0, is a
            number, or an array with that of each network; a number is that of all epochs. The
            optimizer keeps the last.
        callback : callable, optional
            ``callback(epoch, losses, validation_losses)`` after each epoch, with an array of
            (n_networks,) each; without validation both are the losses. If it returns True that ends
            the training, False and None do not.
        progress : bool
            Say on stderr how many networks are done, the best loss, and the time left at most.
        client : distributed.Client or concurrent.futures.Executor, optional
            Parts of the networks are trained by the workers of this cluster, with the same bits for
            any number of workers. A worker gets a part for some seconds; if it dies, another one
            repeats these. Each worker takes one thread for a part, or `n_threads`. A `schedule`
            that is a function is called for up to 100 epochs in advance, unless there is a
            `callback`, for which all parts wait for each other after every epoch.

        Returns
        -------
        History
            Named tuple of `losses` and `validation_losses`, (n_epochs, n_networks), and `n_epochs`
            and `best_epoch`, (n_networks,).

        Warns
        -----
        RuntimeWarning
            Once, where a network ended with a loss that is NaN or infinite.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `train_epoch`; for a validation without weight, and rates that are not above 0; for a
            client of another kind. An error raised in a worker has a note that names its networks.
        ImportError
            Where a worker of the client has no fastbp.
        ConnectionError
            Where the scheduler of the client is gone, or it has no worker for half a minute.
        KeyboardInterrupt
            On Ctrl-C; every network has made a whole number of steps, as after a MemoryError. With
            a client, and there after a ConnectionError too, the networks are as they last came back
            from a worker: after a whole number of epochs, so many for each part.
        """
        sizes, penalties, given, rows, _, source = self._checked(
            X, y, batch_size, shuffle, rng, rows, sample_weight, l2, None)
        options = _fit.options(epochs, patience, min_delta, callback, progress)
        schedule = _arguments.schedule(schedule, options.epochs, self.n_members)
        held_out, held_rows = self._held_out(given, validation, validation_rows)
        if not isinstance(optimizer, Optimizer):
            optimizer = self._optimizers(optimizer)
        if client is not None:
            return _fit.checked(self._train_in_parts(
                client, given, rows, source, optimizer, sizes, penalties, held_out, held_rows,
                schedule, options))
        run_epoch, validate = self._epoch_functions(given, rows, source, optimizer, sizes,
                                                    penalties, held_out, held_rows, schedule)
        return _fit.checked(_fit.fit(run_epoch, validate, self.params_array, options))

    def _epoch_functions(self, Given given, rows, source, optimizer, sizes, penalties,
                         Given held_out, held_rows, schedule):
        """What `_fit` calls, for an epoch and for the validation or None, of checked arguments."""
        unpenalised = np.zeros(self.n_members)

        def run_epoch(epoch, active):
            if schedule is not None:
                _fit.set_rates(optimizer, schedule(epoch))
            return self._epoch(given, rows, source, optimizer, sizes, penalties, active, None)

        def validate(active):
            return self._losses(held_out, held_rows, 0, unpenalised, False, np.flatnonzero(active))

        return run_epoch, None if held_out is None else validate

    cdef object _train_in_parts(self, client, Given given, list rows, source, optimizer, list sizes,
                                penalties, Given held_out, list held_rows, schedule, options):
        """By the workers of a cluster: the `History`, and the rest as `train` leaves it."""
        from fastbp._part_inputs import PartInputs, SampleArrays
        from fastbp._parts import Training

        cdef bint apart = held_out is not None and held_out is not given
        inputs = PartInputs(SampleArrays(*given.sent),
                            SampleArrays(*held_out.sent) if apart else None, rows,
                            None if apart else held_rows, sizes, penalties)
        training = Training(self, optimizer, source, schedule, options, held_out is not None)
        return training.run(client, inputs, given.each, held_out.each if apart else None,
                            self._whole(given) or apart and self._whole(held_out))

    def _take_optimizers(self, optimizer, list optimizers, rates):
        """Make those of each network the state of one for all; set the rates of an epoch."""
        if isinstance(optimizer, Optimizer):
            (<Optimizer> optimizer).networks = optimizers
        if rates is not None:
            _fit.set_rates(optimizer, rates)

    cdef bint _whole(self, Given given):
        """Whether y of some networks could be read as that of all: the shapes may be the same."""
        return given.each[1] and given.sent[1].ndim == 2 and given.n == self.net.n_outputs

    def _copy_of(self, members):
        """A population of these networks, for a worker."""
        cdef Network net = MLP(self.layer_sizes, activation=self.activation, loss=self.loss,
                               dtype=self.dtype, seed=0, n_threads=self.n_threads or 1,
                               **self.loss_options)
        cdef Population copied = Population.__new__(Population)
        params, grad = new_vectors(len(members), net)
        params[:], grad[:] = self.params_array[members], self.grad_array[members]
        copied._hold(net, params, grad)
        return copied

    def _epochs_of_part(self, part, read, schedule, end):
        """In a worker: the epochs of a `Part` before epoch `end`, as they are made."""
        sizes, penalties, given, rows, _, source = self._checked(
            read.samples.X, read.samples.y, read.batch_sizes, part.source is not None, part.source,
            read.rows, read.samples.sample_weight, read.penalties, None)
        held_out, held_rows = self._held_out(given, read.held_out, read.held_rows)
        run_epoch, validate = self._epoch_functions(given, rows, source, part.optimizers, sizes,
                                                    penalties, held_out, held_rows, schedule)
        return _fit.epochs(run_epoch, validate, part.judge, range(part.epoch, end))

    cdef tuple _checked(self, X, y, batch_size, shuffle, rng, rows, sample_weight, l2, active):
        """What is the same in every epoch; no source where the rows are not shuffled."""
        self._check_made()
        sizes = _arguments.each_count("batch_size", batch_size, self.n_members)
        penalties = _arguments.each_number("l2", l2, self.n_members, _arguments.non_negative)
        cdef Given given = new_given(self.net, self.n_members, self.written, X, y, sample_weight,
                                     True)
        rows = _arguments.each_rows(rows, self.n_members, given.n)
        shuffle = _arguments.boolean("shuffle", shuffle)
        active = _arguments.active(active, self.n_members)
        source = _arguments.each_rng(rng, shuffle, rows, active)
        check_rows(given, rows, "rows")
        return sizes, penalties, given, rows, active, source

    cdef tuple _held_out(self, Given given, validation, rows):
        """The samples and rows that judge each network, or two times None."""
        if validation is None and rows is None:
            return None, None
        if validation is not None:
            if rows is not None:
                _arguments.refuse_both("validation", "validation_rows")
            X, y, sample_weight = _arguments.validation(validation, False)
            try:
                given = new_given(self.net, self.n_members, self.written, X, y, sample_weight, True)
            except (TypeError, ValueError) as error:
                _arguments.refuse_of_validation(error, validation, False)
        rows = _arguments.each_rows(rows, self.n_members, given.n, "validation_rows")
        check_rows(given, rows, "validation_rows")
        return given, rows

    cdef object _epoch(self, Given given, list rows, source, optimizer, list sizes, penalties,
                       active, outs):
        """An epoch, the arguments checked; without a source each takes its rows in their order."""
        cdef Optimizer shared = optimizer if isinstance(optimizer, Optimizer) else None
        numbers = np.flatnonzero(active).tolist()
        losses = np.full(self.n_members, np.nan)
        self._enter()
        try:
            if shared is not None and acquire(&shared.busy):
                raise RuntimeError(_arguments.IN_USE.format("optimizer"))
            try:
                optimizers = self._optimizers(optimizer)
                orders = rows if source is None else orders_of(
                    rows, source, numbers, self.net.shape.kernels, self.net.asked)
                if shared is not None:      # draws run Python, which may have set another lr
                    optimizers = self._optimizers(optimizer)
                take_all("optimizer", optimizers)
                try:
                    crew = self._crew(given, orders, optimizers, sizes, penalties, numbers, outs)
                    networks = [self.net] * self.n_members
                    states = new_states("optimizer", networks, optimizers, numbers)
                    run_epochs([crew], networks, optimizers, shared, states, self.net.asked, losses)
                finally:
                    let_go(optimizers, self.n_members)
            finally:
                if shared is not None:
                    release(&shared.busy)
        finally:
            release(&self.busy)
        return losses

    cpdef list _optimizers(self, optimizer):
        """The optimizer of each network."""
        if isinstance(optimizer, Optimizer):
            return (<Optimizer> optimizer).of_networks(self.n_members)
        optimizers = _arguments.each("optimizer", optimizer, self.n_members,
                                     "an SGD or Adam for all networks, or ")
        check_all("optimizer", optimizers)
        return optimizers

    cdef Crew _crew(self, Given given, list orders, list optimizers, list sizes, penalties,
                    list numbers, outs):
        cdef Crew crew = Crew(self.net, self.gradient_spaces, len(numbers))
        cdef Member* member
        cdef Py_ssize_t k
        for k in numbers:
            member = crew.add(k, self.params_of(k), self.grad_of(k), orders[k].size,
                              min(sizes[k], orders[k].size))
            crew.read(member, given, k)
            member.order = <const Py_ssize_t*> data(orders[k])
            member.rule, member.l2 = &(<Optimizer> optimizers[k]).rule, penalties[k]
            if outs is not None:
                member.course.batch_loss = <BatchLoss*> data(outs[k])
        crew.call.batch, crew.call.criterion = given.batch, self.net.measure.number
        crew.plan(UPDATE + IN_ORDER, add_epoch, 3)
        return crew


explain(Population)
