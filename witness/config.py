"""The configuration file of a witness (deploy/examples/witness.yaml); `witness schema` prints its JSON Schema.

One file serves all witnesses of a cluster but for two lines: `peers` may name every witness, the own one included.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from proto import limits as proto_limits
from proto.edge.config_file import ConfigModel, config_schema, load_config, parse_config, refusal, refusal_of
from proto.edge.config_logs import LogConfig
from proto.edge.config_types import (
    Address,
    ConfigAddress,
    ConfigPath,
    DurationMs,
    WitnessName,
    duration_between,
)
from proto.edge.identity import check_cluster_id
from proto.errors import BadValue
from proto.units import ClusterId
from witness.notify.config import NotifyConfig
from witness.raft.timers import PROFILES, RaftTimers
from witness.settings import (
    LimitSettings,
    Listen,
    MetricsSettings,
    TlsPaths,
    WitnessSettings,
)

CLUSTER_SIZES = (1, 3, proto_limits.WITNESSES_MAX)


def _cluster_id(value: Any) -> str:
    try:
        return check_cluster_id(value, "cluster")
    except BadValue as error:
        raise refusal_of(error) from error


class PeerConfig(ConfigModel):
    id: WitnessName = Field(examples=["w2"])
    address: ConfigAddress = Field(examples=["192.0.2.12:7401"])


class TlsConfig(ConfigModel):
    ca: ConfigPath = Field(examples=["/etc/thirdsite/pki/ca.pem"])
    cert: ConfigPath = Field(examples=["/etc/thirdsite/pki/cert.pem"])
    key: ConfigPath = Field(examples=["/etc/thirdsite/pki/key.pem"])
    crl: ConfigPath | None = Field(default=None, description="revoked certificates of the CA, when there are any")


class MetricsConfig(ConfigModel):
    listen: ConfigAddress = Field(
        examples=["127.0.0.1:7402"],
        description="plain HTTP on a loopback address; on any other TLS with an operator's certificate",
    )


def _written(duration: str) -> Any:
    """A default as people write it: it is validated like what stands in a file."""
    return Field(default=duration)


_Timer = Annotated[DurationMs, duration_between(5, 240_000)]


class RaftProfile(Enum):
    FAST = "fast"
    STANDARD = "standard"
    WIDE = "wide"


class RaftConfig(ConfigModel):
    """A profile, and single timers where it does not fit. Measured round trips stretch elections beyond them."""

    profile: RaftProfile = Field(
        default=RaftProfile.STANDARD,
        description="fast: one quiet local network; standard: one location; wide: round trips up to some 200 ms",
    )
    append_period: _Timer | None = None
    election_min: _Timer | None = None
    election_max: _Timer | None = None
    leader_fallback: _Timer | None = None

    @model_validator(mode="after")
    def _relations(self) -> RaftConfig:
        try:
            self.timers()
        except BadValue as error:
            field = error.field.removeprefix("raft.").removesuffix("_ms")
            raise refusal(f"{field} {error.value} ms {error.rule}", error.remedy) from error
        return self

    def timers(self) -> RaftTimers:
        profile = PROFILES[self.profile.value]
        return RaftTimers(
            self.append_period or profile.append_period_ms,
            self.election_min or profile.election_min_ms,
            self.election_max or profile.election_max_ms,
            self.leader_fallback or profile.leader_fallback_ms,
        )


_DEFAULTS = LimitSettings()


class LimitsConfig(ConfigModel):
    streams_max: int = Field(default=_DEFAULTS.streams_max, ge=1, le=4_096)
    frames_per_s: int = Field(default=_DEFAULTS.frames_per_s, ge=10, le=100_000)
    answers_pending_max: int = Field(default=_DEFAULTS.answers_pending_max, ge=4, le=1_024)
    idle_timeout: Annotated[DurationMs, duration_between(3_000, 600_000)] = _written("15s")
    requests_max: int = Field(default=_DEFAULTS.requests_max, ge=1, le=1_024)


class WitnessConfig(ConfigModel):
    """One witness of a cluster."""

    cluster: Annotated[
        ClusterId, BeforeValidator(_cluster_id), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"})
    ] = Field(description="32 lower-case hex digits, drawn by `witness pki init`")
    witness: WitnessName = Field(examples=["w1"])
    data_dir: ConfigPath = Field(examples=["/var/lib/thirdsite/w1"])
    listen: ConfigAddress = Field(examples=["0.0.0.0:7400"], description="for agents and operators")
    listen_peers: ConfigAddress | None = Field(
        default=None, description="for the other witnesses; without it the own address among the peers"
    )
    peers: tuple[PeerConfig, ...] = Field(default=(), description="the witnesses; the own one may be among them")
    tls: TlsConfig
    metrics: MetricsConfig | None = None
    raft: RaftConfig = RaftConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    notify: NotifyConfig | None = Field(default=None, description="who is told of what; without it nobody is")

    @model_validator(mode="after")
    def _relations(self) -> WitnessConfig:
        _check_members(self)
        _check_listens(self)
        return self

    def settings(self) -> WitnessSettings:
        limits = self.limits
        metrics = None
        if self.metrics is not None:
            where = self.metrics.listen
            metrics = MetricsSettings(Listen(*where), tls=not where.loopback)
        return WitnessSettings(
            cluster=self.cluster,
            witness=self.witness,
            data_dir=self.data_dir,
            listen=Listen(*self.listen),
            listen_peers=Listen(*_peer_listen(self)),
            peers=tuple((peer.id, Listen(*peer.address)) for peer in self.peers if peer.id != self.witness),
            tls=TlsPaths(self.tls.ca, self.tls.cert, self.tls.key, self.tls.crl),
            metrics=metrics,
            timers=self.raft.timers(),
            limits=LimitSettings(
                limits.streams_max,
                limits.frames_per_s,
                limits.answers_pending_max,
                limits.idle_timeout,
                limits.requests_max,
            ),
            log=self.log.settings(),
            notify=None if self.notify is None else self.notify.settings(),
        )


def _check_members(config: WitnessConfig) -> None:
    names = [peer.id for peer in config.peers]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise refusal(f"peers name {', '.join(repeated)} more than once", "name each witness once")
    addresses = [str(peer.address) for peer in config.peers]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise refusal(f"peers share the address {', '.join(twice)}", "give each witness its own")
    count = len({*names, config.witness})
    if count not in CLUSTER_SIZES:
        raise refusal(
            f"witness {config.witness} and peers {', '.join(names)} make {count} witnesses, a cluster has 3 "
            f"({proto_limits.WITNESSES_MAX} allowed, 1 for development)",
            "an even number survives no more failures than one less: add or remove one",
        )


def _check_listens(config: WitnessConfig) -> None:
    peers = _peer_listen(config)
    used = {"listen": config.listen, "listen_peers": peers}
    if config.metrics is not None:
        used["metrics.listen"] = config.metrics.listen
    seen: dict[Address, str] = {}
    for field, address in used.items():
        if address in seen:
            raise refusal(f"{seen[address]} and {field} are both {address}", "give each its own port")
        seen[address] = field


def _peer_listen(config: WitnessConfig) -> Address:
    if config.listen_peers is not None:
        return config.listen_peers
    own = next((peer.address for peer in config.peers if peer.id == config.witness), None)
    if own is not None:
        return own
    if not config.peers:
        return Address("127.0.0.1", config.listen.port + 1)
    raise refusal(
        f"listen_peers is missing, and peers do not name {config.witness} either",
        "add listen_peers: host:port, or name this witness among the peers",
    )


def load_witness_config(path: Path) -> WitnessSettings:
    """Raises ConfigRefused with everything that is wrong."""
    return load_config(path, WitnessConfig).settings()


def parse_witness_config(text: str, file: str = "witness.yaml", base: Path = Path()) -> WitnessSettings:
    return parse_config(text, WitnessConfig, file=file, base=base).settings()


def witness_schema() -> dict[str, Any]:
    return config_schema(WitnessConfig)
