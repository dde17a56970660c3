"""Which cluster witnessctl speaks to: a small YAML file, named by --config or THIRDSITE_CTL, one file a cluster.

witnesses: ["w1.example.net:7410", "w2.example.net:7410", "w3.example.net:7410"]
ca: ca.pem
cert: ann.pem
key: ann.key
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from proto.edge.config_file import ConfigModel, load_config
from proto.edge.config_types import ConfigAddress, ConfigPath
from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate
from proto.limits import WITNESSES_MAX
from witness.ctl.client import ClusterClient
from witness.ctl.errors import Misconfigured

ENVIRONMENT = "THIRDSITE_CTL"
DEFAULTS = (Path("~/.config/thirdsite/ctl.yaml"), Path("/etc/thirdsite/ctl.yaml"))
EXAMPLE = 'witnesses: ["w1.example.net:7410", ...], ca, cert and key (paths)'


class CtlConfig(ConfigModel):
    witnesses: tuple[ConfigAddress, ...] = Field(
        min_length=1, max_length=WITNESSES_MAX, examples=['["w1.example.net:7410"]']
    )
    ca: ConfigPath = Field(examples=["ca.pem"])
    cert: ConfigPath = Field(examples=["ann.pem"])
    key: ConfigPath = Field(examples=["ann.key"])


def config_path(given: Path | None) -> Path:
    """--config, else the environment, else the first default that exists."""
    named = given or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if named is not None:
        return named
    found = next((path.expanduser() for path in DEFAULTS if path.expanduser().is_file()), None)
    if found is None:
        places = " or ".join(str(path) for path in DEFAULTS)
        raise Misconfigured(
            f"no cluster is named; give --config FILE, set {ENVIRONMENT}=FILE, or write {places} with {EXAMPLE}"
        )
    return found


def connect(given: Path | None, budget_s: float) -> ClusterClient:
    """Raises ConfigRefused or BadValue for what is wrong with the file or the certificate."""
    config = load_config(config_path(given), CtlConfig)
    files = TlsFiles(config.ca, config.cert, config.key)
    own = own_certificate(files)
    context = client_context(files, accepting(own.identity, Role.WITNESS))
    return ClusterClient(config.witnesses, context, budget_s=budget_s)
