"""How the program stops when it is wrong itself: assertions for our bugs, errors for the world.

`require` survives `python -O`. A violation is a BaseException so that no `except Exception` keeps a broken
process alive; every driver ends its process on it, and the lease lapses (STYLE rule 10).
"""

from __future__ import annotations

from typing import NoReturn


class InvariantViolation(BaseException):
    """A rule that our own code must keep was broken: the process must end."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise InvariantViolation(message)


def unreachable(message: str) -> NoReturn:
    raise InvariantViolation(f"unreachable: {message}")
