"""One epoch of training with Adam by each library: shuffle, gather, gradient of the mean, update.

Functions of net, X, y, batch that give a `Side`, whose result is the parameters. They start from
the W and b of a network with one output, for which a mean over logits is one over samples; fastbp
and NumPy train it in place. `shuffle=False` takes the rows in their order, and `lr` and `eps` are
Adam's: `verify` sets all three.
"""

import numpy as np

import fastbp
from fastbp._command.bench import plain
from fastbp._command.bench.gradients import (
    jax_for,
    jax_loss,
    jax_params,
    torch_flat,
    torch_leaves,
    torch_loss,
)
from fastbp._command.bench.networks import BETAS, EPOCH_LR, EPS, Side, flatten


def by_fastbp(net, X, y, batch, *, shuffle=True, lr=EPOCH_LR, eps=EPS):
    optimizer, rng = fastbp.Adam(lr=lr, betas=BETAS, eps=eps), np.random.default_rng(0)

    def epoch():
        net.train_epoch(X, y, optimizer, batch_size=batch, shuffle=shuffle, rng=rng)

    return Side(epoch, lambda _: net.params)


def by_numpy(net, X, y, batch, *, shuffle=True, lr=EPOCH_LR, eps=EPS):
    """`plain`'s loop on one flat vector; the rows are gathered once, which is cheaper than in each
    step."""
    gradient, grad = plain.gradient_of(net, batch)
    step, rng = plain.adam_of(net.params, lr, BETAS, eps), np.random.default_rng(0)

    def epoch():
        order = rng.permutation(len(X)) if shuffle else slice(None)
        rows, targets = X[order], y[order]
        for i in range(0, len(X), batch):
            part = rows[i:i + batch]
            gradient(part, targets[i:i + batch])
            np.divide(grad, len(part), out=grad)
            step(grad)

    return Side(epoch, lambda _: net.params)


def by_torch(net, X, y, batch, *, shuffle=True, lr=EPOCH_LR, eps=EPS):
    """The usual loop with the fused Adam; the rows are gathered once and split into views."""
    import torch

    torch.set_num_threads(1)
    leaves, X, y = torch_leaves(torch, net), torch.tensor(X), torch.tensor(y)
    loss, random = torch_loss(torch, net, "mean"), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(leaves, lr=lr, betas=BETAS, eps=eps, fused=True)

    def epoch():
        order = torch.randperm(len(X), generator=random) if shuffle else slice(None)
        for part, targets in zip(X[order].split(batch), y[order].split(batch), strict=True):
            optimizer.zero_grad()
            loss(leaves, part, targets).backward()
            optimizer.step()

    return Side(epoch, lambda _: torch_flat([leaf.detach() for leaf in leaves]))


def jax_epoch(jax, jnp, net, n, batch, *, shuffle=True, lr=EPOCH_LR, eps=EPS):
    """epoch(state, key, X, y) -> (state, key), to be compiled: a scan over the mini-batches."""
    gradient = jax.grad(jax_loss(jax, jnp, net, jnp.mean))
    whole, (beta1, beta2) = n // batch * batch, BETAS

    def step(state, rows):
        params, m, v, t = state
        t = t + 1
        grads = gradient(params, *rows)
        m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
        v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, grads, strict=True)]
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        params = [p - lr * (a / c1) / (jnp.sqrt(b / c2) + eps)
                  for p, a, b in zip(params, m, v, strict=True)]
        return (params, m, v, t), None

    def epoch(state, key, X, y):
        key, used = jax.random.split(key)
        if shuffle:
            order = jax.random.permutation(used, n)
            X, y = X[order], y[order]
        batches = [a[:whole].reshape(-1, batch, a.shape[1]) for a in (X, y)]
        state, _ = jax.lax.scan(step, state, batches)
        if whole < n:
            state, _ = step(state, (X[whole:], y[whole:]))
        return state, key

    return epoch


def jax_state(jnp, net, t=0.0):
    """Parameters, m, v and t before the first step; of many networks with their t each."""
    params = jax_params(jnp, net)
    zeros = [jnp.zeros_like(a) for a in params]
    return params, zeros, zeros, jnp.array(t, net.dtype)


def by_jax(net, X, y, batch, *, shuffle=True, lr=EPOCH_LR, eps=EPS):
    """The whole epoch, shuffle included, is one jitted function.

    Unrolling the scan made it slower; donating the buffers of the state made no difference.
    """
    jax, jnp = jax_for(X.dtype)
    epoch = jax.jit(jax_epoch(jax, jnp, net, len(X), batch, shuffle=shuffle, lr=lr, eps=eps))
    X, y = jnp.array(X), jnp.array(y)
    held = [(jax_state(jnp, net), jax.random.key(0))]

    def call():
        held[0] = jax.block_until_ready(epoch(*held[0], X, y))

    return Side(call, lambda _: np.concatenate([np.ravel(a) for a in held[0][0][0]]))


def by_sklearn(net, X, y, batch, *, shuffle=True, lr=EPOCH_LR, eps=EPS):
    """`partial_fit`, which is one epoch; eps is added to the root before the bias correction."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    model = MLPClassifier(net.layer_sizes[1:-1], activation="logistic", solver="adam", alpha=0.0,
                          batch_size=min(batch, len(X)), learning_rate_init=lr, beta_1=BETAS[0],
                          beta_2=BETAS[1], epsilon=eps, shuffle=shuffle, random_state=0)
    # As the first `partial_fit` does, which would also make steps.
    model._label_binarizer = LabelBinarizer().fit([0, 1])
    model.classes_ = model._label_binarizer.classes_
    model._random_state = np.random.RandomState(0)
    model._initialize(y, net.layer_sizes, X.dtype)
    model.coefs_, model.intercepts_ = ([a.copy() for a in arrays]
                                       for arrays in (net.weights, net.biases))
    labels = y[:, 0].astype(int)
    return Side(lambda: model.partial_fit(X, labels),
                lambda _: flatten(model.coefs_, model.intercepts_))
