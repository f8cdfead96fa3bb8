"""A network, its optimizer and a `Layers` on its weights, through any sequence of calls, right and
wrong, are at each step to the bit what their twins are, which see the right calls alone, with plain
arrays and on one thread."""

import copy
import pickle

import numpy as np
from batches import Call, penalties
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from strategies import Argument, Fault, arrays, judged, one_number, same

import fastbp
from fastbp import Layers
from fastbp._arguments import each_activation
from tests.api.test_properties_network import (
    GRADIENTS,
    arguments_of,
    batches,
    in_steps,
    inputs_of,
    networks,
    optimizers,
    orders,
)

FAULTY = [Fault(TypeError, ""), Fault(ValueError, "")]


class Session(RuleBasedStateMachine):
    """`net`, `optimizer` and `layers` are driven; `twin`, `rule` and `plain_layers` follow."""

    @initialize(net=networks(), optimizer=optimizers().filter(lambda o: not o.faults))
    def begin(self, net, optimizer):
        self.net, self.optimizer = net, copy.deepcopy(optimizer.value)
        self.twin, self.rule = copy.deepcopy(net), copy.deepcopy(self.optimizer)
        self.twin.n_threads = 1
        activations = [*each_activation(net.activation, len(net.layer_sizes) - 2), "identity"]
        self.layers, self.plain_layers = (
            Layers(net.layer_sizes, activations, dtype=net.dtype, n_threads=n) for n in (None, 1))
        self.kept = False       # whether `layers` has a pass to go back over

    # ---- calls that read parameters

    @rule(data=st.data(), method=st.sampled_from(["forward", "logits"]))
    def outputs(self, data, method):
        X, _ = inputs_of(data.draw, self.net)
        h = judged(lambda: getattr(self.net, method)(X.value), X.faults)
        if not X.faults:
            same(h, getattr(self.twin, method)(Call({"X": X}, self.net.dtype).plain["X"]))

    @rule(data=st.data(), method=st.sampled_from(GRADIENTS))
    def gradient(self, data, method):
        arguments = arguments_of(data.draw, self.net, method)
        if method == "value_and_grad":
            arguments["params"] = Argument(self.net.params, self.net.params)
        call = Call(arguments, self.net.dtype)
        result = judged(lambda: getattr(self.net, method)(**call.passed), call.faults)
        if not isinstance(result, Exception):
            expected = getattr(self.twin, method)(**call.plain)
            if method == "objective":
                result, expected = result(self.net.params), expected(self.twin.params)
            same(result, expected)

    @rule(data=st.data())
    def forward_of_layers(self, data):
        X, _ = inputs_of(data.draw, self.net)
        h = judged(lambda: self.layers.forward(self.net.weights, self.net.biases, X.value),
                   X.faults)
        if not X.faults:
            plain = Call({"X": X}, self.net.dtype).plain["X"]
            same(h, self.plain_layers.forward(self.twin.weights, self.twin.biases, plain))
            self.kept, self.n = [W.tobytes() for W in self.net.weights], len(h)

    @rule(data=st.data())
    def backward_of_layers(self, data):
        if self.kept != [W.tobytes() for W in self.net.weights]:
            return              # there was no pass, or the weights are others since
        shape = self.n, self.net.layer_sizes[-1]
        grad = data.draw(arrays("grad_output", [shape]))
        found, expected = (([np.empty_like(W) for W in net.weights],
                            [np.empty_like(b) for b in net.biases],
                            np.empty((self.n, net.layer_sizes[0]), net.dtype))
                           for net in (self.net, self.twin))
        result = judged(lambda: self.layers.backward(grad.value, *found), grad.faults)
        if not isinstance(result, Exception):
            plain = Call({"g": grad}, self.net.dtype).plain["g"]
            self.plain_layers.backward(plain, *expected)
            same(found, expected)

    # ---- calls that change them

    @rule(times=st.integers(1, 3))
    def step(self, times):
        for _ in range(times):
            self.optimizer.step(self.net.params, self.net.grad)
            self.rule.step(self.twin.params, self.twin.grad)

    @rule(data=st.data())
    def wrong_step(self, data):
        other = np.ones(self.net.n_params + 1, self.net.dtype)
        wrong = data.draw(st.sampled_from([
            (self.net.params, other), (self.net.params, self.net.grad.astype("i4")),
            (self.net.params.tolist(), self.net.grad), (self.net.params, self.net.grad[::-1]),
            (self.net.params[:-1], self.net.params[1:])]).filter(
                lambda pair: self.net.n_params > 2))
        judged(lambda: self.optimizer.step(*wrong), FAULTY)

    @rule(data=st.data(), size=st.integers(1, 40))
    def epoch(self, data, size):
        arguments = data.draw(batches(self.net, mean=True))
        n = len(arguments["X"].plain) if not any(a.faults for a in arguments.values()) else 3
        order, l2 = data.draw(orders(n)), data.draw(penalties())
        call = Call({**arguments, "order": order, "l2": l2}, self.net.dtype)
        result = judged(lambda: self.net.train_epoch(
            **call.passed, optimizer=self.optimizer, batch_size=size, shuffle=False), call.faults)
        if not isinstance(result, Exception):
            rows = np.arange(n) if order.value is None else np.asarray(order.value, int)
            plain = {name: call.plain[name] for name in ("X", "y", "sample_weight")}
            with np.errstate(all="ignore"):
                in_steps(self.twin, self.rule, plain, size, rows, float(l2.value))
            # what the last mini-batch without weight left there
            same(self.net.params, self.twin.params)
            self.twin.grad = self.net.grad

    @rule(data=st.data(), name=st.sampled_from(["params", "params", "grad"]))
    def assign(self, data, name):
        value = data.draw(arrays(name, [(self.net.n_params,)]))
        result = judged(lambda: setattr(self.net, name, value.value), value.faults)
        if not isinstance(result, Exception):
            setattr(self.twin, name, Call({"v": value}, self.net.dtype).plain["v"])

    @rule(lr=one_number("lr", [0.25, 0.01], lambda x: 0 < x < np.inf))
    def schedule(self, lr):
        result = judged(lambda: setattr(self.optimizer, "lr", lr.value), lr.faults)
        if not isinstance(result, Exception):
            self.rule.lr = float(lr.value)

    # ---- calls that change nothing

    @rule(pack=st.sampled_from([copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]))
    def exchange(self, pack):
        """Both objects for copies; the `Layers` goes on with the weights that it read."""
        self.net, self.optimizer = pack(self.net), pack(self.optimizer)

    @rule(n=st.sampled_from([None, 1, 2, 3, 300]))
    def choose_threads(self, n):
        self.net.n_threads = n

    @rule(wrong=st.sampled_from([0, -1, 1.5, "2", True]))
    def wrong_threads(self, wrong):
        for owner in (self.net, self.layers):
            judged(lambda owner=owner: setattr(owner, "n_threads", wrong), FAULTY)
        judged(lambda: fastbp.set_num_threads(wrong), FAULTY)

    @rule()
    def reload(self):
        saved = self.optimizer.state_dict()
        wrong = {**saved, "t": -1}
        judged(lambda: self.optimizer.load_state_dict(wrong), FAULTY)
        finite = all(np.isfinite(a).all() for a in saved.values() if isinstance(a, np.ndarray))
        judged(lambda: self.optimizer.load_state_dict(saved), () if finite else FAULTY)

    @invariant()
    def agree(self):
        if hasattr(self, "net"):
            same(self.net.params, self.twin.params)
            same(self.net.grad, self.twin.grad)
            assert repr(self.optimizer) == repr(self.rule) and self.optimizer.t == self.rule.t
            state, expected = self.optimizer.state_dict(), self.rule.state_dict()
            if not self.rule.t:             # an epoch without a step may have made its vectors
                vectors = [a for a in state.values() if isinstance(a, np.ndarray)]
                assert not any(np.any(a) for a in vectors)
                return
            same([state[k] for k in sorted(state)], [expected[k] for k in sorted(expected)])


TestSession = Session.TestCase
