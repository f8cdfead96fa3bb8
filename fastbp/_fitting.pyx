"""`MLP.fit`: epochs of one network until it has learned."""

import numpy as np

from fastbp import _arguments, _random
from fastbp._calls import explain
from fastbp._optim import Adam

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY

from fastbp._engine.arrays cimport data
from fastbp._engine.epoch cimport Batches, Course, Epoch, new_epoch
from fastbp._engine.gradient cimport loss_and_gradient
from fastbp._engine.network cimport Workspace, bind_flat
from fastbp._engine.orders cimport fisher_yates
from fastbp._engine.team cimport release
from fastbp._optimizer cimport Optimizer
from fastbp._problem cimport Problem
from fastbp._training cimport check_optimizer

cnp.import_array()


cdef class Fitting(Training):
    def fit(self, X, y, optimizer=None, *, epochs, batch_size=32, shuffle=True, rng=None,
            rows=None, sample_weight=None, l2=0.0, max_norm=None, validation=None,
            validation_rows=None, patience=None, min_delta=0.0, schedule=None, callback=None,
            progress=False, checkpoint=None):
        """Many epochs, until the network has learned.

        It ends in the bits of a loop over `train_epoch` and `loss_value`. The best epoch is the one
        with the lowest loss, of the validation if there is one, else of the training.

        Parameters
        ----------
        X : (n, n_features) array
        y : (n,) or (n, n_outputs) array
            As in `backprop`.
        optimizer : SGD or Adam, optional
            None: an Adam of its own, with the defaults.
        epochs : int
            The most that it makes.
        batch_size : int
            The last mini-batch takes what is left.
        shuffle : bool
            A Fisher-Yates permutation of the rows in every epoch; otherwise in their order.
        rng : int, numpy.random.Generator, BitGenerator or None
            The epochs draw from it in turn: an int makes one generator. The permutation is that of
            `train_epoch`, not that of `numpy.random.Generator.permutation`.
        rows : (n_rows,) array of int, optional
            The rows of X and y that it is trained on. None: all.
        sample_weight : (n,) array, optional
        l2 : float
            As in `backprop`.
        max_norm : float, optional
            Above 0: clips the gradient of each mini-batch to this norm, as in `train_epoch`.
        validation : (X, y) or (X, y, sample_weight), optional
            Samples of the validation. After every epoch the network is judged by their mean loss,
            without the penalty; in the end, also after Ctrl-C, it has the parameters of its best
            epoch, or those it began with if no loss was a number.
        validation_rows : (n_rows,) array of int, optional
            In place of `validation`: rows of X and y. They are not taken out of the training:
            `rows` says what the network is trained on.
        patience : int, optional
            It stops after so many epochs in a row that were not better than its best one.
        min_delta : float
            How much lower a loss has to be to be better; at least 0.
        schedule : callable, sequence with an entry for each epoch, or float, optional
            The learning rate: ``schedule(epoch)`` or ``schedule[epoch]``, from epoch 0, or that of
            all epochs. The optimizer keeps the last. A sequence may have more entries.
        callback : callable, optional
            ``callback(epoch, loss, validation_loss)`` after each epoch; without validation both are
            the loss. If it returns True that ends the fit, False and None do not.
        progress : bool
            Say on stderr how far it has come: the epoch, the losses, the time left at most.
        checkpoint : str or path-like, optional
            A file that is written between epochs, about once a second, and at the end. If it is
            there the fit resumes from it, and ends in the bits of one that was not stopped;
            `epochs` may be raised. It needs the extra "io".

        Returns
        -------
        History
            Named tuple of `losses`, what each epoch returned, and `validation_losses` or None, of
            shape (n_epochs,), and the ints `n_epochs` and `best_epoch`, from 0, or -1 if no loss
            was a number.

        Warns
        -----
        RuntimeWarning
            Once, if the loss, or that of the validation, is NaN or infinite in the end. Without
            validation `params` are then what the last epoch left, NaN as a rule.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As `train_epoch`; for a validation without weight, and rates that are not above 0;
            `ValueError` for a checkpoint that is damaged, or of another fit.
        OSError, ImportError
            For a checkpoint that cannot be read or written; without safetensors.
        KeyboardInterrupt
            On Ctrl-C; `params` are those of the best epoch, or without validation those after a
            whole number of steps.
        """
        from fastbp import _fit         # whose import would be a part of fastbp's

        options = _fit.options(epochs, patience, min_delta, callback, progress,
                               ("loss", "validation_loss"))
        if optimizer is None:
            optimizer = Adam()
        check_optimizer(optimizer)
        size = _arguments.count("batch_size", batch_size)
        cdef Problem p = self._problem(X, y, sample_weight, "mean", l2)
        rows = _arguments.each_rows(rows, 1, p.n)[0]
        shuffle = _arguments.boolean("shuffle", shuffle)
        source = _arguments.bit_generator(rng) if shuffle or rng is not None else None
        if p.sample_weight is not None:
            _arguments.row_weights(p.sample_weight, rows, None)
        cdef double limit = INFINITY if max_norm is None else _arguments.norm_limit(max_norm)
        schedule = _arguments.schedule(schedule, options.epochs, 1)
        cdef Problem held_out = self._held_out(p, X, y, sample_weight, validation, validation_rows)
        cdef Fit fit = Fit(self, p, held_out, optimizer, rows, source if shuffle else None, size,
                           limit)
        if checkpoint is not None:
            checkpoint = self._checkpoint(checkpoint, p, held_out, rows, {
                "optimizer": repr(optimizer), "batch_size": size, "l2": p.l2,
                "max_norm": limit if limit < INFINITY else None, "shuffle": shuffle,
                "patience": options.patience, "min_delta": options.min_delta})
        return fit.run(schedule, options, checkpoint, rng is not None)

    cdef object _checkpoint(self, path, Problem p, Problem held_out, rows, dict fit):
        from fastbp._checkpoint import Checkpoint, described
        names = "X", "y", "sample_weight"
        held = (None, None, None) if held_out is None else (
            held_out.X, held_out.y, held_out.sample_weight)
        return Checkpoint(path, {
            "layer_sizes": self.layer_sizes, "activation": self.activation, "loss": self.loss,
            "dtype": self.dtype.name, "loss_options": self.loss_options, **fit,
            "rows": described(rows),
            **dict(zip(names, map(described, (p.X, p.y, p.sample_weight)))),
            **{f"{name} of the validation": described(array) for name, array in zip(names, held)}})

    cdef Problem _held_out(self, Problem p, X, y, sample_weight, validation, rows):
        if validation is None and rows is None:
            return None
        if validation is None:
            rows = _arguments.each_rows(rows, 1, p.n, "validation_rows")[0]
            validation = p.X[rows], np.asarray(y)[rows]
            if sample_weight is not None:
                validation += (np.asarray(sample_weight)[rows],)
        elif rows is not None:
            _arguments.refuse_both("validation", "validation_rows")
        X, y, sample_weight = _arguments.validation(validation, None)
        try:
            return self._problem(X, y, sample_weight, "mean", 0.0)
        except (TypeError, ValueError) as error:
            _arguments.refuse_of_validation(error, validation, None)


