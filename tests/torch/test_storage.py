"""A fused module reads nothing beyond the storage of a tensor: where numbers are not there, be it
from the start or since the forward pass, it raises, and what comes after is right.
"""

import pytest
from apart import apart

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, close, gradients, same, sequential  # noqa: E402
from tensors import SHRUNK, SLOTS, copied, eager, plain, shrunk  # noqa: E402

from fastbp.torch import fuse  # noqa: E402

N = pytest.mark.parametrize("n", [4, 300])
NOT_THERE = "storage|not allocated"     # of ours, of PyTorch's


@apart
@N
@pytest.mark.parametrize("how", SHRUNK)
def test_a_shrunk_X_or_gradient_of_the_output(how, n):
    fused, (X, g) = fuse(sequential()), batch(n)
    for called in (False, True):
        for grad in (False, True):
            with torch.set_grad_enabled(grad), pytest.raises(
                    (ValueError, RuntimeError), match="X has a storage of"):
                fused(shrunk(X, how))
        h = fused(X)
        with pytest.raises((ValueError, RuntimeError), match=NOT_THERE):
            h.backward(shrunk(g, how))
        assert called or all(p.grad is None for p in fused.parameters())


@apart
@pytest.mark.parametrize("how", SHRUNK)
@pytest.mark.parametrize("slot", SLOTS)
def test_a_shrunk_parameter(slot, how):
    """Before a first call and after it; whole again, it is read again."""
    (i, name), (X, g) = slot, batch(4, (3, 30))
    for called in (False, True):
        fused = fuse(sequential((3, 40, 30)))
        if called:
            fused(X)
        p = getattr(fused[i], name)
        expected, kept = eager(fused, X, g), p.data
        p.data = shrunk(kept, how)
        for grad in (False, True):
            with torch.set_grad_enabled(grad), pytest.raises(
                    (ValueError, RuntimeError), match=NOT_THERE):
                fused(X)
        p.data = kept
        close(gradients(fused, X, g), expected)


@apart
def test_a_flat_buffer_that_shrinks_and_grows_again():
    """Parameters as views of one buffer whose memory is let go between the passes."""
    module, (X, g) = sequential(), batch(4)
    expected = eager(module, X, g)
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    kept, start = flat.clone(), 0
    for p in module.parameters():
        p.data, start = flat[start:start + p.numel()].view(p.shape), start + p.numel()
    fused, storage = fuse(module), flat.untyped_storage()
    whole = storage.nbytes()
    for nbytes in (whole, 0, whole, whole - 8, whole, flat.itemsize * 16, whole):
        storage.resize_(nbytes)
        if nbytes < whole:
            with pytest.raises((ValueError, RuntimeError), match=NOT_THERE):
                fused(X)
        else:
            flat.copy_(kept)
            close(gradients(fused, X, g), expected)


@apart
@pytest.mark.parametrize("nbytes", [0, 8])
@pytest.mark.parametrize("what", ["X", "first", "last"])
@pytest.mark.parametrize("direct", [False, True])
def test_memory_that_goes_while_a_pass_waits(what, nbytes, direct):
    """Backward reads X and the weights again, by the same pointer or another."""
    fused, (X, g) = fuse(sequential(), direct=direct), batch(300)
    h = fused(X)
    taken = {"X": X, "first": fused[0].weight, "last": fused[2].weight}[what]
    taken.untyped_storage().resize_(nbytes)
    with pytest.raises(RuntimeError, match=f"modified in place|{NOT_THERE}"):
        h.backward(g)


@apart
def test_the_last_byte_that_is_needed():
    """Views that end where their storage does, X with strides and expanded."""
    fused, (X, g) = fuse(sequential()), batch(5)
    expected = eager(fused, X, g)
    x = strided_to_the_end(X)
    same(gradients(fused, X, g), [*map(plain, gradients(fused, x, g))])
    with torch.no_grad():
        close([fused(x)], expected[:1])
        one = X[:1].clone()
        close([fused(one.expand(300, 3))], [copied(fused)(one).expand(300, 2)])
    flat = torch.cat([torch.ones(3, dtype=torch.float64), fused[0].weight.detach().flatten()])
    fused[0].weight.data = flat[3:].view(5, 3)
    close(gradients(fused, X, g), expected)


def strided_to_the_end(X):
    flat = torch.zeros(2 * X.numel() - 1, dtype=X.dtype)
    x = flat.as_strided(X.shape, (2 * X.shape[1], 2))
    return x.copy_(X)
