"""The seam to where a license's current key lies: read it, and put it back.

Rule: each call is bounded in time and size and raises nothing but PlaceFault. A fault says what kind of thing went
wrong and never quotes what was read, written or answered: a database puts the value into the text of some errors.
A source is only read, also on the dormant site, where it may be a replica. A sink is written by one step of an
activation, inside the guard's namespace, so that no paused agent writes into a database of the next holder.
"""

from __future__ import annotations

from typing import Protocol

from proto.errors import LocalFault

SOURCE_UNREACHABLE = "source-unreachable"
SOURCE_BAD_VALUE = "source-bad-value"
SINK_UNREACHABLE = "sink-unreachable"
SINK_REFUSED = "sink-refused"


class PlaceFault(LocalFault):
    """`code` is one of the above; the text is for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Source(Protocol):
    async def read(self) -> bytes | None:
        """The key in place, None when there is none. Raises PlaceFault."""

    async def close(self) -> None:
        """Gives back what is held between reads; `read` opens it again."""


class Sink(Protocol):
    async def write(self, value: bytes) -> None:
        """Returns when it is there, as durable as the place can be. Raises PlaceFault."""


class MemoryPlace:
    """Source and sink in memory. `fault`: what the next calls raise, '' for nothing."""

    def __init__(self, value: bytes | None = None) -> None:
        self.value = value
        self.fault = ""
        self.writes = 0

    async def read(self) -> bytes | None:
        if self.fault:
            raise PlaceFault(SOURCE_UNREACHABLE, self.fault)
        return self.value

    async def write(self, value: bytes) -> None:
        if self.fault:
            raise PlaceFault(SINK_UNREACHABLE, self.fault)
        self.writes += 1
        self.value = value

    async def close(self) -> None:
        """Nothing is held."""


def too_long(bytes_max: int) -> PlaceFault:
    return PlaceFault(SOURCE_BAD_VALUE, f"what is in place is longer than {bytes_max} bytes, so it is no key")


def without_newline(text: bytes) -> bytes | None:
    """Files and programs end a line; a key does not. None for an empty one."""
    return text.removesuffix(b"\n").removesuffix(b"\r") or None
