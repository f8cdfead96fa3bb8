"""Every peer that is installed computes what fastbp computes, and one that does not is refused."""

import numpy as np
import pytest
from all_pairs import all_pairs

from fastbp._command import machine
from fastbp._command.bench import gradients, measure, peers, plain
from fastbp._command.bench.verify import (
    EPS,
    LR,
    Deviation,
    reference_epoch,
    verify,
    verify_bits,
    verify_epoch,
)
from fastbp._command.problems import problem
from fastbp._twin.error_bound import error_bound, running_error_bound
from fastbp._twin.rounding import LIBRARY, Arithmetic, own_error, wider

FASTBP = peers.PEERS[0]
INSTALLED = peers.installed(["torch.compile"])      # bench/ has it: seconds for each network
NETWORKS = (((2, 3, 1), 5), ((2, 8, 8, 1), 1), ((30, 64, 64, 1), 300), ((4, 6, 2), 3))
KINDS = (("relu", "softmax"), ("tanh", "squared_error"), ("identity", "poisson"), ("relu", "bce"))
EPOCHS = (((2, 3, 1), 1), ((3, 5, 4, 1), 8))
# One of each form of Adam, which is all of a peer that `verify_epoch` knows; JAX compiles each
# epoch for a second.
FORMS = [peer for peer in INSTALLED if peer.name in ("NumPy", "scikit-learn")]
each_peer = pytest.mark.parametrize("peer", INSTALLED, ids=[peer.name for peer in INSTALLED])
each_epoch = pytest.mark.parametrize(("sizes", "batch"), EPOCHS)


def name_of(value):
    return value.name if isinstance(value, peers.Peer) else str(value).replace(" ", "")


def test_peers_of_the_test_requirements_are_there():
    assert {"fastbp", "NumPy", "scikit-learn"} <= {peer.name for peer in INSTALLED}


@all_pairs("dtype", peer=INSTALLED, network=NETWORKS, factor=[1, 40], ids=name_of)
def test_gradients_are_within_the_bound_of_libraries(dtype, peer, network, factor):
    """Within the bound of wider arithmetic; with weights times 40, where units saturate: of NumPy
    times 16 at most, since e^-z would overflow."""
    net, X, y = problem(*network, dtype)
    net.params[:] *= net.dtype.type(min(factor, 16) if peer.name == "NumPy" else factor)
    side, wide = peer.gradient(net, X, y), wider(dtype)
    exact, bound = error_bound(net.weights, net.biases, X, y, LIBRARY, wide)
    grad = np.array(side.flat(side.call()), wide)
    assert np.all(np.abs(grad - exact) <= (1 + own_error(dtype, wide)) * bound)


@all_pairs("dtype", peer=INSTALLED, kind=KINDS, ids=name_of)
def test_gradients_of_any_activation_and_loss(dtype, peer, kind):
    net, X, y = problem((6, 9, 8, 4), 70, dtype, 0, *kind)
    sides = {"fastbp": FASTBP.gradient(net, X, y), peer.name: peer.gradient(net, X, y)}
    assert verify(net, X, y, sides) <= 1


@all_pairs("dtype", kind=[*KINDS, ("sigmoid", "bce")], ids=name_of)
def test_the_loss_of_the_plain_loop(dtype, kind):
    """`verify` looks at the gradient alone. The terms are within the bound of libraries, and their
    sum, of parts that are no larger than 2 |z| + ln 4 + e^z or the term, rounds."""
    net, X, y = problem((6, 9, 8, 4), 70, dtype, 0, *kind)
    t = plain.targets(net, y)
    loss = plain.gradient_of(net, len(X))[0](X, t)
    do = Arithmetic(net.dtype, LIBRARY)
    exact, bound = running_error_bound(do, net.weights, net.biases, X, y, activation=kind[0],
                                       loss=kind[1])
    size = exact.loss + np.sum(2 * np.abs(exact.z[-1]) + np.log(4) + np.exp(exact.z[-1]))
    assert abs(loss - exact.loss) <= bound.loss + (t.size + 4) * do.u * size


def test_the_plain_loop_refuses_what_overflows():
    net, X, y = problem((2, 3, 1), 5, "float32")
    net.biases[0][:] = -100
    with pytest.raises(FloatingPointError, match="overflow"):
        gradients.by_numpy(net, X, y)


def test_the_plain_loop_has_all_activations_and_losses():
    assert set(plain.ACTIVATIONS) | set(plain.LOSSES) >= gradients.OF_PEERS


def test_the_twin_is_no_peer(dtype):
    """It is as accurate as the kernels, and verifies them where nothing else is installed."""
    net, X, y = problem((3, 5, 4, 1), 7, dtype)
    sides = {"fastbp": FASTBP.gradient(net, X, y), "reference": gradients.by_reference(net, X, y)}
    assert verify(net, X, y, sides) <= 1
    assert gradients.by_reference not in {peer.gradient for peer in peers.PEERS}


