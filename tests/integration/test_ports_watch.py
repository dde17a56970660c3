"""`site-agent ports` on a real kernel: who talks is counted by port and address, TCP and UDP; a move is compared."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from net_world import needs_network, network_namespace
from typer.testing import CliRunner

from agents.cli import app
from agents.fencing.port_table import PortTable
from proto.errors import BadValue, LocalFault

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    needs_network,
    pytest.mark.skipif(shutil.which("nft") is None, reason="NFT IS NOT INSTALLED: watching ports was not tested"),
]
NAVIXY = Path(__file__).resolve().parents[2] / "deploy" / "navixy" / "agent-systemd.yaml"


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with network_namespace():
        yield


def ports(*words: str, said: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ports", *words, "-c", str(NAVIXY)], input=said)
    if isinstance(done.exception, Exception):
        raise done.exception
    return done.exit_code, done.stdout


def talk(source: str, port: int) -> None:
    """A datagram from an address of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(b"position", ("127.0.0.1", port))


def connect(source: str, port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        socket.create_connection(("127.0.0.1", port), source_address=(source, 0)),
    ):
        pass


def test_sources_are_counted_and_what_did_not_come_back_is_told() -> None:
    assert ports("watch") == (0, "315 ports of navixy are watched: a source counts for 900 s\n")
    for number in range(1, 5):
        talk(f"127.0.1.{number}", 47_650)
        talk(f"127.0.1.{number}", 47_650)
    talk("127.0.1.1", 48_000)
    connect("127.0.1.1", 7_677)
    connect("127.0.1.2", 7_685)
    code, before = ports("show", "--json")
    counts = {port: count for port, count in json.loads(before)["ports"].items() if count}
    assert (code, counts) == (0, {"7677/tcp": 1, "7685/tcp": 1, "47650/udp": 4})
    assert "312 of 315 ports have no source" in ports("show")[1]
    assert ports("silent", "-", said=before) == (0, "every port that had sources before has them again\n")

    ports("watch")  # the other site's kernel, which saw nobody yet
    talk("127.0.1.1", 47_650)
    connect("127.0.1.1", 7_677)
    code, told = ports("silent", "-", said=before)
    assert code == 1
    assert told.splitlines() == [
        "7685/tcp: 1 sources before, none now",
        "47650/udp: 4 sources before, 1 now",
    ]
    code, told = ports("silent", "-", "--share", "0.25", "--json", said=before)
    assert json.loads(told)["fallen"] == [{"port": "7685/tcp", "before": 1, "now": 0}]


def test_what_the_kernel_refuses_does_not_count() -> None:
    ports("watch")
    table = PortTable("navixy", [("udp", 47_650)])
    table.lay()
    talk("127.0.1.1", 47_650)
    assert "315 of 315 ports have no source" in ports("show")[1]
    table.open_for(60_000)
    talk("127.0.1.1", 47_650)
    assert "314 of 315 ports have no source" in ports("show")[1]


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(LocalFault, match="begin with `site-agent ports watch`"):
        ports("show")
    ports("watch")
    assert ports("watch", "--end") == (0, "the ports of navixy are no longer watched\n")
    with pytest.raises(LocalFault, match="begin with `site-agent ports watch`"):
        ports("silent", "-", said='{"ports": {}}')
    with pytest.raises(BadValue, match="say one of: navixy"):
        ports("show", "--group", "shop")
    with pytest.raises(BadValue, match="name a file of `show --json`"):
        ports("silent", "/nowhere")
