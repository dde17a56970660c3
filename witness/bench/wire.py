"""A simulated agent's half of the stream, cheap enough that the cluster is measured and not its load.

Rule: what goes over the wire is what real agents send, byte for byte, and every answer counts only when it carries
the nonce that was asked with. A heartbeat is encoded once and then only its number and nonce are replaced; of the
answers each is matched, and one in so many is decoded and its verdicts counted.
"""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import dataclass, field

from proto.codec import AGENT_MESSAGES, REPORTS, WITNESS_MESSAGES
from proto.health import DataChecks, HealthReport, SiteState
from proto.messages import GroupHeartbeat, Heartbeat, HeartbeatAnswer, Hello, Verdict
from proto.units import Claim, ClusterId, Epoch, GroupId, Incarnation, Nonce, SiteId, WallMs

SEQ_FIRST = 1 << 40
"""So large that every number has the same width in msgpack."""
NO_CLAIM = Claim(bytes(16))
DECODE_EVERY = 32
_ANSWER_NONCE_AT = 5
"""[version, tag, nonce, ...]: four bytes of head and types come before the nonce's length byte."""


@dataclass(slots=True)
class Held:
    epoch: int = 0
    claim: bytes = NO_CLAIM
    sure: bool = False
    """The witnesses said where this group stands."""


@dataclass(slots=True)
class SimAgent:
    """One site for many groups: claims what it is granted, renews what it holds, reports the rest as dormant."""

    site: str
    cluster: str
    groups: tuple[str, ...]
    claims: bool = True
    incarnation: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    verdicts: dict[str, int] = field(default_factory=dict)
    _held: dict[str, Held] = field(default_factory=dict)
    _seq: int = SEQ_FIRST
    _answers: int = 0
    _frame: bytearray = field(default_factory=bytearray)
    _seq_at: int = 0
    _nonce_at: int = 0
    _store_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def __post_init__(self) -> None:
        self._held = {group: Held() for group in self.groups}
        self._build()

    def hello(self) -> bytes:
        groups = tuple(GroupId(group) for group in self.groups)
        return AGENT_MESSAGES.encode(
            Hello(SiteId(self.site), Incarnation(self.incarnation), "0.1.0", ClusterId(self.cluster), groups)
        )

    def heartbeat(self) -> tuple[bytes, bytes]:
        """The next frame and its nonce."""
        self._seq += 1
        nonce = os.urandom(16)
        struct.pack_into(">Q", self._frame, self._seq_at, self._seq)
        self._frame[self._nonce_at : self._nonce_at + 16] = nonce
        return bytes(self._frame), nonce

    @property
    def settled(self) -> bool:
        return all(held.sure for held in self._held.values())

    @property
    def holding(self) -> int:
        return sum(1 for held in self._held.values() if held.epoch)

    def answered(self, frame: bytes) -> bytes | None:
        """The nonce of a heartbeat's answer, None for anything else."""
        if frame[1:3] != b"\x01\x03":
            return None
        self._answers += 1
        if not self.settled or self._answers % DECODE_EVERY == 0:
            self._read(frame)
        return frame[_ANSWER_NONCE_AT : _ANSWER_NONCE_AT + 16]

    def _read(self, frame: bytes) -> None:
        answer = WITNESS_MESSAGES.decode(frame)
        if not isinstance(answer, HeartbeatAnswer):
            return
        changed = False
        for one in answer.groups:
            self.verdicts[one.verdict.name] = self.verdicts.get(one.verdict.name, 0) + 1
            changed |= self._learn(self._held[one.group], one.verdict, one.epoch)
        if changed:
            self._build()

    def _learn(self, held: Held, verdict: Verdict, epoch: int) -> bool:
        if verdict is Verdict.GRANTED and self.claims and epoch > held.epoch:
            held.epoch, held.claim, held.sure = epoch, secrets.token_bytes(16), False
            return True
        if verdict is Verdict.REFUSED and held.epoch:
            held.epoch, held.claim, held.sure = 0, NO_CLAIM, False
            return True
        held.sure = held.sure or verdict in (Verdict.RENEWED, Verdict.DORMANT)
        return False

    def unsettle(self) -> None:
        """Decode every answer again until all groups are known; the next grants are expected."""
        for held in self._held.values():
            held.sure = bool(held.epoch)

    def _build(self) -> None:
        reports = {active: REPORTS.encode(self._report(active=active)) for active in (False, True)}
        marker, seq = secrets.token_bytes(16), SEQ_FIRST | secrets.randbits(39)
        groups = tuple(
            GroupHeartbeat(GroupId(name), Epoch(held.epoch), Claim(held.claim), 0, reports[bool(held.epoch)])
            for name, held in self._held.items()
        )
        beat = Heartbeat(
            SiteId(self.site), Incarnation(self.incarnation), seq, Nonce(marker), WallMs(1_750_000_000_000), groups
        )
        self._frame = bytearray(AGENT_MESSAGES.encode(beat))
        self._nonce_at = self._frame.index(marker)
        self._seq_at = self._frame.index(struct.pack(">Q", seq))

    def _report(self, *, active: bool) -> HealthReport:
        return HealthReport(
            state=SiteState.ACTIVE if active else SiteState.STANDBY,
            enforce=True,
            ready=True,
            healthy=True,
            data_checks=DataChecks.NONE,
            epoch_bound=Epoch(0),
            finished_epoch=Epoch(0),
            group_version=1,
            store_id=self._store_id,
            agent_version="0.1.0",
            containment="pid-namespace",
        )
