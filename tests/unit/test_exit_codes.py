"""How a process of an agent ends, by what kept it from starting: a supervisor tries again, or somebody has to look."""

from __future__ import annotations

import errno
import importlib
import os
import runpy
import socket
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop
from aiohttp import web

from agents.local.server import LocalServer
from agents.runtime.exit_codes import EXIT_CONFIG, EXIT_CUT_SHORT, EXIT_UNAVAILABLE
from agents.runtime.image import Image, run_image
from agents.runtime.life import StopCutShort
from agents.store import AgentRunsAlready
from proto.edge import tls
from proto.edge.config_types import Address
from proto.errors import BadValue, DurabilityLost, LocalFault, NotNow
from witness import settings as witness_settings
from witness.runtime import supervisor


def ended_with(error: Exception) -> int:
    async def serve(_settings, _config, _turn):
        raise error

    fd = os.memfd_create("settings", 0)
    return run_image(Image("module", "usage", str, serve, lambda _: "site-agent dc-a"), ["--settings-fd", str(fd)])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DurabilityLost("the disk is full"), EXIT_UNAVAILABLE),
        (NotNow("local.http", "127.0.0.1:1", "cannot listen there", "choose another"), EXIT_UNAVAILABLE),
        (AgentRunsAlready("pid 7"), EXIT_UNAVAILABLE),
        (BadValue("tls.cert", "x", "is of another site", "issue it"), EXIT_CONFIG),
        (LocalFault("the state is damaged"), EXIT_CONFIG),
        (StopCutShort("it was ended"), EXIT_CUT_SHORT),
    ],
    ids=["disk", "address", "another agent", "configuration", "state", "cut short"],
)
def test_what_may_pass_by_itself_is_told_from_what_somebody_has_to_look_at(error, code, capsys):
    assert ended_with(error) == code
    assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, EXIT_UNAVAILABLE),
        (errno.EMFILE, EXIT_UNAVAILABLE),
        (errno.EADDRINUSE, EXIT_UNAVAILABLE),
        (errno.EACCES, EXIT_CONFIG),
    ],
)
def test_what_lacked_for_a_moment_may_pass_whoever_tells_of_it(number, code):
    """/run may be full when its directory is made, or a socket."""
    error = LocalFault("/run/thirdsite cannot be made")
    error.__cause__ = OSError(number, os.strerror(number))
    assert ended_with(error) == code


@pytest.mark.parametrize(
    ("error", "code"), [(DurabilityLost("the disk is full"), 69), (LocalFault("the data is damaged"), 78)]
)
def test_a_witness_that_starts_on_a_full_disk_is_tried_again(error, code, monkeypatch):
    def fails(_what):
        raise error

    for name in ("cryptography", "rich"):  # its process does without them, and the tests go on
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    monkeypatch.setattr(uvloop, "run", fails)
    monkeypatch.setattr(supervisor, "serve", lambda settings: settings)
    monkeypatch.setattr(witness_settings, "from_json", lambda _: SimpleNamespace(witness="w1"))
    monkeypatch.setattr(sys, "argv", ["witness", "--settings-fd", str(os.memfd_create("settings", 0))])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("witness.runtime.__main__")
    assert ended.value.code == code


async def test_an_address_that_is_taken_may_pass(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = LocalServer(web.Application(), Address("127.0.0.1", taken.getsockname()[1]), tmp_path / "status.sock")
        try:
            with pytest.raises(NotNow, match=r"local\.http.*cannot listen there"):
                await server.start()
        finally:
            await server.close()


@pytest.mark.parametrize(("verify_code", "kind"), [(9, NotNow), (10, BadValue)], ids=["begins later", "has expired"])
def test_a_certificate_that_begins_later_than_the_clock_may_pass(verify_code, kind, monkeypatch):
    """As at a start before the clock is set; what has expired stays so."""

    def shake_hands(_server, _client):
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_code, error.verify_message = verify_code, "certificate is not valid"
        raise error

    files = tls.TlsFiles(Path("ca.pem"), Path("cert.pem"), Path("key.pem"))
    monkeypatch.setattr(tls, "_context", lambda *_: None)
    monkeypatch.setattr(tls, "_load", lambda *_: None)
    monkeypatch.setattr(tls, "_shake_hands", shake_hands)
    with pytest.raises(BadValue, match=r"does not hold against ca\.pem: certificate is not valid") as refused:
        tls.own_certificate(files)
    assert type(refused.value) is kind
