"""What the run looks at: the referee, the witnesses' API, the agents' own endpoints. Nothing here moves anything."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from chaosrig.chaos_layout import API, GROUP, LOCAL, OPERATOR, SITES, WITNESSES, Layout
from chaosrig.chaos_net import Net

from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate

LOOK_S = 1.0
Json = dict[str, Any]


class Looks:
    def __init__(self, layout: Layout, net: Net) -> None:
        self.layout = layout
        self.net = net
        home = layout.certificate(OPERATOR)
        files = TlsFiles(ca=home / "ca.pem", cert=home / "cert.pem", key=home / "key.pem")
        accept = accepting(own_certificate(files).identity, Role.WITNESS)
        self._context: ssl.SSLContext = client_context(files, accept, check_hostname=False)

    def witness(self, name: str, path: str = "/v1/status") -> Json | None:
        """As the operator's host sees it; None while it does not answer."""
        address = self.layout.addresses.of[name]
        connection = http.client.HTTPSConnection(address, API, timeout=LOOK_S, context=self._context)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            with self.net.inside(OPERATOR):
                connection.connect()
            connection.request("GET", path)
            answer = connection.getresponse()
            return dict(json.loads(answer.read())) if answer.status == 200 else None
        return None

    def group(self, witness: str) -> Json | None:
        return self.witness(witness, f"/v1/groups/{GROUP}")

    def leader(self) -> str | None:
        for name in WITNESSES:
            seen = self.witness(name)
            if seen is not None and seen["leader"] in WITNESSES and seen["has_quorum"]:
                return str(seen["leader"])
        return None

    def agent(self, site: str) -> Json | None:
        """Its own word about the group."""
        connection = http.client.HTTPConnection("127.0.0.1", LOCAL, timeout=LOOK_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            with self.net.inside(SITES[site][0]):
                connection.connect()
            connection.request("GET", "/status")
            groups = json.loads(connection.getresponse().read())["groups"]
            return next((dict(one) for one in groups if one["group"] == GROUP), None)
        return None


def record_of(layout: Layout, host: str) -> Json:
    """What the guard of that host wrote about itself; empty without one."""
    for path in Path(layout.root / host / "run").glob(f"{GROUP}*.guard"):
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(path.read_bytes()))
    return {}
