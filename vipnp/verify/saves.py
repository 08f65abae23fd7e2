"""What a pullback holds, and what the docstring of its op says that it holds."""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
import numbers
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import vipnp
from vipnp.core import HostArray
from vipnp.verify.subject import Subject

SHAPE = r"\((?:\*?|[^()]*,[^()]*)\)"
"""A shape as docstrings write it: (), (*), (C,), (*, C), (B, h*P, w*Q)."""


def closure_arrays(function: Callable[..., Any]) -> list[HostArray] | None:
    """The arrays that a function keeps alive: in its closure, its defaults, and the functions, partials, methods,
    objects and containers there. None where it is no function of Python, so that nobody can look."""
    found: dict[int, HostArray] = {}
    seen: set[int] = set()
    opaque = False

    def look(thing: Any) -> None:
        nonlocal opaque
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            found[id(thing)] = thing
        elif isinstance(thing, Mapping):
            for child in thing.values():
                look(child)
        elif isinstance(thing, (list, tuple, set)):
            for child in thing:
                look(child)
        elif inspect.isfunction(thing):
            for cell in thing.__closure__ or ():
                look(cell.cell_contents)
            look(thing.__defaults__ or ())
            look(thing.__kwdefaults__ or {})
        elif isinstance(thing, functools.partial):
            look([thing.func, thing.args, thing.keywords])
        elif inspect.ismethod(thing):
            look([thing.__self__, thing.__func__])
        elif inspect.isbuiltin(thing):
            look(thing.__self__)
        elif callable(thing) and not isinstance(thing, (type, np.ufunc)):
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            opaque |= not (slots or hasattr(thing, "__dict__"))
            look([getattr(thing, "__dict__", {}), *(getattr(thing, name, None) for name in slots)])

    look(function)
    return None if opaque else list(found.values())


def distinct_entries(arrays: Iterable[HostArray]) -> int:
    """How many numbers the arrays hold together; views of the same memory count once."""
    owners: dict[int, HostArray] = {}
    for array in arrays:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        owners[id(owner)] = owner
    return sum(owner.size for owner in owners.values())


def saves_text(docstring: str) -> str:
    """The sentence after "Saves:" in a docstring, "" where there is none."""
    match = re.search(r"Saves:\s*(.*?)(?:\.?\s*\n\s*\n|\.\s*\n\s*\S|\.?\s*$)", docstring, re.DOTALL)
    return " ".join(match[1].split()) if match else ""


def declared_entries(subject: Subject) -> int | None:
    """How many numbers the docstring says are saved, with its letters bound to the sizes at hand; None where that
    cannot be read."""
    docstring = inspect.getdoc(subject.op) or ""
    text = saves_text(docstring)
    if text.rstrip(".") == "nothing":
        return 0
    sizes = bound_letters(subject, docstring)
    total = 0
    declarations = list(re.finditer(rf"(?P<name>[^,]*?)(?P<shape>{SHAPE})(?P<each>\s+each)?", text))
    for declaration in declarations:
        count = _count(declaration["shape"], sizes, subject, declaration["name"])
        if count is None:
            return None
        total += count * (_starred(subject) if declaration["each"] else 1)
    return total if declarations else None


def bound_letters(subject: Subject, docstring: str) -> dict[str, int]:
    """The letters of the shapes in `docstring`, from the shapes of the arguments and the integers among kwargs."""
    sizes = {key: int(value) for key, value in subject.kwargs.items() if isinstance(value, numbers.Integral)}
    equations = list(_equations(subject, docstring))
    for _ in range(len(equations) + 1):
        for product, size in equations:
            unknown = [factor for factor in product if not factor.isdigit() and factor not in sizes]
            known = int(np.prod([int(f) if f.isdigit() else sizes[f] for f in product if f not in unknown]))
            if len(unknown) == 1 and size % known == 0:
                sizes[unknown[0]] = size // known
    return sizes


