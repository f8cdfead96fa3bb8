"""fastbp's SGD and Adam under scikit-learn's learning rates.

    constant      lr
    invscaling    lr / (t + 1)^power_t after an epoch, t samples seen
    adaptive      lr / 5 when the loss, or the score, does not improve; stops at 1e-6

scikit-learn's velocity has the rate in it: v <- mu v - lr g, p <- p + v. fastbp's has not:
V <- mu V + g, p <- p - lr V. So v = -lr V, and V is scaled when lr changes, that v may not.
"""

import math

import numpy as np

import fastbp

LEAST_ADAPTIVE = 1e-6
LEAST_RATE = float(np.finfo(np.float32).tiny)     # with a smaller one no float32 changes


class Optimizer:
    """The rule of the updates, and the schedule of its rate.

    Attributes
    ----------
    rule : fastbp.SGD or fastbp.Adam
    learning_rate : float
        Adam's with its bias corrections, as at the last step.
    """

    network = None      # number and dtype of the parameters that `fits` saw last

    def __init__(self, given):
        self.initial, self.power_t = float(given.learning_rate_init), given.power_t
        if given.solver == "sgd":
            self.schedule = given.learning_rate
            momentum = min(given.momentum, np.nextafter(1.0, 0.0))    # scikit-learn allows 1
            self.rule = fastbp.SGD(self.initial, momentum,
                                   nesterov=bool(given.nesterovs_momentum and momentum > 0))
        else:
            self.schedule = "constant"
            self.rule = fastbp.Adam(self.initial, (given.beta_1, given.beta_2), given.epsilon,
                                    eps_hat=True)

    @property
    def learning_rate(self):
        t = self.rule.t
        if isinstance(self.rule, fastbp.SGD) or t == 0:
            return self.rule.lr
        beta_1, beta_2 = self.rule.betas
        return self.rule.lr * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)

    def fits(self, net):
        """Whether the state belongs to as many parameters as `net` has, and of its dtype."""
        if self.network != (net.n_params, net.dtype):
            self.network = net.n_params, net.dtype
            state = self.rule.state_dict()
            vectors = {name: x for name, x in state.items() if isinstance(x, np.ndarray)}
            if any(x.size != net.n_params for x in vectors.values()):
                return False
            self._resume(state | {name: x.astype(net.dtype) for name, x in vectors.items()})
        return True

    def after_epoch(self, t):
        """`t` samples were seen in all."""
        if self.schedule == "invscaling":
            self._change_rate(slowed(self.initial, t + 1, self.power_t))

    def gives_up(self, reason, verbose):
        """Whether training stops after too many epochs without improvement."""
        if self.schedule != "adaptive":
            outcome = "Stopping."
        elif self.rule.lr <= LEAST_ADAPTIVE:
            outcome = "Learning rate too small. Stopping."
        else:
            self._change_rate(self.rule.lr / 5)
            outcome = f"Setting learning rate to {self.rule.lr:f}"
        if verbose:
            print(f"{reason} {outcome}")
        return outcome.endswith("Stopping.")

    def _change_rate(self, rate):
        rate = max(rate, LEAST_RATE)
        state = self.rule.state_dict()
        if "v" in state:
            state["v"] *= self.rule.lr / rate
        self._resume({**state, "lr": rate})

    def _resume(self, state):
        """Unchecked: a run that diverges is reported after the epoch, by its parameters."""
        self.rule._resume(state, False)


def slowed(rate, t, power):
    """rate / t^power, also where that power is not below 2^1023."""
    bits = power * math.log2(t)
    return rate / t**power if bits < 1023 else 2.0 ** (math.log2(rate) - bits)
