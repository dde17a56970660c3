"""A license on its site, as plain values: where its current key lies, how it is restored, what seals and what tells.

Checked by agents/config_license.py: what a kind of place needs is there, everything else is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from proto.license import EscrowPolicy
from proto.units import ClusterId, GroupId, LicenseName, SiteId

STEP_PREFIX = "license-"
"""Of the steps that a license becomes; no step of the configuration begins so."""
VARIABLE = "THIRDSITE_LICENSE_SPEC"
"""What those steps are told in."""
VALUE_BYTES_MAX = 3_200
"""A key in clear: sealed, with what tells its predecessors, it must fit proto.license.BOX_BYTES_MAX."""


class PlaceKind(Enum):
    SQL = "sql"
    """MySQL or MariaDB."""
    FILE = "file"
    COMMAND = "command"


class WhenUnknown(Enum):
    """What is done with a key in place that is no version which this site knows (docs/adr/0022)."""

    REFUSE = "refuse"
    KEEP = "keep"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class PlaceSpec:
    """Where a key is read from, or written to."""

    kind: PlaceKind
    timeout_ms: int
    path: Path | None = None
    command: tuple[str, ...] = ()
    """As a source it prints the key; as a sink it reads it from its standard input."""
    statement: str = ""
    """As a source a query of one value; as a sink a statement with one %s."""
    host: str = ""
    port: int = 3306
    socket: str = ""
    user: str = ""
    password_file: Path | None = None
    ca: Path | None = None
    """Given: TLS, and the server's certificate must be of this authority."""


@dataclass(frozen=True, slots=True)
class SiteLicense:
    name: LicenseName
    escrow: EscrowPolicy
    source: PlaceSpec | None
    """None where nothing is kept in escrow."""
    sink: PlaceSpec | None
    key_file: Path | None
    activate: tuple[str, ...] = ()
    deactivate: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    """Exits with 0 when the license is activated here, with 1 when it is not."""
    probe_ms: int = 5_000
    timeout_ms: int = 5_000
    """Of the probe, and of the deactivation outside of a plan."""
    step_timeout_ms: int = 30_000
    """Of each step that the license becomes."""
    lock_delay_ms: int = 0
    watch_ms: int = 1_000
    size_min: int = 1
    size_max: int = VALUE_BYTES_MAX
    pattern: str = ""
    restore_after: str = ""
    """The activation step after which the key is restored; '' for first."""
    unknown: WhenUnknown = WhenUnknown.REFUSE

    @property
    def keeps(self) -> bool:
        return self.escrow is not EscrowPolicy.NONE

    @property
    def required(self) -> bool:
        return self.escrow is EscrowPolicy.REQUIRED

    @property
    def restore_step(self) -> str:
        return f"{STEP_PREFIX}{self.name}"

    @property
    def check_step(self) -> str:
        return f"{STEP_PREFIX}{self.name}-check"

    @property
    def activate_step(self) -> str:
        return f"{STEP_PREFIX}{self.name}-activate"

    @property
    def deactivate_step(self) -> str:
        return f"{STEP_PREFIX}{self.name}-deactivate"


@dataclass(frozen=True, slots=True)
class StepTask:
    """What a license's step is told, as JSON: paths and names, no key and no password."""

    cluster: ClusterId
    site: SiteId
    group: GroupId
    state_dir: Path
    license: SiteLicense
