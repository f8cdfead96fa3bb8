"""Clipping and noise of the gradients of samples: limits, multipliers, draws."""

import numpy as np

from .numbers import bit_generator, limit, non_negative

LARGEST = 16        # deviations; no normal number of `_random.normals` is beyond 9


def noise(noise_multiplier, rng):
    """How much noise, in limits of a norm, and the bit generator of its draws; or 0 and ``None``.

    An int is refused as a seed: it would give the same noise at every call.
    """
    multiplier = non_negative("noise_multiplier", noise_multiplier)
    if multiplier > 0:
        return multiplier, bit_generator(rng, "rng", seeds=False)
    if rng is not None:
        bit_generator(rng)
    return 0.0, None


def deviation(multiplier, max_norm, dtype, name="max_norm", scale=1.0):
    """The standard deviation of the noise, which ``dtype`` holds, and all normal numbers of it.

    ``scale`` is what the gradient is multiplied with; 0 for a multiplier of 0.
    """
    if multiplier == 0:
        return 0.0
    product = multiplier * max_norm * scale
    least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max) / LARGEST
    if not least <= product <= most:
        times = "" if scale == 1 else f" times {scale:g}, by which the loss multiplies gradients"
        raise ValueError(f"noise_multiplier is {multiplier} and {name} is {max_norm}; their "
                         f"product{times}, the noise's standard deviation, should be finite, "
                         f"from {least:.3g} to {most:.3g} in {np.dtype(dtype)}")
    return product


def privacy(max_grad_norm, noise_multiplier, rng, dtype):
    """The limit of each gradient's norm, or 0 for none, and the `noise` of a step."""
    if max_grad_norm is not None:
        max_grad_norm = limit("max_grad_norm", max_grad_norm)
        multiplier, source = noise(noise_multiplier, rng)
        deviation(multiplier, max_grad_norm, dtype, "max_grad_norm")
        return max_grad_norm, multiplier, source
    if non_negative("noise_multiplier", noise_multiplier) > 0:
        raise ValueError(f"noise_multiplier is {noise_multiplier} and max_grad_norm is None; "
                         "it should be a number above 0, of which the noise is a multiple")
    return 0.0, 0.0, None


def refuse_default_size(size):
    """Raise for clipped steps of any number of samples without the number that is expected."""
    raise ValueError(
        f"batch_size is not given, and its default is {size}; with max_grad_norm and an order of "
        "steps it should be the expected size of a step, by which each sum is divided: n * rate "
        "of poisson_order")


def raw_draws(source, draws, size):
    """What a bit generator gave as ``size`` raw draws: one written in Python may give anything."""
    if (type(draws) is np.ndarray and draws.dtype == np.uint64 and draws.shape == (size,)
            and draws.flags.c_contiguous and draws.flags.aligned):
        return draws
    has = (f"{draws.dtype} of shape {draws.shape}" if isinstance(draws, np.ndarray)
           else f"what is of type {type(draws).__name__}")
    raise TypeError(f"rng is of type {type(source).__name__}, whose random_raw({size}) gives "
                    f"{has}; it should give a contiguous ndarray of dtype uint64 and shape "
                    f"({size},)")
