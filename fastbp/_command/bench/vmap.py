"""Many networks by JAX's and PyTorch's vmap, on one core: an epoch with Adam, outputs of one row.

Functions of a population, whose networks they copy, that give a `Side`: its result has a row for
each network.
"""

import numpy as np

from fastbp._command.bench.epochs import jax_epoch, jax_state
from fastbp._command.bench.gradients import jax_for
from fastbp._command.bench.networks import Side


def epoch_by_jax(population, X, y, batch, one_order=False, **options):
    """`vmap` of an epoch that is one scan, jitted; the result is the parameters.

    With `one_order` all networks take the rows in one order, otherwise each in its own. `options`
    are those of `jax_epoch`.
    """
    jax, jnp = jax_for(population.dtype)
    n_networks, key = len(population), jax.random.key(0)
    X, y = jnp.array(X), jnp.array(y)
    key, axis = (key, None) if one_order else (jax.random.split(key, n_networks), 0)
    epoch = jax_epoch(jax, jnp, population.member(0), len(X), batch, **options)
    every = jax.jit(jax.vmap(epoch, in_axes=(0, axis, None, None), out_axes=(0, axis)))
    held = [(jax_state(jnp, population, [0.0] * n_networks), key)]

    def call():
        held[0] = jax.block_until_ready(every(*held[0], X, y))

    return Side(call, lambda _: np.concatenate(
        [np.reshape(a, (n_networks, -1)) for a in held[0][0][0]], axis=1))


def outputs_by_torch(population, x):
    """`vmap` of the outputs of networks with one hidden layer of tanh units."""
    import torch
    from torch.nn.functional import linear

    torch.set_num_threads(1)
    stacked = [torch.tensor(np.ascontiguousarray(np.swapaxes(a, 1, -1)))
               for layer in zip(population.weights, population.biases, strict=True) for a in layer]
    x = torch.tensor(x)

    def one(W_1, b_1, W_2, b_2):
        return linear(torch.tanh(linear(x, W_1, b_1)), W_2, b_2)

    every = torch.func.vmap(one)

    def call():
        with torch.inference_mode():
            return every(*stacked).numpy()

    return Side(call, np.asarray)
