"""What a running witness is told, as plain values: the checked configuration without its file format.

`witness run` reads YAML with pydantic, hands these settings over to a fresh interpreter and is gone: the process
that faces the network for months has neither a YAML parser nor a schema engine in its memory (some 10 MB).
Only file paths travel, never a secret.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from proto.edge.log_settings import LogSettings
from proto.units import ClusterId, WitnessId
from witness.core.notify.settings import NotifySettings, from_plain
from witness.raft.timers import RaftTimers


class Listen(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TlsPaths:
    ca: Path
    cert: Path
    key: Path
    crl: Path | None


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    listen: Listen
    tls: bool
    """False only on loopback."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Bounds against clients that are wild, each far above what honest ones need."""

    streams_max: int = 256
    frames_per_s: int = 500
    """Of one stream; its reader waits when it is faster."""
    answers_pending_max: int = 64
    """Heartbeats and releases of one stream that wait for their outcome; more are dropped and counted."""
    idle_timeout_ms: int = 15_000
    """Agents ping every second: a stream that says nothing for so long is dead."""
    requests_max: int = 64
    """Operators' requests at once; more are told to come back."""


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    cluster: ClusterId
    witness: WitnessId
    data_dir: Path
    listen: Listen
    listen_peers: Listen
    peers: tuple[tuple[WitnessId, Listen], ...]
    """The other witnesses and where they are reached."""
    tls: TlsPaths
    metrics: MetricsSettings | None = None
    timers: RaftTimers = field(default_factory=RaftTimers)
    limits: LimitSettings = field(default_factory=LimitSettings)
    log: LogSettings = field(default_factory=LogSettings)
    notify: NotifySettings | None = None

    @property
    def members(self) -> tuple[WitnessId, ...]:
        return tuple(sorted((self.witness, *(name for name, _ in self.peers))))


def to_json(settings: WitnessSettings) -> str:
    return json.dumps(dataclasses.asdict(settings), default=str)


def from_json(text: str) -> WitnessSettings:
    """Reads what `to_json` of the same version wrote; anything else is a bug and raises."""
    raw: dict[str, Any] = json.loads(text)
    tls: dict[str, str | None] = raw["tls"]
    crl = tls["crl"]
    metrics = raw["metrics"]
    return WitnessSettings(
        cluster=ClusterId(raw["cluster"]),
        witness=WitnessId(raw["witness"]),
        data_dir=Path(raw["data_dir"]),
        listen=Listen(*raw["listen"]),
        listen_peers=Listen(*raw["listen_peers"]),
        peers=tuple((WitnessId(name), Listen(*address)) for name, address in raw["peers"]),
        tls=TlsPaths(
            ca=Path(str(tls["ca"])),
            cert=Path(str(tls["cert"])),
            key=Path(str(tls["key"])),
            crl=None if crl is None else Path(crl),
        ),
        metrics=None if metrics is None else MetricsSettings(Listen(*metrics["listen"]), metrics["tls"]),
        timers=RaftTimers(**raw["timers"]),
        limits=LimitSettings(**raw["limits"]),
        log=LogSettings(**raw["log"]),
        notify=from_plain(raw["notify"]),
    )
