"""All licenses of one agent at work: watchers of the key in place, probes, and what the core asks to have sealed.

Rule: a value is read for one comparison or one sealing and is gone after it. A key is sealed only when it was read
while the site held the epoch with the newest key restored under it, before the read and after it: what lies in place
on a dormant or a fenced site is a copy of unknown age. A look that overlaps a change of the role says nothing.
One license's slow source delays no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from agents.core.effects import KeepSealed, LookAtKey, SealKey
from agents.core.lease_holder import NO_EPOCH
from agents.core.license import KeptKeys, Look
from agents.core.license_rules import InPlace
from agents.license.build import about, source_of
from agents.license.component import ProbeAnswer, ask_probe
from agents.license.keeper import KEY_FILE, OLD_KEY, LicenseKeeper
from agents.license.place import SOURCE_BAD_VALUE, PlaceFault, Source
from agents.license.spec import SiteLicense
from agents.license.stance import Stance
from proto.edge.logs import get_logger
from proto.errors import DurabilityLost
from proto.license import EscrowItem
from proto.units import ClusterId, Epoch, GroupId, LicenseName, SiteId

DORMANT_SLOWER = 5
"""A dormant site looks at its place this much less often: only to know later what came after what."""

log = get_logger("agents.license")


class LicenseSink(Protocol):
    """The driver: takes what was seen."""

    def license_looked(
        self, group: GroupId, name: LicenseName, look: Look, problem: str, epoch: Epoch, *, reseal: bool
    ) -> None: ...

    def license_probed(self, group: GroupId, name: LicenseName, activated: bool | None, problem: str) -> None: ...


class _One:
    """One license with what looks at it."""

    def __init__(self, keeper: LicenseKeeper, group: GroupId, environment: dict[str, str]) -> None:
        self.keeper = keeper
        self.group = group
        self.environment = environment
        spec = keeper.spec
        self.source: Source | None = None if spec.source is None else source_of(spec.source, environment)
        self.last_fault = ""
        self.probe = ProbeAnswer(None)
        self.reading = asyncio.Lock()
        """A source takes one call at a time; a last look waits for one that is under way."""

    async def read(self, source: Source) -> bytes | None:
        """Raises PlaceFault."""
        async with self.reading:
            return await source.read()


class LicenseRoom:
    """Owned by the agent."""

    def __init__(
        self,
        cluster: ClusterId,
        site: SiteId,
        state_dir: Path,
        licenses: Mapping[GroupId, tuple[SiteLicense, ...]],
        stance: Callable[[GroupId, LicenseName, str], Stance],
    ) -> None:
        self._ask_stance = stance
        self._all = {
            (group, one.name): _One(LicenseKeeper(cluster, group, one, state_dir), group, about(site, group, one))
            for group, specs in licenses.items()
            for one in specs
        }

    def kept(self) -> dict[GroupId, dict[LicenseName, KeptKeys]]:
        """As it is on disk, for the start of the core."""
        found: dict[GroupId, dict[LicenseName, KeptKeys]] = {}
        for (group, name), one in self._all.items():
            found.setdefault(group, {})[name] = one.keeper.kept()
        return found

    # -- what the core asks -----------------------------------------------------------------------------------

    async def seal(self, effect: SealKey) -> tuple[KeptKeys, str]:
        """What is kept now, and what kept the key from being sealed."""
        one = self._all[effect.group, effect.license]
        problem = await self._sealed(one, effect)
        return await asyncio.to_thread(one.keeper.kept), problem

    async def _sealed(self, one: _One, effect: SealKey) -> str:
        wanted = effect.version.epoch
        before = self._stance(one)
        if one.source is None or before.epoch != wanted:
            return ""
        try:
            value = await one.read(one.source)
        except PlaceFault as error:
            return self._fault(one, error)
        if self._stance(one) != before:
            return ""
        found = one.keeper.judge_shape(value)
        if found is not None or value is None:
            return "" if found is None else found.problem
        return await asyncio.to_thread(one.keeper.seal, value, effect.version)

    async def look_now(self, effect: LookAtKey, sink: LicenseSink) -> None:
        one = self._all[effect.group, effect.license]
        await self._look(one, self._stance(one), sink)

    async def keep(self, effect: KeepSealed) -> tuple[KeptKeys, str]:
        one = self._all[effect.group, effect.item.license]
        return await asyncio.to_thread(self._keep, one, effect.item)

    @staticmethod
    def _keep(one: _One, item: EscrowItem) -> tuple[KeptKeys, str]:
        try:
            problem = one.keeper.keep(item.sealed)
        except DurabilityLost as error:
            log.warning("sealed_key_not_stored", license=item.license, why=str(error))
            problem = "not-stored"
        return one.keeper.kept(), problem

    def keep_promised(self, group: GroupId, items: Iterable[EscrowItem]) -> dict[LicenseName, KeptKeys]:
        """Blocking; with a promise, and before it: raises DurabilityLost. What was kept, by its license."""
        changed = {}
        for item in items:
            one = self._all.get((group, item.license))
            if one is not None:
                one.keeper.keep(item.sealed)
                changed[item.license] = one.keeper.kept()
        return changed

    # -- watching ---------------------------------------------------------------------------------------------

    async def run(self, sink: LicenseSink) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for (group, name), one in self._all.items():
                    if one.source is not None:
                        tasks.create_task(self._watch(one, sink), name=f"license {group}/{name}")
                    if one.keeper.spec.probe:
                        tasks.create_task(self._probe(one, sink), name=f"license probe {group}/{name}")
                await asyncio.get_running_loop().create_future()
        finally:
            for one in self._all.values():
                if one.source is not None:
                    await one.source.close()

    async def _watch(self, one: _One, sink: LicenseSink) -> None:
        spec = one.keeper.spec
        while True:
            stance = self._stance(one)
            await self._look(one, stance, sink)
            slower = 1 if stance.epoch != NO_EPOCH else DORMANT_SLOWER
            await self._until_due(one, stance, spec.watch_ms * slower / 1_000)

    async def _until_due(self, one: _One, stance: Stance, wait_s: float) -> None:
        """A change of the role is looked at within an active site's interval."""
        step_s = min(wait_s, one.keeper.spec.watch_ms / 1_000)
        while wait_s > 0 and self._stance(one) == stance:
            await asyncio.sleep(step_s)
            wait_s -= step_s

    async def _look(self, one: _One, stance: Stance, sink: LicenseSink) -> None:
        spec = one.keeper.spec
        if one.source is None:
            return
        try:
            value = await one.read(one.source)
        except PlaceFault as error:
            problem = self._fault(one, error)
            if error.code == SOURCE_BAD_VALUE and self._stance(one) == stance:
                await asyncio.to_thread(one.keeper.saw, None)  # what is no key is none, as in a step
            sink.license_looked(one.group, spec.name, Look.FAILED, problem, stance.epoch, reseal=False)
            return
        one.last_fault = ""
        found, usable, reseal = await asyncio.to_thread(one.keeper.look, value)
        if self._stance(one) != stance:
            return
        if found.place is not InPlace.UNKNOWN:  # what comes behind an absent key followed nothing that was seen here
            await asyncio.to_thread(one.keeper.saw, found.version)
        look, problem = Look.FAILED, found.problem
        if not usable:
            problem = KEY_FILE
        elif found.place is InPlace.NEWEST:
            look = Look.SAME
        elif found.place is InPlace.UNKNOWN or (
            found.place is InPlace.OLDER and await asyncio.to_thread(one.keeper.accepted, value)
        ):
            look, problem = Look.CHANGED, ""  # of a former key an operator may say that it is the right one again
        elif found.place is InPlace.OLDER:
            problem = OLD_KEY if stance.epoch != NO_EPOCH else ""  # a replica may be behind
        sink.license_looked(one.group, spec.name, look, problem, stance.epoch, reseal=reseal)

    def _fault(self, one: _One, error: PlaceFault) -> str:
        if str(error) != one.last_fault:
            one.last_fault = str(error)
            log.warning("source", group=one.group, license=one.keeper.spec.name, why=str(error))
        return error.code

    async def _probe(self, one: _One, sink: LicenseSink) -> None:
        spec = one.keeper.spec
        while True:
            before = self._stance(one).role
            answer = await ask_probe(spec, one.environment)
            if self._stance(one).role == before:
                one.probe = answer
                sink.license_probed(one.group, spec.name, answer.activated, answer.problem)
            await asyncio.sleep(spec.probe_ms / 1_000)

    def _stance(self, one: _One) -> Stance:
        return self._ask_stance(one.group, one.keeper.spec.name, one.keeper.spec.restore_step)

    # -- what people see --------------------------------------------------------------------------------------

    def view(self, group: GroupId) -> dict[LicenseName, dict[str, object]]:
        """Versions, names and problems; never a key."""
        return {
            name: {
                "escrow": one.keeper.spec.escrow.value,
                "key_file": one.keeper.key_problem,
                "source": one.last_fault,
                "probe": one.probe.words,
            }
            for (owner, name), one in self._all.items()
            if owner == group
        }
