"""A whole agent with components: what it finds up it ends before it may be granted, and again while it is dormant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from scripted_witness import ScriptedWitness
from test_agent_life import G, World, witness

from agents.components.spec import ComponentKind, ComponentRole, ComponentSpec
from agents.runtime.shell import full_status
from agents.settings import SiteSettings, StepSpec
from proto.health import SiteState

pytestmark = pytest.mark.process


class Site(World):
    """With a database that is a file: it is in the active role while the file is there."""

    @property
    def primary(self) -> Path:
        return self.dir / "primary"

    def settings(self, *witnesses: ScriptedWitness) -> SiteSettings:
        spec = ComponentSpec(
            name="db",
            kind=ComponentKind.DATABASE,
            role=ComponentRole.DUAL_ROLE,
            out_of_role=("/usr/bin/test", "!", "-e", str(self.primary)),
            standby_start=("/bin/true",),
            end=("/bin/sh", "-c", f"echo $THIRDSITE_GROUP >>{self.dir}/ended; rm -f {self.primary}"),
        )
        made = super().settings(*witnesses)
        (group,) = made.groups
        return dataclasses.replace(made, groups=(dataclasses.replace(group, components=(spec,)),))

    def ends(self) -> int:
        told = self.dir / "ended"
        return len(told.read_text().splitlines()) if told.exists() else 0


async def test_a_former_primary_is_taken_out_of_its_role_and_kept_out(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.primary.touch()
    async with witness(site) as w1, site.running(w1) as agent:
        await site.until_state(SiteState.STANDBY)
        assert site.ends() == 1
        await site.until(lambda: site.view()["ready"], "it is ready")
        site.primary.touch()  # somebody promotes it by hand
        await site.until(lambda: site.ends() == 2, "that is found and ended")
        await site.until(lambda: not site.primary.exists(), "it is out of its role")
        await site.until(lambda: site.view()["ready"], "it is ready again")
        shown = full_status(agent.driver, agent.streams, agent.registry, agent.telemetry, agent.settings)
        (row,) = shown["groups"][0]["components"]
        assert (row["name"], row["role"], row["held"]) == ("db", "dual-role", "ladder")
        assert G in (tmp_path / "ended").read_text()


async def test_promoted_by_a_step_it_is_out_of_its_role_when_the_lease_runs_out(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.activation = (StepSpec("promote", ("/usr/bin/touch", str(site.primary))),)
    async with witness(site) as w1, site.running(w1):
        await site.activate(7)
        assert site.primary.exists()
        assert site.ends() == 0
        w1.silent = True
        await site.until(lambda: not site.primary.exists(), "nothing took it out of its role")
        await site.until(lambda: site.view()["state"] in ("standby", "fenced"), "never proven down")
        assert site.ends() == 1
