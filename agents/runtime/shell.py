"""What surrounds the driver in a real process: streams, store, telemetry; and the status put together from all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agents.client.streams import WitnessStreams
from agents.components.held import Around, component_rows
from agents.core.effects import Effect, KeepAuthority, KeepSealed, LookAtKey, SealKey, StorePermit, StorePromise
from agents.core.license import KeptKeys
from agents.fencing.exec_registry import ExecRegistry
from agents.holds_store import HoldsStore
from agents.incarnations import Incarnations
from agents.permit_files import PermitFiles
from agents.runtime.driver import Driver
from agents.runtime.take_over import Keeper
from agents.runtime.telemetry import Telemetry, resident_bytes
from agents.settings import SiteSettings
from agents.site_link.build import Sites
from agents.site_link.port import SiteAsk, SiteSays
from agents.store import AgentStore
from proto.invariants import unreachable
from proto.messages import AgentMessage, GroupSites
from proto.units import Epoch, GroupId, Incarnation, LicenseName, SiteId, WitnessId

if TYPE_CHECKING:
    from agents.license.room import LicenseRoom, LicenseSink


class AgentShell:
    """Implements agents.runtime.driver.Shell. The streams come after the driver that they report to."""

    def __init__(
        self,
        store: AgentStore,
        incarnations: Incarnations,
        holds: HoldsStore,
        permits: PermitFiles,
        telemetry: Telemetry,
        keeper: Keeper,
    ) -> None:
        self.streams: WitnessStreams | None = None
        self.sites: Sites | None = None
        self.licenses: LicenseRoom | None = None
        """None where no license is configured: what seals is loaded for them alone."""
        self._keeper = keeper
        self._permits = permits
        self._store = store
        self._incarnations = incarnations
        self._holds = holds
        self._telemetry = telemetry

    def send(self, witness: WitnessId, message: AgentMessage, via: SiteId | None) -> bool:
        return self.streams is not None and self.streams.send(witness, message, via)

    def keep_relays(self, witnesses: tuple[WitnessId, ...]) -> None:
        if self.streams is not None:
            self.streams.keep_relays(witnesses)

    def ask_site(self, site: SiteId, request: SiteAsk) -> bool:
        return self.sites is not None and self.sites.ask(site, request)

    def answer_site(self, site: SiteId, answer: SiteSays) -> bool:
        return self.sites is not None and self.sites.answer(site, answer)

    def reopen_streams(self) -> None:
        if self.streams is not None:
            self.streams.reopen()

    def store_bounds(self, group: GroupId, bound: Epoch, finished: Epoch) -> None:
        self._store.store_bounds(group, bound, finished)

    def note_incarnation(self, incarnation: Incarnation) -> None:
        self._incarnations.begin(incarnation)

    def store_promise(self, effect: StorePromise) -> Mapping[LicenseName, KeptKeys]:
        room = self.licenses
        changed = {} if room is None else room.keep_promised(effect.group, effect.escrow)
        self._holds.store_promise(effect.group, effect.promise)
        return changed

    async def seal_key(self, effect: SealKey) -> tuple[KeptKeys, str]:
        if self.licenses is None:
            unreachable(f"nobody keeps the license of {effect}")
        return await self.licenses.seal(effect)

    async def look_at_key(self, effect: LookAtKey, sink: LicenseSink) -> None:
        if self.licenses is not None:
            await self.licenses.look_now(effect, sink)

    async def keep_sealed(self, effect: KeepSealed) -> tuple[KeptKeys, str]:
        if self.licenses is None:
            unreachable(f"nobody keeps the license of {effect}")
        return await self.licenses.keep(effect)

    def store_sites(self, group: GroupId, sites: GroupSites) -> None:
        self._holds.store_sites(group, sites)

    def store_permit(self, effect: StorePermit) -> None:
        self._permits.store(effect.group, effect.record)

    def keep_authority(self, incarnation: Incarnation, effect: KeepAuthority) -> None:
        self._incarnations.begin(incarnation)  # once more, where it could not be noted before
        self._keeper.keep(incarnation, effect)

    def told(self, effect: Effect) -> None:
        self._telemetry.told(effect)


def full_status(
    driver: Driver, streams: WitnessStreams, registry: ExecRegistry, telemetry: Telemetry, settings: SiteSettings
) -> dict[str, Any]:
    """The core's view, and beside it what only the shell knows."""
    view = driver.status()
    known = streams.status()
    for stream in view["streams"]:
        stream.update(known.get(stream["witness"], {}))
    seen = {stream["witness"]: stream for stream in view["relay"]["streams"]}
    view["relay"]["streams"] = [{**seen.get(one["witness"], {}), **one} for one in streams.relayed_status()]
    view["exec_guards"] = [
        {
            "pid": one.pid,
            "group": one.group,
            "connected": one.connected,
            "running": one.running,
            "containment": one.containment,
            "epoch": one.epoch_armed,
        }
        for one in registry.status()
    ]
    specs = {group.group: group for group in settings.groups}
    for group in view["groups"]:
        execs = [one for one in view["exec_guards"] if one["group"] == group["group"]]
        spec = specs[group["group"]]
        around = Around(
            containment=group["containment"],
            execs=execs,
            outside=spec.ladder.outside,
            timed=bool(spec.resources.addresses or spec.resources.ports),
            watchdog=bool(spec.ladder.watchdog),
        )
        group["components"] = component_rows(spec.components, around)
    view["told"] = list(telemetry.words)
    view["resident_bytes"] = int(resident_bytes())
    return view
