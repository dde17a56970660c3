"""What `--keep` says: where everything listens, commands to copy, and how it ends."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from witness.demo.layout import GROUP, HOST, SITES
from witness.demo.show import Show
from witness.demo.world import World


def say_kept(world: World, show: Show) -> None:
    layout = world.layout
    home = layout.cluster.directory / "operator-demo"
    curl = f"curl --cacert {home}/ca.pem --cert {home}/cert.pem --key {home}/key.pem"
    show.title("It goes on running.")
    for name, witness in layout.witnesses.items():
        show.line(f"  witness {name}   https://{HOST}:{witness.api}   metrics http://{HOST}:{witness.metrics}/metrics")
    for name, site in layout.sites.items():
        show.line(f"  site {name}    platform http://{HOST}:{site.platform}/   for load balancers and status")
        show.line(f"               http://{HOST}:{site.local}/v1/groups/{GROUP}   http://{HOST}:{site.local}/status")
    show.line(f"  the vendor   http://{HOST}:{layout.license_port}/verdict?key=...   signs in {layout.signs_log}")
    show.line(f"  files        {layout.root}: pki/, groups.yaml, configurations, logs/")
    show.line("")
    api = f"https://{HOST}:{next(iter(layout.witnesses.values())).api}"
    show.line(f"  {curl} {api}/v1/groups/{GROUP}")
    show.line(f"  export THIRDSITE_CTL={layout.ctl}")
    program = _witnessctl()
    for arguments in (
        ("status", GROUP),
        ("events",),
        ("switchover", GROUP, "--to", SITES[0], "--reason", "trying it"),
        ("mode", GROUP, "manual", "--reason", "trying it"),
    ):
        show.line(f"  {program} {shlex.join(arguments)}")
    show.line("")
    show.line(f"  Ctrl-C here, or: kill {os.getpid()}   ends every process and removes {layout.root}")


def _witnessctl() -> str:
    """The installed command where there is one."""
    script = Path(sys.executable).with_name("witnessctl")
    return str(script) if script.exists() else f"{sys.executable} -m witness.ctl"