cdef class Fit:
    """One network on its way through the epochs."""
    cdef Fitting net
    cdef Problem p, held_out
    cdef Optimizer optimizer
    cdef object rows, order, source
    cdef object best                        # parameters: the first, then those of the best epoch
    cdef Batches batches
    cdef list losses, validation_losses     # of the epochs so far
    cdef double max_norm                    # of a gradient; may be infinite
    cdef double least                       # of the losses that judge,
    cdef Py_ssize_t best_epoch, waited      # where it was, and epochs since
    cdef bint ended                         # by the callback
    cdef object began                       # the parameters as a digest, the generator's state

    def __cinit__(self, Fitting net, Problem p, Problem held_out, Optimizer optimizer, rows,
                  source, size, max_norm):
        self.net, self.p, self.held_out, self.optimizer = net, p, held_out, optimizer
        self.rows, self.source, self.max_norm = rows, source, max_norm
        self.order = rows if source is None else rows.copy()
        self.batches = Batches(rows.size, min(<Py_ssize_t> size, <Py_ssize_t> rows.size),
                               lengths=NULL, count=0)
        self.losses, self.validation_losses = [], []
        self.least, self.best_epoch = np.inf, -1
        self.best = None if held_out is None else net.params_array.copy()

    cdef object run(self, schedule, options, checkpoint, bint seeded):
        from fastbp import _fit

        cdef Py_ssize_t epoch
        cdef double loss, judged, min_delta = options.min_delta
        patience, callback = options.patience, options.callback
        if checkpoint is not None:
            from fastbp import _checkpoint
            self.began = [_checkpoint.digest(self.net.params_array),
                          _checkpoint.generator_state(self.source)]
            self.resume(checkpoint, seeded)
        try:
            with _fit.shown_alone(options, self.held_out is not None) as show:
                for epoch in range(len(self.losses), options.epochs):
                    if self.ended or patience is not None and self.waited >= <Py_ssize_t> patience:
                        break
                    if schedule is not None:
                        self.optimizer.lr = schedule(epoch)
                    loss = judged = self.epoch()
                    if self.held_out is not None:
                        judged = self.judge()
                        self.validation_losses.append(judged)
                    self.losses.append(loss)
                    self.waited += 1
                    if judged < self.least - min_delta:
                        self.least, self.best_epoch, self.waited = judged, epoch, 0
                        if self.best is not None:
                            self.best[:] = self.net.params_array
                    if show is not None:
                        show(epoch + 1, loss, judged, self.best_epoch)
                    if callback is not None and _fit.ends(callback, epoch, loss, judged):
                        self.ended = True
                    if checkpoint is not None and checkpoint.due():
                        self.save(checkpoint)
            if checkpoint is not None:
                self.save(checkpoint)
        finally:
            if self.best is not None:
                self.net.params_array[:] = self.best
        return _fit.checked(_fit.History(np.array(self.losses), self.judgements(),
                                         len(self.losses), self.best_epoch))

    cdef object judgements(self):
        return None if self.held_out is None else np.array(self.validation_losses)

    # ---- between two epochs, to a file and back

    cdef int save(self, checkpoint) except -1:
        from fastbp import _checkpoint
        vectors, numbers = _checkpoint.optimizer_state(self.optimizer)
        tensors = {**vectors, "params": self.net.params_array, "losses": np.array(self.losses)}
        if self.held_out is not None:
            tensors["validation_losses"] = self.judgements()
        if self.best is not None:
            tensors["best"] = self.best
        checkpoint.save(tensors, {
            "optimizer": numbers, "generator": _checkpoint.generator_state(self.source),
            "n_epochs": len(self.losses), "least": self.least, "best_epoch": self.best_epoch,
            "waited": self.waited, "ended": self.ended, "began": self.began})
        return 0

    cdef int resume(self, checkpoint, bint seeded) except -1:
        """From the file, if there is one; nothing has changed where it does not fit.

        The network begins as that of the file did, or goes on from where it is; and so does the
        generator, unless the call gives none.
        """
        from fastbp import _checkpoint
        found = checkpoint.load()
        if found is None:
            return 0
        tensors, rest = found
        params, best, judged = self.net.params_array, None, []
        try:
            n_epochs, waited, best_epoch = _checkpoint.counts(rest, n_epochs=1, waited=0,
                                                              best_epoch=-1)
            least = float(rest.get("least"))
            losses = _checkpoint.vector(tensors, "losses", (n_epochs,), float).tolist()
            if self.held_out is not None:
                judged = _checkpoint.vector(tensors, "validation_losses", (n_epochs,),
                                            float).tolist()
                best = _checkpoint.vector(tensors, "best", params.shape, params.dtype)
            now = _checkpoint.vector(tensors, "params", params.shape, params.dtype)
            parameters, generator = rest.get("began")
        except (TypeError, ValueError) as error:
            raise checkpoint.unfit(error) from None
        here = self.began[0]
        if here != parameters and here not in map(_checkpoint.digest, (now, best)):
            raise checkpoint.of_another("params", "the network began with other parameters")
        if seeded and self.began[1] not in (generator, rest.get("generator")):
            raise checkpoint.of_another("rng", "rng began otherwise")
        try:
            _checkpoint.set_states(self.source, rest.get("generator"), self.optimizer, tensors,
                                   rest.get("optimizer"))
        except (TypeError, ValueError) as error:
            raise checkpoint.unfit(error) from None
        params[:] = now
        self.losses, self.validation_losses, self.best, self.least = losses, judged, best, least
        self.waited, self.best_epoch, self.ended = waited, best_epoch, rest.get("ended") is True
        return 0

    cdef double epoch(self) except? -1:
        """As `train_epoch` makes it, the arguments checked."""
        cdef Course course = Course(batch_loss=NULL, loss=0, weight=0)
        cdef Epoch epoch = new_epoch(NULL, &course)
        epoch.max_norm = self.max_norm
        self.net._enter()
        try:
            if self.source is None:         # draws are Python code, which does both of these
                with nogil:
                    pass                    # another thread may want to run
                PyErr_CheckSignals()
            else:
                self.order[:] = self.rows
                fisher_yates(self.order, _random.raw_bits, self.source,
                             _random.DRAWS_BETWEEN_SIGNALS)
            return self.net._epoch(self.p, self.order, self.optimizer, &self.batches, &epoch, NULL,
                                   None)
        finally:
            release(&self.net.busy)

    cdef double judge(self) except? -1:
        """The mean loss of what is held out, as `loss_value` has it."""
        cdef Workspace ws = self.net.passes.lease()
        try:
            bind_flat(ws, data(self.net.params_array), NULL)
            return loss_and_gradient(ws, &self.held_out.batch, self.held_out.n, False, 0, 0,
                                     self.net.asked)
        finally:
            ws.give_back()


explain(Fitting)
