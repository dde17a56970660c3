"""What people should read of a witness and its peers, for the log: each thing once, and again while it lasts.

Rule: a refusal repeats with every attempt to connect, about once a second, so the same words about the same peer are
said again only after REPEAT_NS; the latest ones are always in the status. Bounded by the known peers plus one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from proto.edge.logs import get_logger
from proto.units import NS_PER_S, WitnessId
from witness.raft.space import SPACE_CRITICAL_BYTES, SPACE_LOW_BYTES
from witness.raft.standing import Progress

REPEAT_NS: Final = 60 * NS_PER_S
WORDS_PER_PEER_MAX: Final = 8
"""Different words about one peer within REPEAT_NS; beyond, it is a stranger's game with our log."""
REMEDY: Final = (
    "one of the two disks is damaged or was copied, or that witness is not what it claims to be: stop the one that is "
    "named, check its disk, and readmit it with `witness readmit`"
)

log = get_logger(__name__)


class FaultLog:
    def __init__(self, self_id: WitnessId) -> None:
        self._self_id = self_id
        self._said: dict[str, dict[str, int]] = {}

    def happened(self, peer: str, words: str, now_ns: int) -> bool:
        """Logs it unless that was done lately; True when it did."""
        said = {text: at_ns for text, at_ns in self._said.get(peer, {}).items() if now_ns - at_ns < REPEAT_NS}
        self._said[peer] = said
        if words in said or len(said) >= WORDS_PER_PEER_MAX:
            return False
        said[words] = now_ns
        log.warning("peer_connection", witness=self._self_id, peer=peer, why=words)
        return True


class AlarmLog:
    """What no sound and honest witness does (the filter's alarms): once a minute for each kind."""

    def __init__(self, self_id: WitnessId) -> None:
        self._self_id = self_id
        self._seen: dict[str, int] = {}
        self._said_ns: dict[str, int] = {}

    def look(self, alarms: Mapping[str, str], counts: Mapping[str, int], now_ns: int) -> list[str]:
        """In every turn; the kinds that were logged."""
        said = []
        for kind, words in alarms.items():
            last_ns = self._said_ns.get(kind)
            if counts[kind] == self._seen.get(kind, 0) or (last_ns is not None and now_ns - last_ns < REPEAT_NS):
                continue
            self._seen[kind], self._said_ns[kind] = counts[kind], now_ns
            log.error("raft_alarm", witness=self._self_id, alarm=kind, why=words, count=counts[kind], remedy=REMEDY)
            said.append(kind)
        return said


class RoomLog:
    """A snapshot for which the disk has no room: once, until one was taken or a larger one is refused."""

    def __init__(self, self_id: WitnessId, directory: Path) -> None:
        self._self_id = self_id
        self._directory = directory
        self._said_bytes: int | None = None

    def look(self, lacks_room_for: int | None) -> bool:
        """In every turn; True when it was logged."""
        said_bytes, self._said_bytes = self._said_bytes, lacks_room_for
        if lacks_room_for is None or (said_bytes is not None and lacks_room_for <= said_bytes):
            return False
        room_bytes = max(lacks_room_for + SPACE_CRITICAL_BYTES, SPACE_LOW_BYTES * 5 // 4)
        log.error(
            "snapshot_without_room",
            witness=self._self_id,
            directory=str(self._directory),
            snapshot_bytes=lacks_room_for,
            remedy=f"make room there, {room_bytes} bytes at least; the leader tries again by itself; until then this "
            "witness votes and takes nothing new",
        )
        return True


class ReadmissionLog:
    """Each step of a readmission, once."""

    def __init__(self, self_id: WitnessId) -> None:
        self._self_id = self_id
        self._step: str | None = None

    def look(self, progress: Progress | None, term: Callable[[], int]) -> None:
        """In every turn; `progress` is None for a voter."""
        if progress is None:
            if self._step is not None:
                self._step = None
                log.info("readmitted", witness=self._self_id, term=term())
            return
        step = progress.words()
        if step != self._step:
            self._step = step
            log.info("readmission", witness=self._self_id, step=step)
