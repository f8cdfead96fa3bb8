"""The public names and signatures are those of the contract, the same in the NumPy twins, and every
docstring says what goes in, what comes out and what is refused. (For stubs see test_stubs.py.)"""

import inspect
import re

import pytest

import fastbp
from fastbp import reference

OPTIONS = "pos_weight=None, class_weight=None, label_smoothing=0.0"
LOSS = "X, y, *, sample_weight=None, reduction='sum'"
SIGNATURES = {
    "sigmoid": "(z, out=None)",
    "sigmoid_backward": "(grad, h, out=None)",
    "delta_step": "(delta_next, W_next, h, out=None)",
    "weight_grad": "(h_prev, delta)",
    "activate": "(z, activation='sigmoid')",
    "bce_with_logits": "(z, y, sample_weight=None, *, pos_weight=None, label_smoothing=0.0)",
    "softmax_with_logits": "(z, y, sample_weight=None, *, class_weight=None, "
                           "label_smoothing=0.0)",
    "squared_error": "(z, y, sample_weight=None)",
    "poisson_with_logits": "(z, y, sample_weight=None)",
    "backprop": "(weights, biases, X, y, *, activation='sigmoid', loss='bce', "
                f"sample_weight=None, reduction='sum', {OPTIONS})",
    "MLP": "(layer_sizes, *, activation='sigmoid', loss='bce', dtype='float32', seed=None, "
           f"n_threads=None, {OPTIONS})",
    "MLP.forward": "(self, X, out=None)",
    "MLP.logits": "(self, X, out=None)",
    "MLP.loss_value": f"(self, {LOSS})",
    "MLP.backprop": f"(self, {LOSS}, l2=0.0)",
    "MLP.error_bound": "(self, X, y, *, sample_weight=None, reduction='sum', l2=0.0, out=None)",
    "MLP.per_sample_grad_norms": "(self, X, y, *, sample_weight=None, out=None)",
    "MLP.clipped_backprop": "(self, X, y, max_norm, *, sample_weight=None, reduction='sum', "
                            "noise_multiplier=0.0, rng=None)",
    "MLP.per_sample_grads": "(self, X, y, *, sample_weight=None, out=None)",
    "MLP.hvp": "(self, X, y, v, *, sample_weight=None, reduction='sum', l2=0.0, out=None)",
    "MLP.gnvp": "(self, X, y, v, *, sample_weight=None, reduction='sum', l2=0.0, out=None)",
    "MLP.input_grad": "(self, X, y, *, sample_weight=None, out=None)",
    "MLP.jacobian": "(self, X, *, of='output', wrt='params', out=None)",
    "MLP.value_and_grad": f"(self, params, {LOSS}, l2=0.0)",
    "MLP.objective": f"(self, {LOSS}, l2=0.0, memory=1073741824)",
    "MLP.linearize": f"(self, {LOSS}, l2=0.0, memory=1073741824)",
    "MLP.train_epoch": "(self, X, y, optimizer, *, batch_size=32, shuffle=True, order=None, "
                       "rng=None, sample_weight=None, l2=0.0, max_norm=None, batch_losses=None, "
                       "max_grad_norm=None, noise_multiplier=0.0)",
    "MLP.fit": "(self, X, y, optimizer=None, *, epochs, batch_size=32, shuffle=True, rng=None, "
               "rows=None, sample_weight=None, l2=0.0, max_norm=None, validation=None, "
               "validation_rows=None, patience=None, min_delta=0.0, schedule=None, "
               "callback=None, progress=False, checkpoint=None)",
    "Population": "(n_networks, layer_sizes, *, activation='sigmoid', loss='bce', "
                  f"dtype='float32', seeds=None, n_threads=None, {OPTIONS})",
    "Population.from_networks": "(networks)",
    "Population.member": "(self, k)",
    "Population.forward": "(self, X, out=None)",
    "Population.logits": "(self, X, out=None)",
    "Population.loss_value": f"(self, {LOSS})",
    "Population.backprop": f"(self, {LOSS}, l2=0.0)",
    "Population.train_epoch": "(self, X, y, optimizer, *, batch_size=32, shuffle=True, rng=None, "
                              "rows=None, sample_weight=None, l2=0.0, active=None, "
                              "batch_losses=None)",
    "Population.train": "(self, X, y, optimizer, *, epochs, batch_size=32, shuffle=True, "
                        "rng=None, rows=None, sample_weight=None, l2=0.0, validation=None, "
                        "validation_rows=None, patience=None, min_delta=0.0, schedule=None, "
                        "callback=None, progress=False, client=None)",
    "train_many": "(networks, X, y, optimizers, *, epochs=1, batch_size=32, shuffle=True, "
                  "rng=None, rows=None, sample_weight=None, l2=0.0, batch_losses=None, "
                  "validation=None, patience=None, min_delta=0.0, schedule=None, callback=None, "
                  "progress=False, n_threads=None)",
    "poisson_order": "(n, rate, steps, rng=None)",
    "Layers": "(layer_sizes, activations, *, dtype='float32', layout='io', n_threads=None)",
    "Layers.forward": "(self, weights, biases, X, *, keep=True)",
    "Layers.backward": "(self, grad_output, weight_grads, bias_grads, input_grad=None)",
    "Layers.loss_and_grad": "(self, weights, biases, X, y, weight_grads, bias_grads, *, "
                            "loss='bce', sample_weight=None, reduction='sum', pos_weight=None, "
                            "class_weight=None, label_smoothing=0.0)",
    "SGD": "(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)",
    "SGD.step": "(self, params, grad)",
    "SGD.state_dict": "(self)",
    "SGD.load_state_dict": "(self, d)",
    "Adam": "(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, *, eps_hat=False)",
    "Adam.step": "(self, params, grad)",
    "Adam.state_dict": "(self)",
    "Adam.load_state_dict": "(self, d)",
    "clip_grad_norm": "(grad, max_norm)",
    "show_config": "(mode='print')",
    "get_include": "()",
    "get_isa": "()",
    "available_isas": "()",
    "set_num_threads": "(n)",
    "get_num_threads": "()",
}
ATTRIBUTES = {
    "MLP": {"layer_sizes", "activation", "loss", "loss_options", "dtype", "n_threads", "n_params",
            "workspace_bytes", "params", "grad", "weights", "biases", "weight_grads",
            "bias_grads"},
    "Population": {"n_networks", "layer_sizes", "activation", "loss", "loss_options", "dtype",
                   "n_threads", "n_params", "workspace_bytes", "params", "grad", "weights",
                   "biases", "weight_grads", "bias_grads"},
    "Layers": {"layer_sizes", "activations", "dtype", "layout", "n_threads", "workspace_bytes"},
    "SGD": {"lr", "momentum", "nesterov", "weight_decay", "t"},
    "Adam": {"lr", "betas", "eps", "weight_decay", "eps_hat", "t"},
}
EQUATIONS = ["sigmoid", "sigmoid_backward", "delta_step", "weight_grad", "activate",
             "bce_with_logits", "softmax_with_logits", "squared_error", "poisson_with_logits",
             "backprop"]
