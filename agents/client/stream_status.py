"""What a person should know about one stream, and what to do when a witness sends the agent away."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.messages import GoodbyeCode


class StreamState(Enum):
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    """The last attempt failed; the next one comes by itself."""


REMEDY: dict[GoodbyeCode, str] = {
    GoodbyeCode.WRONG_CLUSTER: "check `cluster` in the configuration and which witnesses the addresses lead to",
    GoodbyeCode.WRONG_IDENTITY: (
        "check `site` and the groups in the configuration against the certificate (`witness pki show`)"
    ),
    GoodbyeCode.SECOND_AGENT: (
        "another agent of this site is connected: stop it, or find the clone that uses this configuration"
    ),
    GoodbyeCode.BAD_FRAME: "agent and witness do not understand each other: upgrade the older one",
    GoodbyeCode.VERSION: "agent and witness do not understand each other: upgrade the older one",
    GoodbyeCode.OVERLOADED: "nothing to do: the agent tries again",
    GoodbyeCode.STOPPING: "nothing to do: the witness stops, the agent tries again",
}


@dataclass(slots=True)
class StreamStatus:
    """Changed by its stream alone, read by the status page."""

    address: str
    state: StreamState = StreamState.CONNECTING
    leading: bool = False
    problem: str = ""
    """Why the last attempt or connection ended, in the witness's own words when it said goodbye."""
    goodbye: GoodbyeCode | None = None
    attempts: int = 0
    opened: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    via: str | None = None
    """The site whose agent carries the stream, or did last; None for a direct one."""

    def begins(self) -> None:
        """An attempt."""
        self.state = StreamState.CONNECTING
        self.attempts += 1

    def words(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "address": self.address,
            "state": self.state.value,
            "leading": self.leading,
            "attempts": self.attempts,
            "opened": self.opened,
        }
        if self.via is not None:
            shown["via"] = self.via
        if self.problem:
            shown["problem"] = self.problem
        if self.goodbye is not None:
            shown |= {"goodbye": self.goodbye.value, "remedy": REMEDY[self.goodbye]}
        return shown
