"""The type stubs say what the modules do: every public name, every parameter, every default.

Types are for type checkers; here the stubs are read as syntax and held to the run time. A compiled
class has no signature of its own: that of its constructor is read from the source.
"""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import fastbp

PACKAGE = Path(fastbp.__file__).parent
STUBS = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.pyi"))


def module_of(stub):
    parts = stub.with_suffix("").parts
    return importlib.import_module(".".join(("fastbp", *parts)).removesuffix(".__init__"))


def declared(stub):
    """{name: nodes} of what a stub, or the body of a class in it, defines and re-exports."""
    tree = stub if isinstance(stub, ast.ClassDef) else ast.parse((PACKAGE / stub).read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):  # re-exported by "name as name"
            names = [alias.name for alias in node.names if alias.asname == alias.name]
        elif isinstance(node, ast.AnnAssign):
            names = [node.target.id]
        else:
            names = [node.name] if hasattr(node, "name") else []
        for name in names:
            found.setdefault(name, []).append(node)
    return found


def parameters(node):
    """{name: (keyword only?, default or None)} of a function's syntax; of a class method's call."""
    given = [*node.args.posonlyargs, *node.args.args]
    if "classmethod" in map(ast.unparse, node.decorator_list):
        given = given[1:]
    defaults = [None] * (len(given) - len(node.args.defaults)) + node.args.defaults
    rows = [(a, False, d) for a, d in zip(given, defaults, strict=True)]
    rows += [(a, True, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    return {a.arg: (keyword, d and repr(ast.literal_eval(d))) for a, keyword, d in rows}


def runtime_parameters(call):
    """The same of a function, or of the constructor of a class; NaN, no literal, as `...`."""
    if inspect.isclass(call):   # a compiled one hands its arguments over
        call = getattr(call, "_initialise", call.__init__)
    return {p.name: (p.kind is p.KEYWORD_ONLY, None if p.default is p.empty else
                     repr(p.default).replace("nan", "Ellipsis"))
            for p in inspect.signature(call).parameters.values()}


def test_every_public_name_has_a_stub():
    for name in set(fastbp.__all__) - {"__version__"}:
        thing = getattr(fastbp, name)
        module = thing.__name__ if inspect.ismodule(thing) else thing.__module__
        stub = Path(*module.split(".")[1:]).with_suffix(".pyi")
        assert stub in STUBS, f"{name} needs {stub}"
        assert inspect.ismodule(thing) or name in declared(stub), f"{stub} lacks {name}"


@pytest.mark.parametrize("stub", STUBS, ids=str)
def test_names(stub):
    module = module_of(stub)
    public = {name for name in declared(stub) if name == "__version__" or name[0] != "_"}
    assert public == set(getattr(module, "__all__", public))
    assert all(hasattr(module, name) for name in public)


@pytest.mark.parametrize("stub", STUBS, ids=str)
def test_parameters(stub):
    module = module_of(stub)
    for name, nodes in declared(stub).items():
        thing = getattr(module, name, None)
        calls = declared(nodes[0]) if isinstance(nodes[0], ast.ClassDef) else {name: nodes}
        for method, versions in calls.items():
            functions = [node for node in versions if isinstance(node, ast.FunctionDef)]
            if not functions or "property" in map(ast.unparse, functions[0].decorator_list):
                continue
            call = thing if method in (name, "__init__") else getattr(thing, method)
            runtime = runtime_parameters(call)
            if len(functions) == 1:
                assert parameters(functions[0]) == runtime, f"{name}.{method}"
            for version in functions:  # an overload may require what has a default
                for argument, (keyword, default) in parameters(version).items():
                    assert runtime[argument][0] == keyword
                    assert default in (None, runtime[argument][1])


INSTANCES = {
    "MLP": lambda: fastbp.MLP([2, 1], seed=0),
    "Population": lambda: fastbp.Population(2, [2, 1], seeds=0),
    "Linearization": lambda: fastbp.MLP([2, 1], seed=0).linearize([[1, 2]], [1]),
    "Layers": lambda: fastbp.Layers([2, 1], ["sigmoid"]),
    "SGD": fastbp.SGD,
    "Adam": fastbp.Adam,
}


@pytest.mark.parametrize("kind", INSTANCES)
def test_attributes(kind):
    """Those of the class and no others; with a setter if there is one."""
    thing = INSTANCES[kind]()
    members = {}
    for base in reversed(type(thing).__mro__[:-1]):
        stub = Path(*base.__module__.split(".")[1:]).with_suffix(".pyi")
        classes = declared(stub) if stub in STUBS else {}
        if base.__name__ in classes:
            members.update(declared(classes[base.__name__][0]))
        else:
            assert all(name.startswith("_") for name in vars(base)), base
    assert ({name for name in members if name[0] != "_"}
            == {name for name in dir(thing) if name[0] != "_"})
    for name, nodes in members.items():
        if "property" in map(ast.unparse, nodes[0].decorator_list):
            try:
                setattr(thing, name, getattr(thing, name))
                writable = True
            except AttributeError:
                writable = False
            assert writable == (len(nodes) == 2), f"{kind}.{name}"