@each_peer
def test_a_wrong_gradient_is_refused(peer, dtype):
    """An entry that is off by ten times what rounding explains, whichever it is."""
    net, X, y = problem((3, 5, 4, 1), 7, dtype)
    _, bound = error_bound(net.weights, net.biases, X, y, LIBRARY)
    good = {"fastbp": FASTBP.gradient(net, X, y)}
    side = peer.gradient(net, X, y)
    assert verify(net, X, y, {**good, "peer": side}) <= 1
    for i in range(net.n_params):
        for wrong in (20 * bound[i], np.nan):
            off = np.where(np.arange(net.n_params) == i, wrong, 0)
            broken = side._replace(flat=lambda r, off=off: np.float64(side.flat(r)) + off)
            with pytest.raises(Deviation, match="fastbp and peer differ"):
                verify(net, X, y, {**good, "peer": broken})


@each_peer
@each_epoch
def test_epochs_are_the_steps_of_the_reference(peer, sizes, batch):
    """In float64 and in float32: `verify_epoch` makes both."""
    assert 0 <= verify_epoch(sizes, batch, "float32", [peer]) <= 1


WRONG_EPOCHS = {
    "no last step": lambda X, y, batch, n, o: (X[:-n], y[:-n], batch, o),
    "no first step": lambda X, y, batch, n, o: (X[batch:], y[batch:], batch, o),
    "other rows": lambda X, y, batch, n, o: (X[::-1].copy(), y[::-1].copy(), batch, o),
    "other targets": lambda X, y, batch, n, o: (X, 1 - y, batch, o),
    "other batches": lambda X, y, batch, n, o: (X, y, batch + 1, o),
    "other eps": lambda X, y, batch, n, o: (X, y, batch, {**o, "eps": 1.001 * EPS}),
    "other lr": lambda X, y, batch, n, o: (X, y, batch, {**o, "lr": 1.001 * LR}),
}


@pytest.mark.parametrize("peer", [
    peer if peer in FORMS else pytest.param(peer, marks=pytest.mark.exhaustive)
    for peer in INSTALLED], ids=name_of)
@each_epoch
@pytest.mark.parametrize("name", WRONG_EPOCHS)
def test_a_wrong_epoch_is_refused(peer, sizes, batch, name):
    """In float64; a step that is missing, or made on other rows, in float32 too."""
    change = WRONG_EPOCHS[name]

    def broken(net, X, y, batch, **options):
        X, y, batch, options = change(X, y, batch, len(X) % batch or batch, options)
        return peer.epoch(net, X, y, batch, **options)

    with pytest.raises(Deviation, match=f"the parameters of {peer.name} are off"):
        verify_epoch(sizes, batch, "float64", [peer._replace(epoch=broken)])
    if name in ("no last step", "other rows"):
        with pytest.raises(Deviation, match="float32"):
            verify_epoch(sizes, batch, "float32", [peer._replace(epoch=broken)])


@each_peer
def test_the_other_form_of_adam_is_refused(peer):
    with pytest.raises(Deviation):
        verify_epoch(*EPOCHS[1], "float32", [peer._replace(eps_hat=not peer.eps_hat)])


@each_peer
def test_shuffling_keeps_rows_and_targets_together(peer, dtype):
    """In one mini-batch of all rows the order is one of summation; then a second epoch goes on."""
    sizes, n = (3, 5, 4, 1), 50
    expected, tolerance = reference_epoch(*problem(sizes, n, dtype), n, peer.eps_hat)
    side = peer.epoch(*problem(sizes, n, dtype), n, lr=LR, eps=EPS)
    first = np.array(side.flat(side.call()))
    assert np.all(np.abs(first - expected) <= tolerance)
    assert not np.array_equal(side.flat(side.call()), first)


@each_peer
def test_shuffling_shuffles(peer, dtype):
    """Beyond what rounding explains, the parameters are not those of the rows in order."""
    sizes, n, batch = (3, 5, 1), 20, 4
    in_order, tolerance = reference_epoch(*problem(sizes, n, dtype), batch, peer.eps_hat)
    side = peer.epoch(*problem(sizes, n, dtype), batch, lr=LR, eps=EPS)
    result = np.array(side.flat(side.call()))
    assert result.dtype == dtype and np.any(np.abs(result - in_order) > tolerance)


def test_bits_of_train_epoch(dtype):
    verify_bits((3, 5, 1), 100, dtype)


# ---- absence


def test_what_is_not_installed_is_absent(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "sklearn" else name)
    assert [peer.name for peer in peers.installed()] == [
        peer.name for peer in peers.PEERS if peer.name != "scikit-learn"]
    monkeypatch.setattr(machine, "LIBRARIES", ("no-such-library",))
    assert machine.versions() == {"no-such-library": None}


def test_a_compiler_that_does_not_work_is_told(monkeypatch):
    """In one line, and the other peers are timed."""
    def fail(net, X, y):
        raise RuntimeError("no compiler\nis there")

    broken = FASTBP._replace(name="torch.compile", gradient=fail)
    monkeypatch.setattr(measure, "installed", lambda without: (*INSTALLED[:2], broken))
    monkeypatch.setattr(measure, "memory_bandwidth", lambda: 1.0)
    machine, result = measure.measure([((2, 1), 1)], ["float32"], (), 0.0)
    assert machine["left_out"] == {"torch.compile": "RuntimeError: no compiler"}
    assert list(result["times"]) == ["fastbp", "NumPy"]
    assert peers.compiles(FASTBP) is None
