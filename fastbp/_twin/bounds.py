"""The error bounds of activations and losses: how far they move with z, and how they round.

An activation gives h and h' (E1, E4); it moves with z by no more than this, and has c u of its
value beside it (`Rounding`):

    sigma     e_h = min(h expm1(e_z), h' e_z + e_z^2 / 20)            max |sigma''| < 1/10
              e_h' = min(h' expm1(e_z), e_z / 10)                     |d ln sigma' / dz| <= 1
    tanh      e_h = min(h' e_z + 2 e_z^2 / 5, e_z)                    max |tanh''| < 4/5
              e_h' = min(h' expm1(2 e_z), 4 e_z / 5)                  |d ln tanh' / dz| <= 2
    relu      e_h = max(0, min(z, 0) + e_z), e_h' = 1 where |z| <= e_z, else 0
    identity  e_h = e_z, e_h' = 0

A loss gives h_L, delta_L and the terms l of L (E1, E3, E2). M = (1 - t) f + t (1 - f) is |delta_L|
for t = 0 and 1; P is the larger of 1 and pos_weight p, a factor of t in M and l:

    bce            e_delta = min(M expm1(e_z), P e_z / 4)       |d ln sigma(+-z) / dz| <= 1
                   e_l = min(l expm1(e_z), P e_z)               |d ln ln(1 + e^z) / dz| <= 1
    softmax        e_delta = min(M expm1(E), E / 4),  E = 2 max_k e_z_k over the outputs
                   e_l = t min(-ln p expm1(E), E)
    squared_error  e_delta = e_z + u |delta|,  e_l = |delta| e_z + e_z^2 / 2 + 3 u l
    poisson        e_delta = e_f + u |delta|,  e_f = f expm1(e_z) + c u f
                   e_l = e_f + t e_z + u |l| + u t |z|          without FMA t z rounds too

d ln p_j = sum_k p_k (dz_j - dz_k) is at most (1 - p_j) E, d ln (1 - p_j) at most p_j E, and
d ln (-ln p_j) at most E, because -ln p_j >= 1 - p_j; dp_j = p_j d ln p_j is at most E / 4. A
z - max z that rounds adds u |z - max z| to e_z. A smoothed t is off by three roundings,
e_t = 3 u t, which enters e_delta P times and e_l as P ln(1 + e^|z|) e_t, or -ln p e_t.

Where 1 - h, 1 - h^2 and h - y are taken from the rounded h, its error c_sigma u |h| enters all of
them: e_h' has c_sigma u h or 2 c_sigma u |h| more, for |d (h (1 - h)) / dh| <= 1 and
|d (1 - h^2) / dh| = 2 |h|, and M of the last term is 1.
"""

import numpy as np

from .. import _arguments
from .mathematics import below_largest
from .rounding import Ball, magnitude


def tails(do, z):
    """e^-|z|, sigma(z) and sigma(-z), neither of these from the other's rounded value."""
    e = do.wide.exp(-np.abs(z))
    q = e / (1 + e)
    return e, np.where(z < 0, q, 1 - q), np.where(z < 0, 1 - q, q)


# ---- activations: h and h' of z


def sigmoid(do, z):
    _, up, down = tails(do, z.x)
    h, slope = magnitude(up), magnitude(up * down)
    relative = np.expm1(z.e)
    e_h = np.fmin(h * relative, slope * z.e + z.e**2 / 20)  # fmin: 0 times infinity is NaN
    e_slope = np.fmin(slope * relative, z.e / 10)
    if do.c.from_h:
        e_slope += do.c.sigma * do.u * h
    return do.ball(up, e_h, do.c.sigma), do.ball(up * down, e_slope, do.c.slope)


def tanh(do, z):
    e, up, down = tails(do, 2 * z.x)
    h = do.wide.expm1(-2 * np.abs(z.x)) / (1 + e)
    slope = magnitude(4 * up * down)
    e_h = np.fmin(slope * z.e + 0.4 * z.e**2, z.e)
    e_slope = np.fmin(slope * np.expm1(2 * z.e), 0.8 * z.e)
    if do.c.from_h:
        e_slope += 2 * do.c.sigma * do.u * magnitude(h)
    return (do.ball(np.where(z.x < 0, h, -h), e_h, do.c.sigma),
            do.ball(4 * up * down, e_slope, do.c.slope))


