"""A fused module computes as nn.Sequential while a child or all modules have hooks: the numbers are
the children's, to the bit; when the hooks are gone, they are those of one native call again.
"""

import warnings
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from modules import batch, gradients, same, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.modules import module as modules  # noqa: E402

from fastbp.torch import FusedSequential, fuse  # noqa: E402
from fastbp.torch._children import HOOKS  # noqa: E402

DIRECT = pytest.mark.parametrize("direct", [False, True])


def layers():
    return sequential((3, 5, 4, 2), ["tanh", "sigmoid", "identity"])


def unfused(fused):
    return nn.Sequential(*fused)


def name_of(module):
    return "Sequential" if isinstance(module, FusedSequential) else type(module).__name__


# ---- hooks of all modules


# For each: how it is registered, and the hook, which notes its module and changes what it may.
def of_forward(seen, change):
    def hook(module, args, output):
        seen.append(("forward", name_of(module), len(args)))
        return 2 * output if change(module) else None
    return hook


def of_forward_with_kwargs(seen, change):
    def hook(module, args, kwargs, output):
        seen.append(("forward", name_of(module), len(args), len(kwargs)))
        return 2 * output if change(module) else None
    return hook


def before_forward(seen, change):
    def hook(module, args):
        seen.append(("before forward", name_of(module)))
        return (args[0] + 1,) if change(module) else None
    return hook


def before_forward_with_kwargs(seen, change):
    def hook(module, args, kwargs):
        seen.append(("before forward", name_of(module)))
        return ((args[0] + 1,), kwargs) if change(module) else None
    return hook


def of_backward(seen, change):
    def hook(module, grad_input, grad_output):
        seen.append(("backward", name_of(module), [*map(type, grad_input)], len(grad_output)))
        return (2 * grad_input[0],) if change(module) and grad_input[0] is not None else None
    return hook


def before_backward(seen, change):
    def hook(module, grad_output):
        seen.append(("before backward", name_of(module)))
        return (2 * grad_output[0],) if change(module) else None
    return hook


GLOBAL = {
    "forward": (modules.register_module_forward_hook, of_forward, {}),
    "forward, with_kwargs": (modules.register_module_forward_hook, of_forward_with_kwargs,
                             {"with_kwargs": True}),
    "forward, always_call": (modules.register_module_forward_hook, of_forward,
                             {"always_call": True}),
    "before forward": (modules.register_module_forward_pre_hook, before_forward, {}),
    "backward": (modules.register_module_full_backward_hook, of_backward, {}),
    "before backward": (modules.register_module_full_backward_pre_hook, before_backward, {}),
}
CHANGES = {"nothing": lambda module: False, "Linear": lambda module: isinstance(module, nn.Linear),
           "Tanh": lambda module: isinstance(module, nn.Tanh),
           "the whole": lambda module: isinstance(module, nn.Sequential)}


@DIRECT
@pytest.mark.parametrize("hook", GLOBAL)
@pytest.mark.parametrize("change", CHANGES)
def test_global_hooks(hook, change, direct):
    """Called for the module and each child, in a Sequential's order; what they change counts."""
    register, make, options = GLOBAL[hook]
    fused, (X, g) = fuse(layers(), direct=direct), batch(4)
    with torch.no_grad():
        before = fused(X)
    results, calls = [], []
    for each in (unfused(fused), fused):
        calls.append([])
        handle = register(make(calls[-1], CHANGES[change]), **options)
        try:
            if direct and each is fused:        # its parameters may be in no graph
                fused.zero_grad()
                leaf = X.clone().requires_grad_()
                h = fused(leaf)
                h.backward(g)
                results.append([h.detach(), leaf.grad, *(p.grad for p in fused.parameters())])
            else:
                results.append(gradients(each, X, g))
        finally:
            handle.remove()
    same(*results)
    assert calls[0] == calls[1] and len(calls[0]) >= 6
    with torch.no_grad():
        same([fused(X)], [before])


@pytest.mark.parametrize("grad", [False, True])
def test_a_global_hook_that_is_called_even_after_an_error(grad):
    fused, X = fuse(layers()), torch.ones(4, 7, dtype=torch.float64)
    calls, errors = [], []
    for each in (unfused(fused), fused):
        calls.append([])
        handle = modules.register_module_forward_hook(of_forward(calls[-1], CHANGES["nothing"]),
                                                      always_call=True)
        try:
            with pytest.raises(Exception) as caught, torch.set_grad_enabled(grad):
                each(X)
            errors.append(caught.type)
        finally:
            handle.remove()
    assert calls[0] == calls[1] and errors[0] is errors[1]