def _equations(subject: Subject, docstring: str) -> Iterator[tuple[list[str], int]]:
    """(factors, size) for every axis of every argument whose shape the docstring gives."""
    declared = re.split(r"Saves:", docstring)[0]
    for name, array in _arrays_by_name(subject):
        match = re.search(rf"(?<![\w.])(?:{re.escape(name)})\b[\w\s,.:;']*?(?P<shape>{SHAPE})", declared)
        if match is None:
            continue
        axes = _axes(match["shape"])
        stars = axes.count("*")
        if stars > 1 or (not stars and len(axes) != array.ndim):
            continue
        before = axes.index("*") if stars else len(axes)
        after = len(axes) - before - 1 if stars else 0
        yield from zip(map(_factors, axes[:before]), array.shape[:before], strict=False)
        if after > 0:
            yield from zip(map(_factors, axes[-after:]), array.shape[-after:], strict=False)
        if stars:
            rows = int(np.prod(array.shape[before : array.ndim - max(after, 0)]))
            yield ["*"], rows


def _arrays_by_name(subject: Subject) -> list[tuple[str, HostArray]]:
    starred = [(re.sub(r"_\d+$", "", name), array) for name, array in subject.named]
    return [*starred, *((key, value) for key, value in subject.kwargs.items() if isinstance(value, np.ndarray))]


def _count(shape: str, sizes: Mapping[str, int], subject: Subject, name: str) -> int | None:
    if shape == "(*)":
        return max((array.size for _, array in _arrays_by_name(subject)), default=None)
    factors = [factor for axis in _axes(shape) for factor in _factors(axis)]
    if any(not factor.isdigit() and factor not in sizes for factor in factors):
        return None
    return int(np.prod([int(f) if f.isdigit() else sizes[f] for f in factors]))


def _starred(subject: Subject) -> int:
    return sum(bool(re.search(r"_\d+$", name)) for name in subject.names)


def _axes(shape: str) -> list[str]:
    return [axis.strip() for axis in shape.strip("()").split(",") if axis.strip()]


def _factors(axis: str) -> list[str]:
    return [factor.strip() for factor in axis.split("*") if factor.strip()] or ["*"]


LIBRARIES = tuple(
    os.path.join(folder, "")
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        os.path.dirname(vipnp.__file__),
    }
)
"""Where the modules are that the user has not written."""

DEEPEST, MANY = 5, 100
"""How far `held_by` looks."""

NUMBERS = (str, bytes, int, float, complex, np.generic)
OF_ARRAYS = frozenset({"T", "dtype", "imag", "itemsize", "nbytes", "ndim", "real", "shape", "size", "strides"})
"""What an op most likely reads of an array where it names one of these."""

PLAIN = (*NUMBERS, np.ndarray, list, tuple, range)
"""What has no attributes of its own to look into."""


