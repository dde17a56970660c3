"""`witness check`: what `witness run` would refuse, found before a restart depends on it; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proto.clock import SystemClock
from proto.edge.tls import TlsFiles, own_certificate
from proto.units import NS_PER_S
from witness.config import load_witness_config
from witness.raft.store import STORE_NAME
from witness.runtime.identity import require_own


def check_witness(config: Path) -> Iterator[str]:
    """Yields what is right; raises ThirdsiteError for the first thing that is not."""
    settings = load_witness_config(config)
    yield f"configuration   {config}: witness {settings.witness} of {', '.join(settings.members)}"
    own = own_certificate(TlsFiles(settings.tls.ca, settings.tls.cert, settings.tls.key, settings.tls.crl))
    require_own(own, settings)
    days = own.days_left(SystemClock().read().wall_ns / NS_PER_S)
    yield f"certificate     {settings.tls.cert}: {own.identity}, {days:.0f} days left"
    made = (settings.data_dir / STORE_NAME).exists()
    words = "there (its content is verified at the start)"
    if not made:
        words = f"run `witness init -c {config}` once; if this witness had a disk before, `witness readmit` instead"
    yield f"data directory  {settings.data_dir}: {words}"
