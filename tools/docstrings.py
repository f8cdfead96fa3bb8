"""Docstrings for the pages of docs/ where stubs, which have signatures alone, hide them.

An extension of griffe, which reads the stubs; a docstring is that of the imported object.
"""

import importlib
import inspect

from griffe import Docstring, Extension


class StubDocstrings(Extension):
    """Gives each object of a stub the docstring of the object itself, compiled or not."""

    def on_package(self, *, pkg, loader, **others):
        for module in pkg.modules.values():
            if not module.is_alias and module.filepath.with_suffix(".pyi").exists():
                fill(module, importlib.import_module(module.path))


def fill(documented, real):
    """The docstrings of all that a module or a class has, to any depth."""
    for name, member in documented.members.items():
        if member.is_alias or name.startswith("_") or not hasattr(real, name):
            continue
        there = getattr(real, name)
        text = inspect.getdoc(there)
        if text and not member.docstring and not member.is_module:
            member.docstring = Docstring(text, parent=member, parser="numpy")
        if member.is_class:
            fill(member, there)