def relu(do, z):
    e_h = np.where(z.x < 0, np.fmax(z.e - z.size, 0), z.e)
    return (Ball(np.where(z.x < 0, 0, z.x), e_h),
            Ball(np.where(z.x > 0, 1, 0), np.where(z.size <= z.e, 1.0, 0.0)))


def identity(do, z):
    return z, Ball(np.ones_like(z.x), np.zeros_like(z.size))


ACTIVATIONS = {name: globals()[name] for name in _arguments.ACTIVATIONS}


# ---- losses: h_L, delta_L and the terms of L; of z, targets t, and pos_weight p or None


def is_soft(t):
    """1 for targets that are neither 0 nor 1, where two terms that round are left of each."""
    return np.where((t.size > 0) & (t.size < 1), 1, 0)


def gap(do, M, e, c, most=1):
    """e_delta of delta = (1 - t) f - t (1 - f), where e bounds what it moves with z."""
    return do.rounded(most if do.c.from_h else M, e, c)


def bce(do, z, t, p):
    E, up, down = tails(do, z.x)
    log = do.wide.log1p(E)
    softplus = np.where(z.x < 0, 0, z.x) + log, np.where(z.x < 0, -z.x, 0) + log
    positive, most = (t.x, 1) if p is None else (t.x * p.x, np.maximum(p.size, 1))
    M = magnitude((1 - t.x) * up + positive * down)
    e = np.fmin(M * np.expm1(z.e), most * z.e / 4) + most * t.e
    c = do.c.delta * (1 if p is None else 1 + is_soft(t))
    # a tail that underflows is multiplied by p
    delta = Ball((1 - t.x) * up - positive * down, gap(do, M, e, c, most) + c * do.tiny * most)
    terms = (1 - t.x) * softplus[0] + positive * softplus[1]
    e = np.fmin(magnitude(terms) * np.expm1(z.e), most * z.e)
    e = e + most * t.e * (z.size + z.e + np.log(2))  # ln(1 + e^|z|) <= |z| + ln 2
    if p is None:  # t z and max(z, 0) - t z round, neither larger than |z|
        terms = do.ball(terms, e, do.c.loss)
        terms.e = terms.e + is_soft(t) * 2 * do.u * (z.size + z.e)
    else:  # the product with p t rounds, and without FMA that with log1p(E) does
        terms = do.ball(terms, e, (do.c.loss + 2) * (1 + is_soft(t)))
    return sigmoid(do, z)[0], delta, terms


def softmax(do, z, t, _):
    a, _ = below_largest(z.x)
    E = do.wide.exp(a)
    others = E @ (1 - np.eye(E.shape[1], dtype=E.dtype))  # S - E_j without a cancellation
    S = E.sum(axis=1, keepdims=True)
    up, down = E / S, others / S
    e_z = 2 * (z.e + do.c.shift * do.u * magnitude(a)).max(axis=1, keepdims=True)
    h = do.ball(up, np.fmin(magnitude(up) * np.expm1(e_z), e_z / 4), do.c.softmax)
    M, c = magnitude((1 - t.x) * up + t.x * down), do.c.softmax * (1 + is_soft(t))
    e = np.fmin(M * np.expm1(e_z), e_z / 4) + t.e
    delta = Ball((1 - t.x) * up - t.x * down, gap(do, M, e, c))
    surprise = do.wide.log1p(others.min(axis=1, keepdims=True)) - a  # -ln p
    size = magnitude(surprise)
    e = (t.size + t.e) * np.fmin(size * np.expm1(e_z), e_z) + t.e * size
    return h, delta, do.ball(t.x * surprise, e, c)


def squared_error(do, z, t, _):
    delta = do.ball(z.x - t.x, z.e, 1)
    return z, delta, do.ball(delta.x**2 / 2, delta.size * z.e + z.e**2 / 2, 3)


def poisson(do, z, t, _):
    f = do.wide.exp(z.x)
    h = do.ball(f, magnitude(f) * np.expm1(z.e), do.c.sigma)
    terms = do.ball(f - t.x * z.x, h.e + t.size * z.e, 1)
    terms.e = terms.e + do.u * t.size * (z.size + z.e)
    return h, do.ball(f - t.x, h.e, 1), terms


LOSSES = {name: globals()[name] for name in _arguments.LOSSES}
