"""Clipping and noise of the gradients of samples: limits, multipliers, draws."""

import numpy as np

from .numbers import bit_generator, integer, limit, non_negative

LARGEST = 16        # deviations; no normal number of `_random.normals` is beyond 9


def noise(noise_multiplier, max_norm, rng, name="max_norm", dtype=np.float64):
    """How much noise, in ``max_norm``, and the bit generator of its draws; or 0 and ``None``.

    Its standard deviation is a number that ``dtype`` holds, with that of any sample of it.
    An int is refused as a seed: it would give the same noise at every call.
    """
    multiplier = non_negative("noise_multiplier", noise_multiplier)
    if rng is not None:
        bit_generator(rng)
    if multiplier == 0:
        return 0.0, None
    least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max) / LARGEST
    if not least <= multiplier * max_norm <= most:
        raise ValueError(f"noise_multiplier is {multiplier} and {name} is {max_norm}; their "
                         "product, the noise's standard deviation, should be finite, "
                         f"from {least:.3g} to {most:.3g} in {np.dtype(dtype)}")
    if integer(rng) is not None:
        raise TypeError(f"rng is {rng}; for noise it should be a numpy.random.Generator or a "
                        "numpy.random.BitGenerator, or None: an int gives the same noise at each "
                        "call")
    return multiplier, bit_generator(rng)


def privacy(max_grad_norm, noise_multiplier, rng, dtype):
    """The limit of each gradient's norm, or 0 for none, and the `noise` of a step."""
    if max_grad_norm is not None:
        max_grad_norm = limit("max_grad_norm", max_grad_norm)
        return max_grad_norm, *noise(noise_multiplier, max_grad_norm, rng, "max_grad_norm", dtype)
    if non_negative("noise_multiplier", noise_multiplier) > 0:
        raise ValueError(f"noise_multiplier is {noise_multiplier} and max_grad_norm is None; "
                         "it should be a number above 0, of which the noise is a multiple")
    return 0.0, 0.0, None


def raw_draws(source, draws, size):
    """What a bit generator gave as ``size`` raw draws: one written in Python may give anything."""
    if (type(draws) is np.ndarray and draws.dtype == np.uint64 and draws.shape == (size,)
            and draws.flags.c_contiguous and draws.flags.aligned):
        return draws
    has = (f"{draws.dtype} of shape {draws.shape}" if isinstance(draws, np.ndarray)
           else f"a {type(draws).__name__}")
    raise TypeError(f"rng is a {type(source).__name__} whose random_raw({size}) gives {has}; it "
                    f"should give a contiguous ndarray of dtype uint64 and shape ({size},)")
