"""Samples as a network takes them: X, the targets, the weights; a sparse X some rows at a time.

Also what scikit-learn's loss is, given fastbp's. Of the mean over some samples, or their weights,

    squared error    fastbp / n_outputs        (the gradient is not divided, there as here)
    Poisson          fastbp + the mean of sum_k (y_k log y_k - y_k)
    log loss         fastbp, but not clipped: exact where scikit-learn's ends at -log(eps)

and the penalty alpha / 2 times the sum of W^2, over the sum of the weights, is added to each.
"""

import numpy as np
from scipy.sparse import issparse

BLOCK_BYTES = 2**24     # of a sparse X made dense at one time, or one mini-batch if it is larger


class Samples:
    """Rows of X with their targets and weights.

    Parameters
    ----------
    X : (n_rows, n_features) ndarray or CSR matrix
        C-contiguous, in the network's dtype.
    y : (n,) or (n, n_outputs) ndarray
        As `fastbp.MLP` takes it.
    weight : (n,) ndarray or None
    places : (n,) ndarray of int or None
        The row of X of each sample, so that many can share one X; samples of one row have its y and
        weight. None: each row is one sample.
    divisor : int
        What scikit-learn divides the loss by, besides the sum of the weights.
    offset : (n,) ndarray or None
        What scikit-learn adds to the loss of each sample.
    """

    def __init__(self, X, y, weight, places=None, divisor=1, offset=None):
        self.X, self.y, self.weight, self.divisor, self.offset = X, y, weight, divisor, offset
        self.places, self.n = places, len(y)
        self.total_weight = float(self.n if weight is None else weight.sum(dtype=np.float64))
        self._beside = self._counts = None

    def rows(self, which):
        """X dense, y and the weights of an index array or a slice of samples."""
        X = dense(self.X[which if self.places is None else self.places[which]])
        return X, self.y[which], which_of(self.weight, which)

    def rows_of_X(self, order):
        """The rows of X that hold the samples of an index array, or all if it is None."""
        return order if self.places is None else self.places if order is None else (
            self.places[order])

    def beside_X(self):
        """y and the weights, a row for each of X; of a row without a sample both are 0."""
        if self.places is None:
            return self.y, self.weight
        if self._beside is None:
            self._beside = tuple(None if each is None else self._scattered(each)
                                 for each in (self.y, self.weight))
        return self._beside

    def _scattered(self, of_samples):
        out = np.zeros((self.X.shape[0], *of_samples.shape[1:]), of_samples.dtype)
        out[self.places] = of_samples
        return out

    def blocks(self, multiple=1):
        return row_blocks(self.X, multiple, self.n)

    def mean_loss(self, net):
        """The loss of all samples as scikit-learn has it, without the penalty."""
        total = 0.0
        for block in self.blocks():
            X, y, weight = self.rows(block)
            total += net.loss_value(X, y, sample_weight=weight)
        return self.reported(total / self.total_weight, 0.0)

    def reported(self, loss, penalty):
        """scikit-learn's loss of all samples, from the means of fastbp's loss and penalty."""
        offset = 0.0 if self.offset is None else np.average(self.offset, weights=self.weight)
        return float(loss / self.divisor + penalty + offset)

    def epoch_loss(self, losses, order, batch_size):
        """The mean over samples of their mini-batch's loss: scikit-learn's loss of an epoch.

        `losses` has a row (loss, penalty) for each mini-batch, per unit of its weight.
        """
        if self._counts is None or len(self._counts) != len(losses):
            self._counts = np.full(len(losses), float(batch_size))
            self._counts[-1] = self.n - batch_size * (len(losses) - 1)
        counts = self._counts
        means = losses[:, 0] / self.divisor + losses[:, 1]
        if self.offset is not None:
            starts = np.arange(0, self.n, batch_size)
            weight = np.ones(self.n) if self.weight is None else self.weight[order]
            sums = np.add.reduceat(weight * self.offset[order], starts)
            weights = np.add.reduceat(weight, starts)
            means += np.divide(sums, weights, out=np.zeros(len(sums)), where=weights > 0)
        return float((counts * means).sum() / self.n)


def which_of(array, which):
    return None if array is None else array[which]


def dense(X):
    return X.toarray() if issparse(X) else X


def row_blocks(X, multiple=1, n=None):
    """Slices that cover `n` rows: one of a dense X, of a sparse one what `BLOCK_BYTES` hold.

    Each but the last has a multiple of `multiple` rows. None: all rows of X.
    """
    n = X.shape[0] if n is None else n
    size = max(n, 1)
    if issparse(X):
        size = max(BLOCK_BYTES // (multiple * X.shape[1] * X.dtype.itemsize), 1) * multiple
    return [slice(start, start + size) for start in range(0, n, size)]


def outputs(net, X):
    """The outputs h_L of rows of X, (n, n_outputs) in the network's dtype."""
    if not issparse(X):
        return net.forward(X)
    out = np.empty((X.shape[0], net.layer_sizes[-1]), net.dtype)
    for block in row_blocks(X):
        net.forward(dense(X[block]), out=out[block])
    return out


def slopes(net, X):
    """The derivative of h_L by the row of X that it comes from, (n, n_outputs, n_features)."""
    out = np.empty((X.shape[0], net.layer_sizes[-1], X.shape[1]), net.dtype)
    for block in row_blocks(X):
        net.jacobian(dense(X[block]), wrt="input", out=out[block])
    return out
