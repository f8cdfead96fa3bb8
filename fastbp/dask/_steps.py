"""Solvers "adam" and "sgd": steps along the gradient of many blocks, or local ones averaged.

The blocks are divided into strata, ranges of the table that are as even as can be. Each epoch puts
the blocks of every stratum in an order of its own, and so a batch, one block of each stratum, has
rows from everywhere in the table, and as many from each worker. `shuffled` says which orders.

    batch j:   g = sum over strata s of the gradient of block order_s[j];  p <- step(p, g / weight)

With `average_every=k` each stratum has a replica of the network and of the optimizer's state. It
makes the mini-batch steps of `MLP.train_epoch` over its next k blocks, and then

    p = sum_s w_s p_s / sum_s w_s       w_s: the weight of what replica s has seen

is where all of them go on, and so it is with the state. The strata depend on the table and on
`n_replicas`, not on the cluster.
"""

import copy

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp.dask import _passes
from fastbp.dask._tree import Sum, strata
from fastbp.sklearn._optimizers import Optimizer
from fastbp.sklearn._stochastic import after_epoch, begin
from fastbp.sklearn._whole import half_squares
from fastbp.sklearn._workers import SEED_END

BLOCKS_OF_A_BATCH = 16      # and strata under average_every, unless another number is given
ROWS_OF_A_STEP = 200        # of a replica
GROUP = 16                  # blocks: a shard, where they have 4096 rows of 30 columns
SHARD_BYTES = 2**23


def begin_steps(model, given):
    """The state before the first epoch."""
    begin(model)
    model._optimizer = Optimizer(given)
    model.n_iter_, model.stopped_ = 0, False


def fit_steps(model, given, net, table, summary, random_state, task):
    """Train `net` until a criterion of `model` is met; `task.end()` is called after each epoch.

    `given` has the parameters of `model`; `summary` says what scikit-learn's loss is.
    """
    n_strata = (given.n_replicas if given.average_every else
                BLOCKS_OF_A_BATCH if given.batch_size == "auto" else
                max(round(given.batch_size / table.size), 1))
    ranges = strata(table.n_blocks, n_strata)
    epoch = average_epoch if given.average_every else batch_epoch
    while model.n_iter_ < given.max_iter and not model.stopped_:
        task.begin()
        orders = [shuffled(each, random_state) if given.shuffle else np.array(each)
                  for each in ranges]
        loss, penalty = epoch(model._optimizer.rule, given, net, table, orders, random_state)
        if not np.isfinite(net.params).all():
            return              # which `fit` refuses
        model.loss_ = summary.reported(loss, penalty)
        model.n_iter_ += 1
        model.t_ += table.n_rows
        model.loss_curve_.append(model.loss_)
        model.stopped_ = after_epoch(model, given, None)
        task.end()
    if not model.stopped_:
        task.warn(f"Stochastic Optimizer: Maximum iterations ({given.max_iter}) reached and the "
                  "optimization hasn't converged yet.", ConvergenceWarning)


def shuffled(blocks, random_state):
    """Groups of neighbouring blocks in a random order, and those of each group.

    Batches that follow one another have blocks of the same groups, which a worker that has more
    rows than memory reads from its disk once.
    """
    groups = [blocks[i:i + GROUP] for i in range(0, len(blocks), GROUP)]
    order = random_state.permutation(len(groups))
    return np.concatenate([random_state.permutation(groups[k]) for k in order])


def batch_epoch(rule, given, net, table, orders, random_state):
    """One step for each batch; the means of their losses and of the penalties, by weight."""
    sums = np.zeros(3)
    for j in range(max(map(len, orders))):
        blocks = [int(order[j]) for order in orders if j < len(order)]
        penalty = given.alpha * half_squares(net)
        total = table.sum(_passes.gradient, of=blocks, net=net, l2=given.alpha,
                          positions={number: i for i, number in enumerate(blocks)})
        weight = total[1]
        if weight:
            sums += total[0] - penalty, penalty, weight
            rule.step(net.params, (total[2:] / weight).astype(net.dtype))
    return sums[0] / sums[2], sums[1] / sums[2]


def average_epoch(rule, given, net, table, orders, random_state):
    """Rounds of local steps over all blocks; the means of the losses of their mini-batches."""
    batch_size = ROWS_OF_A_STEP if given.batch_size == "auto" else given.batch_size
    sums = np.zeros(3)
    for start in range(0, max(map(len, orders)), given.average_every):
        mine = [order[start:start + given.average_every].tolist() for order in orders]
        seeds = random_state.randint(SEED_END, size=len(mine)).tolist()
        tasks = [(order, seed) for order, seed in zip(mine, seeds, strict=True) if order]
        found = table.each(local_steps, tasks, net=net, rule=rule, batch_size=batch_size,
                           l2=given.alpha, shuffle=given.shuffle)
        whole, latest = Sum(), {"t": -1}
        for i, (values, state) in enumerate(found):
            if state:
                whole.add(0, i, values)
                latest = max(latest, state, key=lambda each: each["t"])
        if latest["t"] < 0:
            continue            # no row of the round has a weight
        total = whole.total()
        sums += total[:3]
        net.params, *vectors = np.split(total[4:] / total[3], len(total[4:]) // net.n_params)
        rule._resume(latest | {name: vector.astype(net.dtype) for name, vector
                               in zip(vector_names(latest), vectors, strict=True)}, False)
    return sums[0] / sums[2], sums[1] / sums[2]


def vector_names(state):
    """The names in an optimizer's state of what it has for each parameter."""
    return sorted(name for name, value in state.items() if isinstance(value, np.ndarray))


def local_steps(shards, order, seed, net, rule, batch_size, l2, shuffle):
    """What a replica has made of some blocks: a vector, and the optimizer's state or None.

    The vector has the sums over its rows of the loss and the penalty of their mini-batch, the
    number of rows, the weight, and by that weight the parameters and the vectors of the state.
    """
    rule, rng = copy.deepcopy(rule), np.random.default_rng(seed)
    net = copy.deepcopy(net)
    found = {number: block for _, number, block in _passes.blocks(shards, dict.fromkeys(order, 0))}
    sums = np.zeros(4)
    for number in order:
        X, y, weight = found[number]
        of_block = _passes.weight_of(X, weight)
        if not of_block:
            continue
        losses = np.full((-(-len(X) // batch_size), 2), np.nan)
        net.train_epoch(X, y, rule, batch_size=batch_size, shuffle=shuffle, rng=rng,
                        sample_weight=weight, l2=l2, batch_losses=losses)
        counts = np.full(len(losses), float(batch_size))
        counts[-1] = len(X) - batch_size * (len(losses) - 1)
        made = ~np.isnan(losses[:, 0])
        total = (counts[made, None] * losses[made]).sum(axis=0)     # BLAS differs by processor
        sums += *total, counts[made].sum(), of_block
    state = rule.state_dict()
    if not sums[3]:
        return sums, None
    vectors = np.concatenate([net.params, *(state[name] for name in vector_names(state))])
    return np.concatenate([sums, sums[3] * np.float64(vectors)]), state
