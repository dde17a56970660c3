"""What is open about a connection: whom we asked about it, and what must come back over it (O4).

Rule. Each question has a token, drawn here. A member that has a connection of that very process too has the process
send the token on to us, and says over how many connections it went out. The connection that was asked about counts, or
goes on counting, when every one that is asked has answered, and each token came back *over that connection* as often as
it went out. So one process holds both ends at that time. A copy of its memory does not: what it has of a connection
that its original opened ends nowhere, and what its original opens later it has never heard of.
Who loses his connection before he has answered is not waited for. A token that does not come back within
RELAY_WITHIN_S ends the connection that was asked about, which is tried again.
Rejected: a secret that the process draws for each connection and tells on the others. A copy of a machine has the same
random numbers for a while, and a handshake that is copied half way has the same secret; nor is there an order between
what is told on one connection and asked because of another one. Rejected: comparing places (they differ honestly).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from witness.raft.introduction import Answer

if TYPE_CHECKING:
    from witness.raft.peer_link import PeerLink

RELAY_WITHIN_S: Final = 2.0
"""A connection that was silent for this long is closed anyway."""


@dataclass(slots=True)
class Inquiry:
    about: PeerLink
    by: PeerLink
    """Who is asked."""
    relays: int | None = None
    """How often the token went out; None before the answer."""
    returned: int = 0
    answered_s: float = 0.0

    @property
    def settled(self) -> bool:
        return self.relays is not None and self.returned >= self.relays


class Inquiries:
    """Bounded by the connections: one for each that is asked about and each that is asked."""

    def __init__(self, now_s: Callable[[], float], draw: Callable[[], bytes]) -> None:
        """`draw`: a token that none before it equals."""
        self._now_s = now_s
        self._draw = draw
        self._open: dict[bytes, Inquiry] = {}

    def begin(self, about: PeerLink, by: PeerLink) -> bytes:
        """The token of the question."""
        for token, inquiry in list(self._open.items()):
            if inquiry.about is about and inquiry.by is by:
                del self._open[token]
        token = self._draw()
        self._open[token] = Inquiry(about, by)
        return token

    def answered(self, by: PeerLink, answer: Answer) -> Inquiry | None:
        """What the answer is about; None when that is over, or was asked again since."""
        inquiry = self._open.get(answer.token)
        if inquiry is None or inquiry.by is not by or inquiry.relays is not None:
            return None
        inquiry.relays, inquiry.answered_s = answer.relays, self._now_s()
        self._drop(lambda each: each is inquiry and (inquiry.settled or bool(answer.objection)))
        return inquiry

    def returned(self, over: PeerLink, token: bytes) -> None:
        inquiry = self._open.get(token)
        if inquiry is not None and inquiry.about is over:
            inquiry.returned += 1
            self._drop(lambda each: each is inquiry and inquiry.settled)

    def open_about(self, link: PeerLink) -> bool:
        return any(inquiry.about is link for inquiry in self._open.values())

    def overdue(self) -> list[Inquiry]:
        """Given up: the token did not come back."""
        late = [
            inquiry
            for inquiry in self._open.values()
            if inquiry.relays is not None and self._now_s() - inquiry.answered_s > RELAY_WITHIN_S
        ]
        self._drop(lambda each: each in late)
        return late

    def closed(self, link: PeerLink) -> None:
        """What went out before its end is waited for all the same."""
        self._drop(lambda each: each.about is link or (each.by is link and each.relays is None))

    def _drop(self, over: Callable[[Inquiry], bool]) -> None:
        self._open = {token: inquiry for token, inquiry in self._open.items() if not over(inquiry)}