def held_by(op: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of what an op reads besides its arguments: arguments of a partial, defaults, variables around it,
    attributes of objects, and those of classes and modules that a function names; of the functions among these too, as
    of one that a decorator wraps, and of those that it calls, of its own module or of others of the user's. What lies
    deeper than DEEPEST, and what is in a container of more than MANY, is not looked for."""
    home = getattr(op.func if isinstance(op, functools.partial) else op, "__globals__", None)
    seen: set[int] = set()
    read, called = set[str](), {"__call__", "__getitem__", "__iter__", "__len__"}
    to_be_named: list[tuple[str, Any, int]] = []

    def look(name: str, thing: Any, depth: int) -> Iterator[tuple[str, Any]]:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, PLAIN) or axes_of(thing):
            yield name, thing
        if depth >= DEEPEST:
            return
        if inspect.isfunction(thing):
            for name_of_one, is_call in _names(thing.__code__, thing.__globals__):
                (called if is_call else read).add(name_of_one)
        if isinstance(thing, (type, ModuleType)):
            to_be_named.extend((key, part, depth + 1) for key, part in _attributes(thing))
        for key, part in _inside(name, thing, home):
            yield from look(str(key), part, depth + 1)

    def is_named(key: str, part: Any, _: int) -> bool:
        # x.mean() and np.mean(x) name no mean = (0.485, 0.456, 0.406), nor does x.shape another shape.
        return key in read | called if callable(part) else key in read and key not in OF_ARRAYS

    yield from look("", op, 0)
    while found := [entry for entry in to_be_named if is_named(*entry)]:
        to_be_named[:] = [entry for entry in to_be_named if not is_named(*entry)]
        for entry in found:
            yield from look(*entry)


def axes_of(thing: Any) -> tuple[int, ...]:
    """The shape of an array of any library, () of what is none."""
    shape = () if isinstance(thing, type) else _attribute(thing, "shape")
    return tuple(shape) if isinstance(shape, tuple) else ()


def _inside(name: str, thing: Any, home: Any) -> list[tuple[Any, Any]]:
    """What `held_by` looks into next."""
    if isinstance(thing, functools.partial):
        return [("func", thing.func), *enumerate(thing.args), *thing.keywords.items()]
    if inspect.ismethod(thing):
        return [("self", thing.__self__), ("func", thing.__func__)]
    if inspect.isfunction(thing):
        return _read_by(thing, home)
    if isinstance(thing, (type, ModuleType)):
        return []
    if type(thing) in (dict, list, tuple):
        # Numbers in a container are a vocabulary or a configuration, of which one is always the size.
        pairs = thing.items() if isinstance(thing, dict) else ((name, part) for part in thing)
        return [(key, part) for key, part in pairs if not isinstance(part, NUMBERS)] if len(thing) <= MANY else []
    # Of an object of a library nobody knows what its attributes are.
    if isinstance(thing, (*PLAIN, Enum)) or (name and _is_of_a_library(type(thing))):
        return []
    held = getattr(thing, "__dict__", None)
    slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]
    return [
        *(held.items() if isinstance(held, dict) else ()),
        *((slot, found) for slot in slots if (found := _attribute(thing, slot)) is not None),
        ("__class__", type(thing)),
    ]


def _attribute(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # of an object that finds its attributes in a way of its own
        return None


def _attributes(thing: type | ModuleType) -> list[tuple[str, Any]]:
    """Those of a class or a module that the user wrote, but for numbers, which are a configuration."""
    if isinstance(thing, ModuleType):
        pairs = [] if _is_a_library(thing) else list(vars(thing).items())
    else:
        pairs = [pair for base in thing.__mro__ if not _is_of_a_library(base) for pair in vars(base).items()]
    return [(key, _function_of(part)) for key, part in pairs if not (isinstance(part, NUMBERS) or _are_words(part))]


def _are_words(part: Any) -> bool:
    """Whether this is a list of names, such as those of the modes of an op: beside an op it holds no labels."""
    return isinstance(part, (list, tuple)) and bool(part) and all(isinstance(word, (str, bytes)) for word in part)


def _function_of(part: Any) -> Any:
    """What is behind a static or class method or a property; the attribute itself elsewhere."""
    if isinstance(part, property):
        return part.fget
    if isinstance(part, functools.cached_property):
        return part.func
    return part.__func__ if isinstance(part, (staticmethod, classmethod)) else part


def _names(code: CodeType, around: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """(name, whether it is called as a method) of the globals and attributes that a function, and those that are made
    inside it, name, but for what they name of libraries."""
    of_a_library = False
    for step in dis.get_instructions(code):
        is_attribute = step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"))
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            owner = around.get(step.argval)
            of_a_library = isinstance(owner, ModuleType) and _is_a_library(owner)
            yield step.argval, False
        elif is_attribute and not of_a_library:
            is_call = sys.version_info >= (3, 12) and bool((step.arg or 0) & 1)
            yield step.argval, is_call or step.opname == "LOAD_METHOD"
        elif not is_attribute:
            of_a_library = False
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, around)


def _is_of_a_library(kind: type) -> bool:
    return kind is not SimpleNamespace and _is_a_library(sys.modules.get(kind.__module__))


def _is_a_library(module: ModuleType | None) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or str(file).startswith(LIBRARIES)


def _read_by(function: Any, home: Any) -> list[tuple[Any, Any]]:
    """Defaults of a function, the variables around it, and the globals that it names; the last of functions whose
    module is `home` or of no library."""
    code, cells = function.__code__, function.__closure__ or ()
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    inside = list(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    inside += (function.__kwdefaults__ or {}).items()
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            inside.append((name, cell.cell_contents))
    around = function.__globals__
    if around is home or not str(around.get("__file__", "")).startswith(LIBRARIES):
        named = dict.fromkeys(name for name, _ in _names(code, around))
        inside += [(name, around[name]) for name in named if name in around and not _are_words(around[name])]
    return inside
