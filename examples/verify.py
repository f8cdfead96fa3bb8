"""Claims of the README, checked: the same bits, the equations, and a bound that holds.

    python examples/verify.py

Three questions to one gradient of a 30-64-64-1 network, on the bundled table. Do threads, batches
or runs change a bit of it? Is it what the equations say, which `fastbp.reference` has in NumPy? Is
it as near to the true one as `error_bound` says? "True" is the reference in float64, whose own
rounding is 2⁻²⁹ of that of float32.
"""

import numpy as np

import fastbp
from fastbp import reference
from fastbp.datasets import load_breast_cancer


def main():
    """Print what was found; return it by name."""
    data = load_breast_cancer()
    X = ((data.X - data.X.mean(axis=0)) / data.X.std(axis=0)).astype(np.float32)
    y = data.y.astype(np.float32)
    nets = [fastbp.MLP([30, 64, 64, 1], seed=0, n_threads=n) for n in (1, 2, 3, 8, 1)]
    found = {}

    grads = [(net.backprop(X, y), net.grad.tobytes()) for net in nets]
    found["gradients of 1, 2, 3, 8 threads and a second run that differ"] = len(set(grads)) - 1

    whole, net = nets[0].forward(X), nets[0]
    alone = np.concatenate([net.forward(X[i:i + 1]) for i in range(len(X))])
    found["outputs that differ from those of a row alone"] = int((whole != alone).sum())

    wide = [[a.astype(np.float64) for a in arrays] for arrays in (net.weights, net.biases)]
    loss, dW, db = reference.backprop(*wide, X.astype(np.float64), y.astype(np.float64))
    true = np.concatenate([a.ravel() for pair in zip(dW, db, strict=True) for a in pair])
    off = np.abs(net.grad - true)
    found["largest error of dL/dparams, over its largest element"] = off.max() / np.abs(true).max()
    found["error of the loss, relative"] = abs(grads[0][0] - loss) / loss

    bound = net.error_bound(X, y)
    found["elements beyond their bound"] = int((off > bound).sum())
    found["median of bound over error"] = float(np.median(bound[off > 0] / off[off > 0]))
    for name, value in found.items():
        print(f"{value:>10.3g}  {name}")
    return found


if __name__ == "__main__":
    main()
