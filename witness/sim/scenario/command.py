"""One line of a scenario as a value: a verb, words, and options `name=value`, taken one by one and checked to the end.

The same lines are what a property test draws and prints (tests/sim/sim_schedules.py); whoever drives real processes
can read them with this file alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from proto.units import NS_PER_MS, NS_PER_S, PPM

T = TypeVar("T")
_SPAN = re.compile(r"(-?)(\d+(?:\.\d+)?)(ms|s|min|h)")
_UNIT_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "min": 60 * NS_PER_S, "h": 3_600 * NS_PER_S}
RATE_MIN, RATE_MAX = 0.1, 10.0


class Wrong(Exception):
    """A command that cannot be done as it stands; says why and what would be right."""


class Command:
    """Words and options are taken in order; `done` refuses what is left over."""

    def __init__(self, text: str) -> None:
        self.text = text
        tokens = text.split()
        self.verb = tokens[0]
        self._words = [token for token in tokens[1:] if "=" not in token]
        self._options = dict(token.split("=", 1) for token in tokens[1:] if "=" in token)

    def word(self, what: str) -> str:
        if not self._words:
            raise Wrong(f"{what} is missing")
        return self._words.pop(0)

    def left(self) -> bool:
        return bool(self._words)

    def flag(self, word: str) -> bool:
        """True, and taken, when the last word is this one."""
        if self._words and self._words[-1] == word:
            self._words.pop()
            return True
        return False

    def last(self, read: Callable[[str], T], default: T) -> T:
        """The last word, when there is one left."""
        return read(self._words.pop()) if self._words else default

    def choice(self, what: str, known: Iterable[str]) -> str:
        word = self.word(what)
        names = sorted(known)
        if word not in names:
            raise Wrong(f"{what} is {word!r}, must be one of {', '.join(names)}")
        return word

    def option(self, name: str, read: Callable[[str], T], default: T) -> T:
        text = self._options.pop(name, None)
        if text is None:
            return default
        try:
            return read(text)
        except Wrong as wrong:
            raise Wrong(f"{name}: {wrong}") from None

    def done(self) -> None:
        """To be called before anything is done."""
        left = [*self._words, *(f"{name}=" for name in self._options)]
        if left:
            raise Wrong(f"does not take {' '.join(left)}")


def span_ns(text: str) -> int:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise Wrong(f"{text!r} is no span: write a number with ms, s, min or h, as in 500ms or 2.5s")
    sign, number, unit = found.groups()
    return round(float(number) * _UNIT_NS[unit]) * (-1 if sign else 1)


def forward_ns(text: str) -> int:
    """A span that may pass: not below nothing."""
    found = span_ns(text)
    if found < 0:
        raise Wrong(f"{text!r} must not be negative")
    return found


def span_ms(text: str) -> int:
    return forward_ns(text) // NS_PER_MS


def share(text: str) -> float:
    """30% is 0.3."""
    number = text.removesuffix("%")
    if number == text or not number.replace(".", "", 1).isdigit() or not 0 <= float(number) <= 100:
        raise Wrong(f"{text!r} is no share: write 0% to 100%")
    return float(number) / 100


def share_ppm(text: str) -> int:
    return round(share(text) * PPM)


def rate_ppm(text: str) -> int:
    """How much faster than true time a clock runs, from a factor: 2.0 is twice as fast."""
    try:
        rate = float(text)
    except ValueError:
        raise Wrong(f"{text!r} is no rate: 1.0 is true time, 2.0 twice as fast") from None
    if not RATE_MIN <= rate <= RATE_MAX:
        raise Wrong(f"a rate lies between {RATE_MIN} and {RATE_MAX}, not at {text}")
    return round((rate - 1) * PPM)


def number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise Wrong(f"{text!r} must be a number from {low} to {high}")
        return int(text)

    return read


def one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise Wrong(f"{text!r} must be one of {', '.join(known)}")
        return text

    return read
