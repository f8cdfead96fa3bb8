"""Inputs that are the same on every platform, and digests of results.

All inputs are integers times powers of two from raw PCG64 output. record.py has the recorded
digests; no test is here.
"""

import hashlib
from itertools import cycle, islice

import numpy as np

import fastbp

# (activation, loss, options): all pairs, then everything that modifies a loss
KINDS = [(activation, loss, {}) for activation in ("sigmoid", "tanh", "relu", "identity")
         for loss in ("bce", "softmax", "squared_error", "poisson")][1:]
KINDS += [("tanh", "bce", {"pos_weight": 2.75, "label_smoothing": 0.125}),
          ("relu", "softmax", {"class_weight": [0.5, 1, 3, 0.25, 2], "label_smoothing": 0.0625})]
MIXED = ("relu", "tanh")        # of hidden layers in turn
EVERY_KIND = [("sigmoid", "bce", {}), *KINDS, (MIXED, "bce", {}), (MIXED, "softmax", {})]

# (layer sizes, samples): widths and batches beside every vector, tile and block
NETWORKS = [
    ((2, 8, 8, 1), 1), ((2, 8, 8, 1), 7), ((30, 64, 64, 1), 32), ((3, 5, 1), 300),
    ((17, 13, 11, 7), 600), ((1, 1), 7), ((64, 1), 600), ((5, 300, 4), 1), ((257, 33, 2), 257),
    ((10, 16, 16, 16, 16, 3), 128), ((100, 129, 65, 1), 256), ((513, 40, 1), 300),
    ((784, 256, 128, 1), 300),
]

THREADS = (1, 2, 3, 4, 7)


def name_of(kind):
    activation, loss, options = kind
    return " ".join([activation if isinstance(activation, str) else "+".join(activation), loss,
                     *options])


def of_layers(activation, n):
    """The activations of n layers."""
    names = [activation] if isinstance(activation, str) else activation
    return [*islice(cycle(names), n)]


def numbers(source, shape, dtype, exponent):
    """24-bit multiples of a power of two in [−2^exponent, 2^exponent)."""
    raw = source.random_raw(int(np.prod(shape))) >> np.uint64(40)
    return np.ldexp((raw.astype(np.int64) - 2**23).astype(dtype), exponent - 23).reshape(shape)


def targets(source, shape, dtype, soft=False):
    raw = source.random_raw(int(np.prod(shape)))
    y = (raw >> np.uint64(56)) / 256 if soft else raw >> np.uint64(63)
    return y.astype(dtype).reshape(shape)


def sample_weights(source, n, dtype):
    """Sixteenths in (0, 4]: every sum of them is exact."""
    return ((source.random_raw(n) >> np.uint64(58)).astype(dtype) + 1) / 16


def network(sizes, n, dtype):
    """A network of moderate pre-activations and its batch (X, y)."""
    return network_of("sigmoid", "bce", {}, sizes, n, dtype)


