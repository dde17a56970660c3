"""All that a machine's memory holds, once more: a graph of objects copied with the closures that reach into it.

`copy.deepcopy` takes functions and methods of built-in types for constants, so what a lambda or `list.append` holds
on to would be the original's. Here they are copied with what they hold. What lies outside of the machine is shared,
and what nobody can copy (a coroutine half way) is refused aloud.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinMethodType, CellType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, TypeVar

from proto.invariants import require

T = TypeVar("T")
_AS_THEY_ARE = (type(None), int, float, str, bytes, type, ModuleType, Enum, PurePath, range)
_REFUSED = frozenset({"coroutine", "generator", "async_generator", "_asyncio", "asyncio", "_io", "_thread"})
"""Names of types, or of their modules."""


class MemoryCopy:
    """Owned by one copy of one machine: an object that is reached twice is copied once."""

    def __init__(self, shared: Callable[[object], bool]) -> None:
        """`shared`: it lies outside of the machine."""
        self._shared = shared
        self._done: dict[int, Any] = {}
        self._held: list[object] = []
        """So that no identity is given twice meanwhile."""

    def of(self, what: T) -> T:
        """Raises InvariantViolation for what cannot be copied."""
        found: T = self._of(what)
        return found

    def _of(self, what: Any) -> Any:
        if isinstance(what, _AS_THEY_ARE):
            return what
        if id(what) in self._done:
            return self._done[id(what)]
        if self._shared(what):
            return what
        self._held.append(what)
        kind = type(what)
        refused = kind.__name__ in _REFUSED or kind.__module__.partition(".")[0] in _REFUSED
        require(not refused, f"a {kind.__module__}.{kind.__name__} cannot be copied")
        return self._made(what)

    def _made(self, what: Any) -> Any:
        if isinstance(what, FunctionType):
            return self._function(what)
        if isinstance(what, MethodType):
            return self._noted(what, MethodType(what.__func__, self._of(what.__self__)))
        if isinstance(what, BuiltinMethodType):
            return self._noted(what, self._builtin(what))
        if isinstance(what, partial):
            arguments, named = self._of(what.args), self._of(what.keywords)
            return self._noted(what, partial(self._of(what.func), *arguments, **named))
        if isinstance(what, random.Random | bytearray):
            return self._noted(what, copy.copy(what))
        if isinstance(what, MappingProxyType):
            return self._noted(what, MappingProxyType(self._of(dict(what))))
        if isinstance(what, list | dict | set | deque):
            return self._container(what)
        if isinstance(what, tuple | frozenset):
            return self._noted(what, self._fixed(what))
        return self._object(what)

    def _noted(self, what: Any, made: Any) -> Any:
        self._done[id(what)] = made
        return made

    def _function(self, what: FunctionType) -> Any:
        if not (what.__closure__ or what.__defaults__ or what.__kwdefaults__):
            return what
        cells = tuple(self._cell(cell) for cell in what.__closure__ or ())
        made = FunctionType(what.__code__, what.__globals__, what.__name__, None, cells)
        self._noted(what, made)
        made.__defaults__, made.__kwdefaults__ = self._of(what.__defaults__), self._of(what.__kwdefaults__)
        made.__qualname__ = what.__qualname__
        for cell, new in zip(what.__closure__ or (), cells, strict=True):
            self._fill(cell, new)
        return made

    def _cell(self, cell: CellType) -> CellType:
        """Of several functions that share a variable: one."""
        if id(cell) not in self._done:
            self._held.append(cell)
            self._done[id(cell)] = CellType()
        found: CellType = self._done[id(cell)]
        return found

    def _fill(self, cell: CellType, new: CellType) -> None:
        try:
            new.cell_contents  # noqa: B018  # asks whether it is full
        except ValueError:
            pass
        else:
            return
        try:
            holds = cell.cell_contents
        except ValueError:
            return  # a variable that has no value yet
        new.cell_contents = self._of(holds)

    def _builtin(self, what: Any) -> Any:
        """`items.append` and its like; a function of a module is the same for everybody."""
        owner = what.__self__
        if owner is None or isinstance(owner, ModuleType | type):
            return what
        return getattr(self._of(owner), what.__name__)

    def _container(self, what: Any) -> Any:
        made = copy.copy(what)
        made.clear()
        self._noted(what, made)
        if isinstance(what, dict):
            for key, value in what.items():
                made[self._of(key)] = self._of(value)
        elif isinstance(what, set):
            made.update(self._of(one) for one in what)
        else:
            made.extend(self._of(one) for one in what)
        return made

    def _fixed(self, what: Any) -> Any:
        items = [self._of(one) for one in what]
        if all(new is old for new, old in zip(items, what, strict=True)):
            return what
        return type(what)(*items) if hasattr(what, "_fields") else type(what)(items)

    def _object(self, what: Any) -> Any:
        kind: Any = type(what)
        made = self._noted(what, kind.__new__(kind))
        for name in _slots(kind):
            if hasattr(what, name):
                object.__setattr__(made, name, self._of(getattr(what, name)))
        for name, value in getattr(what, "__dict__", {}).items():
            made.__dict__[name] = self._of(value)
        return made


def _slots(kind: type) -> list[str]:
    """As they are stored: a private one has its class before its name."""
    found = []
    for one in kind.__mro__:
        named = one.__dict__.get("__slots__", ())
        for name in (named,) if isinstance(named, str) else named:
            mangled = name.startswith("__") and not name.endswith("__")
            found.append(f"_{one.__name__.lstrip('_')}{name}" if mangled else name)
    return [name for name in found if name not in ("__dict__", "__weakref__")]
