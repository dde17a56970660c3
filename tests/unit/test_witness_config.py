"""The witness's configuration file: the example loads, contradictions are told with both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto.edge.config_file import ConfigRefused
from witness.config import load_witness_config, parse_witness_config, witness_schema
from witness.raft.timers import RaftTimers
from witness.settings import Listen, from_json, to_json

EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "examples"
TLS = "tls: {ca: a, cert: b, key: c}\n"
HEAD = "cluster: 0123456789abcdef0123456789abcdef\nwitness: w1\ndata_dir: data\nlisten: '127.0.0.1:1'\n" + TLS
PEERS = "peers: [{id: w1, address: 'h1:1'}, {id: w2, address: 'h2:1'}, {id: w3, address: 'h3:1'}]\n"


def error_of(text: str) -> str:
    with pytest.raises(ConfigRefused) as caught:
        parse_witness_config(text)
    return str(caught.value)


def test_the_example_loads_and_travels_as_json() -> None:
    settings = load_witness_config(EXAMPLES / "witness.yaml")
    assert settings.members == ("w1", "w2", "w3")
    assert [name for name, _ in settings.peers] == ["w2", "w3"]
    assert settings.listen_peers == Listen("192.0.2.11", 7411)
    assert settings.metrics is not None
    assert not settings.metrics.tls
    assert from_json(to_json(settings)) == settings


def test_a_single_witness_needs_no_peers() -> None:
    settings = parse_witness_config(HEAD, base=Path("/etc/x"))
    assert settings.members == ("w1",)
    assert settings.listen_peers == Listen("127.0.0.1", 2)
    assert settings.data_dir == Path("/etc/x/data")
    assert from_json(to_json(settings)) == settings


def test_defaults_are_those_of_the_engine() -> None:
    assert parse_witness_config(HEAD).timers == RaftTimers()


def test_metrics_beyond_loopback_are_tls() -> None:
    settings = parse_witness_config(HEAD + PEERS + "metrics: {listen: '10.0.0.1:9'}\n")
    assert settings.metrics is not None
    assert settings.metrics.tls


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (HEAD + "peer: []\n", "witness.yaml:6: peer: unknown key; did you mean 'peers'?"),
        (
            HEAD + "peers: [{id: w2, address: 'h:1'}]\n",
            (
                "witness.yaml: witness w1 and peers w2 make 2 witnesses, a cluster has 3 "
                "(5 allowed, 1 for development); an even number survives no more failures than one less: "
                "add or remove one"
            ),
        ),
        (
            HEAD + "peers: [{id: w2, address: 'h:1'}, {id: w2, address: 'i:1'}]\n",
            "witness.yaml: peers name w2 more than once; name each witness once",
        ),
        (
            HEAD + "peers: [{id: w2, address: 'h:1'}, {id: w3, address: 'h:1'}]\n",
            "witness.yaml: peers share the address h:1; give each witness its own",
        ),
        (
            HEAD + "peers: [{id: w2, address: 'h2:1'}, {id: w3, address: 'h3:1'}]\n",
            (
                "witness.yaml: listen_peers is missing, and peers do not name w1 either; "
                "add listen_peers: host:port, or name this witness among the peers"
            ),
        ),
        (
            HEAD + PEERS + "listen_peers: '127.0.0.1:1'\n",
            "witness.yaml: listen and listen_peers are both 127.0.0.1:1; give each its own port",
        ),
        (
            HEAD + PEERS + "raft: {election_min: 100ms}\n",
            (
                "witness.yaml:7: raft: election_min 100 ms must be more than 3 x append_period_ms = 150; "
                "raise it, or lower append_period_ms"
            ),
        ),
        (
            HEAD.replace("0123456789abcdef0123456789abcdef", "demo"),
            "witness.yaml:1: cluster: 'demo': 32 lower-case hex digits; take it from 'witness pki show ca.pem'",
        ),
        (
            HEAD + PEERS + "log: {level: warn}\n",
            "witness.yaml:7: log.level: 'warn': is none of: debug, info, warning or error; did you mean 'warning'?",
        ),
        (
            HEAD + PEERS + "limits: {streams_max: 0}\n",
            "witness.yaml:7: limits.streams_max: 0: must be at least 1; change it",
        ),
    ],
)
def test_contradictions_are_exact(text: str, error: str) -> None:
    assert error_of(text) == error


def test_the_schema_names_every_key() -> None:
    schema = witness_schema()
    assert {"cluster", "witness", "data_dir", "listen", "peers", "tls"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