def network_of(activation, loss, options, sizes, n, dtype):
    """The same of any activation and loss."""
    source = np.random.PCG64(sum(sizes) * 1000 + n)
    hidden = activation if isinstance(activation, str) else of_layers(activation, len(sizes) - 2)
    net = fastbp.MLP(sizes, activation=hidden, loss=loss, dtype=dtype, seed=0, **options)
    for W, b in zip(net.weights, net.biases, strict=True):
        W[...] = numbers(source, W.shape, dtype, 1 - W.shape[0].bit_length() // 2)
        b[...] = numbers(source, b.shape, dtype, 0)
    X = numbers(source, (n, sizes[0]), dtype, 1)
    shape = (n, sizes[-1])
    if loss == "softmax":
        y = (source.random_raw(n) >> np.uint64(40)).astype(np.int64) % sizes[-1]
    elif loss == "squared_error":
        y = numbers(source, shape, dtype, 1)
    elif loss == "poisson":
        y = (source.random_raw(n * sizes[-1]) >> np.uint64(62)).astype(dtype).reshape(shape)
    else:
        y = targets(source, shape, dtype, soft=len(sizes) > 4)
    return net, X, y


def digest(*values):
    """SHA-256 of arrays and floats as little-endian bytes."""
    h = hashlib.sha256()
    for v in values:
        v = np.asarray(v)
        assert not np.isnan(v).any(), "a NaN has no promised bits"
        h.update(v.astype(v.dtype.newbyteorder("<")).tobytes())
    return h.hexdigest()[:32]


def same_bits(a, b):
    """Whether two arrays or floats are of one dtype, and alike in every bit; no NaN is."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and np.array_equal(a, b) and np.array_equal(words(a), words(b))


def words(a):
    """The bits of its elements: those of 0 and -0 differ."""
    return np.ascontiguousarray(a).view(f"u{a.itemsize}")


def vectors(optimizer):
    return [v for v in optimizer.state_dict().values() if isinstance(v, np.ndarray)]


def moved(a, offset):
    """A copy of `a` that starts `offset` bytes after a multiple of 64."""
    buffer = np.empty(a.nbytes + 192, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    view = buffer[start:start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert view.ctypes.data % 64 == offset
    return view


def recursion(layers, weights, biases, X, place=np.array):
    """[h, dX, dW_1 …, db_1 …] of `Layers`, from ∂L/∂h_L = h, in arrays that are made by `place`."""
    grads = [[place(a) for a in arrays] for arrays in (weights, biases)]
    dX = place(X)
    for a in (dX, *grads[0], *grads[1]):
        a.fill(np.nan)
    h = layers.forward(weights, biases, X)
    layers.backward(h, *grads, dX)
    return [h, dX, *grads[0], *grads[1]]


def layers_of(kind, sizes, dtype, *, output=None, **options):
    """`Layers` with the activations of a kind everywhere, but for an output that has another."""
    activations = of_layers(kind[0], len(sizes) - 1)
    activations[-1] = output or activations[-1]
    return fastbp.Layers(sizes, activations, dtype=dtype, **options)


def everything(kind, dtype, n_threads=1, place=np.array):
    """Results of all that splits its work: arrays and floats. `place` copies every argument."""
    sizes, n = (33, 65, 17, 5), 520         # three blocks of rows
    activation, loss, options = kind
    net, X, y = network_of(*kind, sizes, n, dtype)
    X, y, w = place(X), place(y), place(sample_weights(np.random.PCG64(n), n, dtype))
    net.n_threads = n_threads
    found = [net.backprop(X, y, sample_weight=w, reduction="mean", l2=0.125), net.grad.copy(),
             net.loss_value(X, y), net.logits(X), net.forward(X, out=place(net.forward(X))),
             net.input_grad(X, y, sample_weight=w), net.jacobian(X[:70]),
             net.jacobian(X, of="logits", wrt="input")]
    v = place(net.params[::-1].copy())
    found += [getattr(net, name)(X, y, v, sample_weight=w, reduction="mean", l2=0.125,
                                 out=place(net.params)) for name in ("hvp", "gnvp")]
    point = net.linearize(X, y, sample_weight=w, reduction="mean", l2=0.125)
    found += [point.loss, point.grad.copy(), point.hvp(v), point.gnvp(v)]
    weights, biases = ([place(a) for a in arrays] for arrays in (net.weights, net.biases))
    layers = layers_of(kind, sizes, dtype, n_threads=n_threads)
    found += recursion(layers, weights, biases, X, place)
    dW, db = ([place(a) for a in arrays] for arrays in (net.weights, net.biases))
    layers = layers_of(kind, sizes, dtype, output="identity", n_threads=n_threads)
    found += [layers.loss_and_grad(weights, biases, X, y, dW, db, loss=loss, sample_weight=w,
                                   **options), *dW, *db]
    opt = fastbp.Adam(0.01)
    for _ in range(2):
        found.append(net.train_epoch(X, y, opt, batch_size=300, rng=1, sample_weight=w))
    return [*found, net.params, net.grad]


def samples(sizes, n, dtype, seed=0):
    """X, y, weights: of all digits, where the bits need not be the same on every platform."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(-1, 1, (n, sizes[0])).astype(dtype),
            rng.integers(0, 2, (n, sizes[-1])).astype(dtype), rng.random(n).astype(dtype))
