"""Balance a pole by evolution: 10,000 policies play at once, in one call of `forward` a step.

    pip install '.[dev]'       # which has gymnasium
    python examples/evolution.py [--candidates N] [--generations N] [--episodes N] [--seed N]

The task is CartPole-v1: a point for each step in which the pole stands, 500 at most. A policy is a
4-16-2 network from the state of a cart to the scores of a push to the left and to the right; the
push with the larger score is made.

The candidates of a generation are one `Population`, and each of them has observations of its own. A
genetic algorithm writes `params`: the best of a generation stay, and the others are copies of these
with noise on every parameter. No gradient is computed.
"""

import argparse
import sys
import time

import numpy as np

from fastbp import Population

try:
    import gymnasium
except ModuleNotFoundError:
    sys.exit("examples/evolution.py needs a package: pip install gymnasium")

TASK = "CartPole-v1"
POLICY = {"layer_sizes": [4, 16, 2], "activation": "tanh", "loss": "squared_error"}  # outputs are z
CANDIDATES_PER_PARENT = 50
NOISE = 0.1             # the deviation of a parameter; initial weights are uniform in +-0.5, +-0.57


def carts_of(n):
    """`n` carts in one environment, whose step is a few operations on arrays."""
    return gymnasium.make_vec(TASK, num_envs=n, vectorization_mode="vector_entry_point")


def play(carts, scores, seed):
    """The points (n,) of an episode of each cart; `scores` of observations (n, 4) are (n, 2)."""
    observed, _ = carts.reset(seed=seed)
    points, playing = np.zeros(carts.num_envs), np.ones(carts.num_envs, bool)
    while playing.any():
        observed, reward, fallen, at_the_end, _ = carts.step(scores(observed).argmax(axis=1))
        points += reward * playing
        playing &= ~(fallen | at_the_end)   # such a cart starts again, and counts no more
    return points


def breed(population, points, rng):
    """Write the next generation into `params`: first the parents, the best one in front."""
    n_parents = -(-len(population) // CANDIDATES_PER_PARENT)
    parents = population.params[np.argsort(-points, kind="stable")[:n_parents]]
    children = parents[rng.integers(n_parents, size=len(population) - n_parents)]
    children += NOISE * rng.standard_normal(children.shape, dtype=children.dtype)
    population.params = np.concatenate([parents, children])


def main(arguments=None):
    """Evolve, and return the points (n_episodes,) of the best policy in new episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000, help="of a generation")
    parser.add_argument("--generations", type=int, default=5, help="that are bred")
    parser.add_argument("--episodes", type=int, default=1000, help="in which the best is tested")
    parser.add_argument("--seed", type=int, default=0, help="of weights, noise and episodes")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)

    population = Population(options.candidates, **POLICY, seeds=options.seed)
    carts, out = carts_of(len(population)), np.empty((len(population), 1, 2), population.dtype)

    def scores(observed):
        return population.forward(observed[:, None], out)[:, 0]

    for generation in range(options.generations + 1):
        start = time.perf_counter()
        points = play(carts, scores, seed=int(rng.integers(2**31)))
        print(f"generation {generation}: {points.mean():5.1f} points on average, "
              f"{(points == points.max()).mean():5.1%} have {points.max():.0f}; "
              f"{time.perf_counter() - start:.1f} s")
        breed(population, points, rng)

    points = play(carts_of(options.episodes), population.member(0).forward, seed=options.seed)
    print(f"the best policy in {options.episodes} new episodes: {points.mean():.1f} points on "
          f"average, {points.min():.0f} at least")
    return points


if __name__ == "__main__":
    main()