def test_the_old_global_backward_hook(monkeypatch):
    monkeypatch.setattr(modules, "_global_is_full_backward_hook", None)     # the kind in use
    fused, (X, g) = fuse(layers()), batch(4)
    results, calls = [], []
    for each in (unfused(fused), fused):
        calls.append([])
        handle = modules.register_module_backward_hook(of_backward(calls[-1], CHANGES["nothing"]))
        try:
            results.append(gradients(each, X, g))
        finally:
            handle.remove()
    same(*results)
    assert calls[0] == calls[1] and calls[0]


def test_global_hooks_of_several_kinds_at_once():
    fused, (X, g) = fuse(layers()), batch(300)
    expected = gradients(fused, X, g)
    results, calls = [], []
    for each in (unfused(fused), fused):
        calls.append([])
        handles = [register(make(calls[-1], CHANGES["Linear"]), **options)
                   for register, make, options in GLOBAL.values()]
        try:
            results.append(gradients(each, X, g))
        finally:
            for handle in handles:
                handle.remove()
    same(*results)
    assert calls[0] == calls[1]
    same(gradients(fused, X, g), expected)


def test_a_global_hook_between_forward_and_backward():
    """A pass that went forward natively goes back natively, and is right."""
    fused, (X, g) = fuse(layers()), batch(4)
    expected, seen = gradients(fused, X, g), []
    h = fused(X)
    handle = modules.register_module_full_backward_hook(of_backward(seen, CHANGES["Linear"]))
    try:
        same(torch.autograd.grad(h, [*fused.parameters()], g), expected[2:])
    finally:
        handle.remove()
    assert not seen


# ---- hooks of a child

ONE = {
    "forward": lambda m, f: m.register_forward_hook(f),
    "forward, with_kwargs": lambda m, f: m.register_forward_hook(f, with_kwargs=True),
    "forward, always_call": lambda m, f: m.register_forward_hook(f, always_call=True),
    "before forward": lambda m, f: m.register_forward_pre_hook(f),
    "before forward, with_kwargs": lambda m, f: m.register_forward_pre_hook(f, with_kwargs=True),
    "backward": lambda m, f: m.register_full_backward_hook(f),
    "before backward": lambda m, f: m.register_full_backward_pre_hook(f),
}
MAKE = {name: make for name, (_, make, _) in GLOBAL.items()} | {
    "before forward, with_kwargs": before_forward_with_kwargs}


@pytest.mark.parametrize("hook", ONE)
@pytest.mark.parametrize("child", [0, 1, 4])
def test_hooks_of_a_child(hook, child):
    fused, (X, g) = fuse(layers()), batch(4)
    expected, seen = gradients(fused, X, g), []
    handle = ONE[hook](fused[child], MAKE[hook](seen, lambda module: True))
    same(gradients(fused, X, g), gradients(unfused(fused), X, g))
    assert len(seen) == 2
    handle.remove()
    same(gradients(fused, X, g), expected)


@pytest.mark.parametrize("hook", ONE)
def test_hooks_in_another_dict(hook):
    """`module._forward_hooks = OrderedDict()` is how programs remove all hooks at once."""
    fused, (X, g) = fuse(layers()), batch(4)
    expected, seen = gradients(fused, X, g), []
    for name in HOOKS:
        setattr(fused[0], name, OrderedDict())
    ONE[hook](fused[0], MAKE[hook](seen, lambda module: True))
    same(gradients(fused, X, g), gradients(unfused(fused), X, g))
    assert len(seen) == 2
    for name in HOOKS:
        setattr(fused[0], name, OrderedDict())
    same(gradients(fused, X, g), expected)


def test_hooks_give_no_warning():
    """They were asked for."""
    fused, (X, _) = fuse(layers()), batch(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        handle = modules.register_module_forward_hook(lambda *args: None)
        try:
            fused(X)
        finally:
            handle.remove()
        handle = fused[0].register_forward_hook(lambda *args: None)
        fused(X)
        handle.remove()
