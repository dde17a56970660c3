"""Which site's agent has its stream here: one a site, the one that is alive.

A second agent (another incarnation) is refused while the first stream lives; the same incarnation replaces its own
older stream, because it knows better than we do that the old one is gone. "Alive" is kept honest by WebSocket pings
and by `sweep`: a dead stream leaves within seconds, so that a cold-started agent waits no longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from proto.messages import GoodbyeCode, Notice
from proto.units import NS_PER_S, Incarnation, InstantNs, SiteId


class LiveStream(Protocol):
    """What the table needs of a stream."""

    @property
    def incarnation(self) -> Incarnation: ...
    @property
    def heard_at(self) -> InstantNs:
        """When its last frame came."""

    def notify(self, notice: Notice) -> None: ...
    def end(self, code: GoodbyeCode, text: str) -> None:
        """Has it say goodbye and close; returns at once."""


class StreamRefused(Exception):
    """The stream is not admitted; `code` and the text go into its Goodbye."""

    def __init__(self, code: GoodbyeCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamTable:
    def __init__(self, streams_max: int, idle_ns: int, now: Callable[[], InstantNs]) -> None:
        self._streams: dict[SiteId, LiveStream] = {}
        self._streams_max = streams_max
        self._idle_ns = idle_ns
        self._now = now
        self._stopping = False
        self._empty = asyncio.Event()
        self._empty.set()

    def admit(self, site: SiteId, stream: LiveStream) -> None:
        """Raises StreamRefused; otherwise the stream is the site's, and an older one of its own is ended."""
        if self._stopping:
            raise StreamRefused(GoodbyeCode.STOPPING, "this witness stops; use another one")
        old = self._streams.get(site)
        if old is None and len(self._streams) >= self._streams_max:
            text = f"{self._streams_max} streams are open here (limits.streams_max); use another witness"
            raise StreamRefused(GoodbyeCode.OVERLOADED, text)
        if old is not None and old.incarnation != stream.incarnation:
            text = (
                f"an agent of {site} is connected already (incarnation {old.incarnation.hex()[:8]}): two agents must "
                "not share a site; if that one is dead, this witness notices within seconds"
            )
            raise StreamRefused(GoodbyeCode.SECOND_AGENT, text)
        self._streams[site] = stream
        self._empty.clear()
        if old is not None:
            old.end(GoodbyeCode.STOPPING, "the same agent opened a new stream")

    def leave(self, site: SiteId, stream: LiveStream) -> None:
        """Only the stream that is the site's now may leave: a replaced one must not take its successor along."""
        if self._streams.get(site) is stream:
            del self._streams[site]
            if not self._streams:
                self._empty.set()

    async def wait_empty(self) -> None:
        await self._empty.wait()

    def push(self, site: SiteId, notice: Notice) -> None:
        stream = self._streams.get(site)
        if stream is not None:
            stream.notify(notice)

    def silent(self) -> dict[SiteId, float]:
        """Open streams with the seconds since their last frame."""
        now = self._now()
        return {site: (now - stream.heard_at) / NS_PER_S for site, stream in self._streams.items()}

    def sweep(self) -> None:
        """Ends streams that said nothing for the idle timeout; called every second or so."""
        now = self._now()
        for stream in self._living():
            silent_ns = now - stream.heard_at
            if silent_ns > self._idle_ns:
                text = f"nothing was heard for {silent_ns / NS_PER_S:.1f} s; an agent pings every second"
                stream.end(GoodbyeCode.STOPPING, text)

    def stop(self) -> None:
        """Says goodbye to all; admits none from now on."""
        self._stopping = True
        for stream in self._living():
            stream.end(GoodbyeCode.STOPPING, "this witness stops; use another one")

    def _living(self) -> Iterator[LiveStream]:
        return iter(tuple(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)