NOTHING_RETURNED = {"Layers.backward", "set_num_threads"} | {
    f"{kind}.{name}" for kind in ("SGD", "Adam") for name in ("step", "load_state_dict")}


def public(name, module=fastbp):
    for part in name.split("."):
        module = getattr(module, part)
    return module


def names(owner):
    """The public attributes of a module or class, without the submodules someone imported."""
    return {name for name in dir(owner)
            if not (name.startswith("_") or inspect.ismodule(getattr(owner, name)))}


def test_public_names():
    functions_and_classes = {name for name in SIGNATURES if "." not in name}
    assert set(fastbp.__all__) == functions_and_classes | {"reference", "__version__"}
    assert sorted(set(fastbp.__all__)) == sorted(fastbp.__all__)
    assert all(hasattr(fastbp, name) for name in fastbp.__all__)
    assert names(fastbp) == functions_and_classes


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_public_names_of_classes(kind):
    methods = {name.partition(".")[2] for name in SIGNATURES if name.startswith(f"{kind}.")}
    assert names(getattr(fastbp, kind)) == methods | ATTRIBUTES[kind]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    assert str(inspect.signature(public(name))) == SIGNATURES[name]


@pytest.mark.parametrize("name", [*EQUATIONS, "SGD", "Adam", "SGD.step", "Adam.step",
                                  "clip_grad_norm"])
