"""An agent's and a member's own certificate: its end is told 30 days ahead, in the log, the status and a metric."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import structlog

from agents.local.status_text import status_view
from agents.member.process import Member
from agents.runtime.certificate_watch import CertificateWatch
from agents.runtime.supervisor import Agent
from agents.runtime.telemetry import Telemetry
from proto.clock import ManualClock
from proto.edge.tls import OwnCertificate
from proto.errors import BadValue
from proto.units import NS_PER_S

DAY_S = 86_400
CLUSTER = "0123456789abcdef0123456789abcdef"


class Rig:
    def __init__(self, days: float) -> None:
        self.clock = ManualClock()
        now_s = self.clock.wall_ns // NS_PER_S
        self.own = OwnCertificate(None, now_s + round(days * DAY_S))  # type: ignore[arg-type]  # nobody asks who
        self.problem: BadValue | None = None
        self.reloaded = 0
        self.telemetry = Telemetry(self.clock)
        log = structlog.stdlib.get_logger("test")
        self.watch = CertificateWatch(
            self._read, self._reload, "witness pki issue member db1.dc-a", self.clock, self.telemetry, log
        )

    def _read(self) -> OwnCertificate:
        if self.problem is not None:
            raise self.problem
        return self.own

    def _reload(self) -> None:
        self.reloaded += 1

    async def looked(self) -> None:
        task = asyncio.create_task(self.watch.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("days", "says"),
    [(31, ""), (29, "the certificate ends in 29.0 days: issue it again with 'witness pki"), (-1, "has ended")],
)
async def test_the_end_is_told_30_days_ahead_with_the_remedy(days: float, says: str) -> None:
    rig = Rig(days)
    await rig.looked()
    status = rig.watch.status()
    assert status["not_after_s"] == rig.own.not_after_s
    assert (says in str(status["problem"])) if says else status["problem"] == ""
    metric = rig.telemetry.registry.get_sample_value("thirdsite_agent_certificate_not_after_seconds")
    assert metric == rig.own.not_after_s


async def test_what_was_fine_at_the_start_is_told_when_time_has_passed() -> None:
    rig = Rig(40)
    await rig.looked()
    rig.clock.advance(11 * DAY_S * NS_PER_S)
    assert "ends in 29.0 days" in str(rig.watch.status()["problem"])


async def test_files_that_cannot_be_used_change_nothing() -> None:
    rig = Rig(20)
    rig.problem = BadValue("tls.cert", "x", "cannot be read", "copy it again")
    await rig.looked()
    rig.watch.reload()
    assert rig.reloaded == 0
    assert rig.watch.status() == {"not_after_s": None, "problem": ""}
    rig.problem = None
    rig.watch.reload()
    assert rig.reloaded == 1
    rig.own = replace(rig.own, not_after_s=rig.own.not_after_s + 300 * DAY_S)
    rig.watch.reload()
    assert rig.watch.status()["problem"] == ""


def test_agents_and_members_watch_theirs_alike() -> None:
    for kind in (Agent, Member):
        assert "_certificate" in kind.reload.__code__.co_names
        assert "_certificate" in kind.run.__code__.co_names


def test_the_status_for_people_says_so_first() -> None:
    view = {"site": "dc-a", "cluster": CLUSTER, "version": "1", "groups": [], "streams": []}
    shown = status_view(view | {"certificate": {"problem": "the certificate has ended"}})
    assert any("the certificate has ended" in str(part) for part in shown.renderables)
