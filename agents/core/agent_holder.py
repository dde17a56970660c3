"""What a holder tells the witnesses beside its heartbeats: sealed keys of its licenses, and the release of an epoch.

A part of agents/core/agent.py. A release waits for the last sealed keys (agents/core/licenses.py), because the site
that is granted next starts with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agents.core.agent_link import Agent
from agents.core.agent_permits import SitePermits
from agents.core.effects import Send
from agents.core.license import KeptKeys, Look
from agents.core.settings import AgentSettings
from agents.core.streams import StreamTable
from proto.clock import ClockReading
from proto.messages import EscrowPut, EscrowPutAnswer, EscrowValue, Release
from proto.units import Epoch, GroupId, Incarnation, LicenseName, Nonce


class HolderAgent(Agent, Protocol):
    """What this part of the agent uses of the whole."""

    settings: AgentSettings
    incarnation: Incarnation
    streams: StreamTable
    _tokens: Callable[[], bytes]


class SiteHolder(SitePermits):
    # -- what the shell saw, sealed and kept ------------------------------------------------------------------

    def license_looked(
        self: Agent,
        group: GroupId,
        name: LicenseName,
        look: Look,
        problem: str,
        epoch: Epoch,
        now: ClockReading,
        *,
        reseal: bool = False,
    ) -> None:
        self._begin(now)
        self.groups[group].licenses.looked(name, look, problem, epoch, reseal=reseal)
        self._work(now)

    def license_looked_last(self: Agent, group: GroupId, name: LicenseName, now: ClockReading) -> None:
        self._begin(now)
        self.groups[group].licenses.last_look.looked(name)
        self._work(now)

    def license_probed(
        self: Agent, group: GroupId, name: LicenseName, activated: bool | None, problem: str, now: ClockReading
    ) -> None:
        self._begin(now)
        found = self.groups[group]
        found.licenses.probed(name, activated, problem)
        if activated:
            found.license_active(name)
        self._work(now)

    def license_sealed(
        self: Agent, group: GroupId, name: LicenseName, kept: KeptKeys, problem: str, now: ClockReading
    ) -> None:
        self._begin(now)
        self.groups[group].licenses.sealed(name, kept, problem)
        self._work(now)

    def license_kept(
        self: Agent, group: GroupId, name: LicenseName, kept: KeptKeys, problem: str, now: ClockReading
    ) -> None:
        self._begin(now)
        self.groups[group].licenses.stored(name, kept, problem)
        self._work(now)

    # -- the witnesses ----------------------------------------------------------------------------------------

    def _escrow_heard(self: Agent, message: EscrowPutAnswer | EscrowValue) -> None:
        group = self.groups.get(message.group)
        if group is None:
            return
        if isinstance(message, EscrowPutAnswer):
            group.licenses.answered(message)
        else:
            group.licenses.value(message.item)

    def _send_puts(self: HolderAgent, now: ClockReading) -> None:
        """One of a group at a time: its answer brings the next."""
        route = self.streams.best()
        for name, group in self.groups.items():
            group.licenses.may_put = route is not None and group.under_permit is None
            if route is None or not group.licenses.configured or not group.licenses.may_put:
                continue
            due = group.licenses.due(now.boottime_ns)
            if due is None:
                continue
            message = EscrowPut(
                site=self.settings.site,
                incarnation=self.incarnation,
                group=name,
                claim=due.claim,
                license=due.license,
                sealed=due.sealed,
                nonce=Nonce(self._tokens()),
            )
            self._effects.append(Send(route.witness, message, route.via))

    def _send_releases(self: HolderAgent, now: ClockReading) -> None:
        route = self.streams.best()
        for name, group in self.groups.items():
            release = group.end.due(now) if group.licenses.settled(now.boottime_ns) else None
            if release is None or route is None:
                continue
            message = Release(
                site=self.settings.site,
                incarnation=self.incarnation,
                group=name,
                epoch=release.epoch,
                claim=release.claim,
                kind=release.kind,
                text=release.text,
                nonce=Nonce(self._tokens()),
            )
            self._effects.append(Send(route.witness, message, route.via))
