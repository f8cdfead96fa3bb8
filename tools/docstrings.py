"""Docstrings for the pages of docs/, of stubs too, and their choices of texts as they are written.

An extension of griffe, which reads the stubs: they have signatures alone, so a docstring is that of
the imported object. Of `{"sigmoid", "tanh"}` griffe makes names, which link to functions.
"""

import importlib
import inspect
import re

from griffe import Docstring, DocstringSectionParameters, Extension

CHOICES = re.compile(r'^\s*(\w[\w, ]*) : (\{.*".*\}.*)$', re.MULTILINE)


class StubDocstrings(Extension):
    """Gives each object of a stub the docstring of the object itself, compiled or not."""

    def on_package(self, *, pkg, loader, **others):
        for module in pkg.modules.values():
            if not module.is_alias and module.filepath.with_suffix(".pyi").exists():
                fill(module, importlib.import_module(module.path))
        quote(pkg)


def fill(documented, real):
    """The docstrings of all that a module or a class has, to any depth."""
    for name, member in documented.members.items():
        if member.is_alias or name.startswith("_") or not hasattr(real, name):
            continue
        there = getattr(real, name)
        text = inspect.getdoc(there)
        if text and not member.docstring and not member.is_module:
            member.docstring = Docstring(text, parent=member, parser="numpy",
                                         parser_options={"warnings": False})
        if member.is_class:
            fill(member, there)


def quote(documented):
    """The types of parameters that are choices of texts as the docstring has them, to any depth."""
    for member in documented.members.values():
        if member.is_alias:
            continue
        if member.docstring:
            written = {name: choices for names, choices in CHOICES.findall(member.docstring.value)
                       for name in names.split(", ")}
            for section in member.docstring.parsed if written else ():
                for parameter in (section.value if isinstance(section, DocstringSectionParameters)
                                  else ()):
                    parameter.annotation = written.get(parameter.name, parameter.annotation)
        if member.is_class or member.is_module:
            quote(member)