def test_twins_have_one_signature(name):
    assert inspect.signature(public(name, reference)) == inspect.signature(public(name))


@pytest.mark.parametrize("name", [
    "per_sample_grad_norms", "clipped_backprop", "per_sample_grads", "input_grad", "jacobian"])
def test_twins_of_methods(name):
    """The parameters of the method, after the weights and among what `MLP` and its loss take."""
    given = inspect.signature(getattr(reference, name)).parameters
    of_network = inspect.signature(reference.backprop).parameters
    method = inspect.signature(getattr(fastbp.MLP, name)).parameters
    own = {each: p for each, p in given.items() if each not in of_network or each in method}
    assert own == {each: p for each, p in method.items() if each != "self"}
    assert all(p == of_network[each] for each, p in given.items() if each in of_network)


# ---- docstrings


def sections(docstring):
    """A numpydoc docstring as {title: text}; the text before the first title under ""."""
    lines, title = inspect.cleandoc(docstring).splitlines(), ""
    found = {title: []}
    for line, rule in zip(lines, [*lines[1:], ""], strict=True):
        if line and set(rule) == {"-"} and len(rule) == len(line):
            title = line
            found[title] = []
        elif set(line) != {"-"}:
            found[title].append(line)
    return {title: "\n".join(text).strip() for title, text in found.items()}


def entries(section):
    """The names at the heads of the entries of a section: ``a, b : type`` or ``A, B``."""
    return {name for line in section.splitlines() if not line.startswith(" ")
            for name in re.findall(r"\w+", line.partition(" : ")[0])}


DOCUMENTED = [(module, name) for module in (fastbp, reference) for name in SIGNATURES
              if module is fastbp or name in EQUATIONS]


@pytest.mark.parametrize(("module", "name"), DOCUMENTED,
                         ids=[f"{module.__name__}.{name}" for module, name in DOCUMENTED])
def test_docstrings(module, name):
    call = public(name, module)
    doc = sections(call.__doc__)
    assert doc[""], "there is no summary"
    wanted = set(re.findall(r"(?:\(|, )([a-zA-Z]\w*)", SIGNATURES[name])) - {"self"}
    if wanted:
        assert entries(doc.get("Parameters", "")) == wanted
    if name not in NOTHING_RETURNED and not inspect.isclass(call):
        assert doc.get("Returns")
    if wanted:
        assert entries(doc.get("Raises", "")) & {"ValueError", "TypeError"}


@pytest.mark.parametrize(("module", "name"), [d for d in DOCUMENTED if d[1] in EQUATIONS])
def test_docstrings_of_equations(module, name):
    """They give the equation's number, a shape for every array, and both kinds of refusal.

    What is no array is a float, or described elsewhere.
    """
    doc = sections(public(name, module).__doc__)
    assert re.search(r"\bE[1-6]\b", doc[""])
    assert {"TypeError", "ValueError"} <= entries(doc["Raises"])
    for entry in re.split(r"\n(?=\S)", doc["Parameters"]):
        assert re.search(r"shape|\(n|\(fan|like|\{|Like|: float|\n +As for ", entry), entry


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes_are_documented(kind):
    owner = getattr(fastbp, kind)
    for name in ATTRIBUTES[kind] - {"t"}:
        own = getattr(owner, name).__doc__
        assert own or re.search(rf"\b{name}\b", owner.__doc__), f"{kind}.{name}"
