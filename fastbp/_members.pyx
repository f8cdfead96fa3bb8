"""The state of a population: the parameters of its networks, a row each, and what they share."""

from fastbp import _arguments, _random
from fastbp._mlp import MLP
from fastbp._network import aligned_zeros

from fastbp._crew cimport new_thread_spaces
from fastbp._engine.arrays cimport data
from fastbp._engine.team cimport acquire


cdef class Members(Copied):
    def __init__(self, *args, **options):
        self._initialise(*args, **options)

    def _initialise(self, n_networks, layer_sizes, *, activation="sigmoid", loss="bce",
                    dtype="float32", seeds=None, n_threads=None, pos_weight=None,
                    class_weight=None, label_smoothing=0.0):
        if self.net is not None:
            raise RuntimeError("this Population is initialised already; make another")
        cdef Network net = MLP(
            layer_sizes, activation=activation, loss=loss, dtype=dtype, seed=0,
            n_threads=n_threads, pos_weight=pos_weight, class_weight=class_weight,
            label_smoothing=label_smoothing)
        params, grad = new_vectors(n_networks, net)
        for k, seed in enumerate(_arguments.seeds(seeds, len(params))):
            params[k] = _random.uniform_weights(net.layer_sizes, seed, net.dtype)
        self._hold(net, params, grad)

    cdef int _hold(self, Network net, params, grad) except -1:
        output_spaces, gradient_spaces = new_thread_spaces(net, False), new_thread_spaces(net, True)
        param_views, grad_views = net._views(params), net._views(grad)
        if self.net is not None:            # by what was called meanwhile
            raise RuntimeError("this Population is initialised already; make another")
        self.n_members = len(params)
        self.params_array, self.grad_array, self.written = params, grad, (params, grad)
        self.params_view, self.grad_view = params[:], grad[:]
        self.param_views, self.grad_views = param_views, grad_views
        self.output_spaces, self.gradient_spaces = output_spaces, gradient_spaces
        self.net = net
        return 0

    cdef tuple own(self):
        cdef Network net = self._made()
        options = {"activation": net.activation, "loss": net.loss, "dtype": net.dtype.name,
                   "n_threads": net.n_threads, **net.loss_options}
        return (self.n_members, net.layer_sizes, options, self.params_array[:],
                self.grad_array[:])

    cdef int remake(self, tuple own) except -1:
        n_networks, layer_sizes, options, *given = own
        cdef bint made = self.net is not None
        if made and self.own()[:3] != own[:3]:
            raise RuntimeError("this Population is initialised already; make another")
        cdef Network net = self.net if made else MLP(layer_sizes, seed=0, **<dict?> options)
        params, grad = vectors = ((self.params_array, self.grad_array) if made
                                  else new_vectors(n_networks, net))
        given = [_arguments.real_array(name, values, net.dtype, shape=params.shape)
                 for name, values in zip(("params", "grad"), given, strict=True)]
        for vector, values in zip(vectors, given):
            vector[:] = values
        return 0 if made else self._hold(net, params, grad)

    cdef char* params_of(self, Py_ssize_t k) noexcept:
        return data(self.params_array) + k * self.net.n_params * self.net.shape.itemsize

    cdef char* grad_of(self, Py_ssize_t k) noexcept:
        return data(self.grad_array) + k * self.net.n_params * self.net.shape.itemsize

    cdef Network _made(self):
        self._check_made()
        return self.net

    cdef int _check_made(self) except -1:
        if self.net is None:
            raise RuntimeError("Population.__init__ was not called")
        return 0

    cdef int _enter(self) except -1:
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("Population"))
        return 0

    def __len__(self):
        return self.n_networks

    def __repr__(self):
        return f"Population({self.n_networks}, {repr(self.net)[4:]}"

    # ---- what it holds

    @property
    def n_networks(self):
        self._check_made()
        return self.n_members

    @property
    def weights(self):
        """W of each layer, a tuple of (n_networks, fan_in, fan_out) views into `params`."""
        self._check_made()
        return self.param_views[0]

    @property
    def biases(self):
        """b of each layer, a tuple of (n_networks, fan_out) views into `params`."""
        self._check_made()
        return self.param_views[1]

    @property
    def weight_grads(self):
        """As `weights`, into `grad`."""
        self._check_made()
        return self.grad_views[0]

    @property
    def bias_grads(self):
        """As `biases`, into `grad`."""
        self._check_made()
        return self.grad_views[1]

    @property
    def params(self):
        """The parameters, a row for each network; assigning copies the values in."""
        self._check_made()
        return self.params_view

    @params.setter
    def params(self, value):
        self._check_made()
        if value is not self.params_view:
            self.params_array[:] = _arguments.real_array("params", value, self.net.dtype,
                                                         shape=self.params_array.shape)

    @property
    def grad(self):
        """The gradients, a row for each network; assigning copies the values in."""
        self._check_made()
        return self.grad_view

    @grad.setter
    def grad(self, value):
        self._check_made()
        if value is not self.grad_view:
            self.grad_array[:] = _arguments.real_array("grad", value, self.net.dtype,
                                                       shape=self.grad_array.shape)

    @property
    def n_params(self):
        """Parameters of one network."""
        return self._made().n_params

    @property
    def layer_sizes(self):
        return self._made().layer_sizes

    @property
    def activation(self):
        return self._made().activation

    @property
    def loss(self):
        """The name of the loss."""
        return self._made().loss

    @property
    def loss_options(self):
        """The options of the loss that were given, as a dict."""
        return self._made().loss_options

    @property
    def dtype(self):
        return self._made().dtype

    @property
    def n_threads(self):
        """The number of threads of a call, or None to leave it to the work; writable."""
        return self._made().n_threads

    @n_threads.setter
    def n_threads(self, value):
        self._made().n_threads = value

    @property
    def workspace_bytes(self):
        """Bytes held for calls: for each thread, what one group of networks needs.

        That is h, act'(z) and delta of at most 256 rows, the rows themselves, and four vectors as
        long as the parameters, of as many networks as a vector has lanes. It does not grow with the
        number of networks.
        """
        self._check_made()
        return self.output_spaces.bytes_held() + self.gradient_spaces.bytes_held()

    def member(self, k):
        """Network k as an `MLP` on the same memory: what changes in one changes in the other.

        Parameters
        ----------
        k : int
            In [-n_networks, n_networks).

        Returns
        -------
        MLP

        Raises
        ------
        IndexError, TypeError
            For a k outside; for one that is no integer.
        """
        self._check_made()
        k = _arguments.member("k", k, self.n_members)
        cdef Network net = MLP(self.layer_sizes, activation=self.activation, loss=self.loss,
                               dtype=self.dtype, seed=0, n_threads=self.n_threads,
                               **self.loss_options)
        net._hold(self.params_array[k], self.grad_array[k])
        return net


cdef tuple new_vectors(n_networks, Network net):
    """Zeros for the parameters and gradients of so many networks like `net`."""
    n_networks = _arguments.n_networks(n_networks, net.n_params)
    shape = n_networks, net.n_params
    return tuple([aligned_zeros(n_networks * net.n_params, net.dtype).reshape(shape)
                  for _ in range(2)])


vars(Members)["_initialise"].__qualname__ = "Population._initialise"    # its name in errors
