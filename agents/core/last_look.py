"""(11) The last look at the keys in place: the platform has stopped, and its epoch ends behind it.

Rule (docs/adr/0022): a platform may exchange its key as it stops, and only the holder seals. So a site that is verified
down looks once more at each key that was looked at under this epoch, and its epoch ends when what was seen is sealed;
but it waits for a moment only, never to the instant at which what it held would be killed.
"""

from __future__ import annotations

from collections.abc import Iterable

from proto.units import NS_PER_MS, InstantNs, LicenseName

LAST_LOOK_MAX_NS = 2_000 * NS_PER_MS
"""An epoch goes on at most this long when all is verified down, for the look and what is sealed by it."""


class LastLook:
    """Of one group's licenses; one at a time."""

    def __init__(self) -> None:
        self._by: InstantNs | None = None
        self._waits_for: set[LicenseName] = set()

    def begin(self, names: Iterable[LicenseName], now: InstantNs, until: InstantNs) -> None:
        """`until`: there is authority for at least so long."""
        self._waits_for = set(names)
        self._by = InstantNs(min(now + LAST_LOOK_MAX_NS, until))

    def looked(self, name: LicenseName) -> None:
        self._waits_for.discard(name)

    def waits(self, now: InstantNs, *, sealing: bool) -> bool:
        """A look, or the sealing of what one saw, is still under way, and there is time for it."""
        if self._by is not None and not (now < self._by and (self._waits_for or sealing)):
            self.forget()
        return self._by is not None

    def forget(self) -> None:
        """Fenced, or over before the look was: nobody waits for it."""
        self._by, self._waits_for = None, set()

    @property
    def wake_at(self) -> InstantNs | None:
        return self._by
