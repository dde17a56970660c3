"""Asks a running agent over its Unix socket; standard library only, bounded in time and size."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from proto.errors import LocalFault

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class AgentUnreachable(LocalFault):
    """No agent answers on the socket."""


class UnixConnection(http.client.HTTPConnection):
    """Over the socket that only the agent's user, and root, can reach."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def agent_status(path: Path) -> dict[str, Any]:
    connection = UnixConnection(path)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX)
        if answer.status != 200:
            raise AgentUnreachable(f"{path}: the agent answers with status {answer.status}")
        view: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AgentUnreachable(f"{path}: no agent answers ({why}): is it running, with this runtime_dir?") from error
    finally:
        connection.close()
    return view
