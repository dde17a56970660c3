"""Carries other sites' streams to the witnesses: the asked end of a relay (docs/adr/0017-relay-by-tunnel.md).

Rules. A tunnel leads to a witness of this agent's own configuration, at the address that stands there, and nowhere
else. It is opened, and goes on, only while this site hears the witnesses itself over a direct stream. One for each
asking site and witness: a newer one replaces the older, because the asker knows better that the old one is dead.
Inside runs the asker's own TLS: this end sees sizes and times, and could cut it, which it could at any rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from agents.settings import Endpoint
from agents.site_link.shovel import Shovel
from agents.site_link.wire import Wire, words
from proto.edge.logs import get_logger
from proto.errors import RemoteFault
from proto.site_codec import SITE_ANSWERS
from proto.site_messages import RelayOpened, RelayRefusal, RelayRefused
from proto.units import SiteId, WitnessId

CONNECT_S = 2.0
LOOK_S = 0.5

log = get_logger("agents.site_link")


class NotCarried(RemoteFault):
    def __init__(self, refused: RelayRefused) -> None:
        super().__init__(refused.text)
        self.refused = refused


class Carrier:
    """Owned by the link's endpoint."""

    def __init__(self, witnesses: Mapping[WitnessId, Endpoint], carries: Callable[[], bool]) -> None:
        self.opened = 0
        self.refused = 0
        self._witnesses = witnesses
        self._carries = carries
        self._told: dict[tuple[SiteId, WitnessId], RelayRefusal] = {}
        """What was refused last, and logged: an outage of hours must not fill the log."""
        self._tunnels: dict[tuple[SiteId, WitnessId], tuple[asyncio.Task[None], Shovel]] = {}

    def status(self) -> list[dict[str, Any]]:
        return [
            {"site": site, "witness": witness, "bytes": shovel.bytes_carried}
            for (site, witness), (_, shovel) in sorted(self._tunnels.items())
        ]

    async def carry(self, site: SiteId, witness: WitnessId, asker: Wire) -> None:
        """Until the tunnel's end. Raises NotCarried before anything was carried, or one of wire.ENDS."""
        there = await self._reach(site, witness)
        try:
            await asker.send(SITE_ANSWERS.encode(RelayOpened(witness)))
        except BaseException:
            there.close()
            raise
        shovel = Shovel(asker, there)
        task = asyncio.create_task(shovel.run(), name=f"tunnel of {site} to {witness}")
        key = (site, witness)
        former = self._tunnels.get(key)
        self._tunnels[key] = (task, shovel)
        if former is not None:
            former[0].cancel()
        self.opened += 1
        self._told.pop(key, None)
        log.info("relay_opened", site=site, witness=witness)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if self._tunnels.get(key, (None,))[0] is task:
                del self._tunnels[key]
            log.info("relay_closed", site=site, witness=witness, bytes=shovel.bytes_carried)

    async def _reach(self, site: SiteId, witness: WitnessId) -> Wire:
        address = self._witnesses.get(witness)
        if address is None:
            text = f"the agent asked knows no witness {witness}: compare `witnesses` of both sites' configurations"
            raise self._refuse(site, witness, RelayRefusal.UNKNOWN_WITNESS, text)
        if not self._carries():
            text = "it has had no answer of a witness over a stream of its own within a renewal period"
            raise self._refuse(site, witness, RelayRefusal.NOT_HEARD, text)
        try:
            async with asyncio.timeout(CONNECT_S):
                return Wire(*await asyncio.open_connection(address.host, address.port))
        except OSError as error:
            text = f"it does not reach {witness} at {address}: {words(error)}"
            raise self._refuse(site, witness, RelayRefusal.UNREACHABLE, text) from error

    def _refuse(self, site: SiteId, witness: WitnessId, refusal: RelayRefusal, text: str) -> NotCarried:
        self.refused += 1
        if refusal is not RelayRefusal.UNKNOWN_WITNESS and self._told.get((site, witness)) is not refusal:
            self._told[site, witness] = refusal
            log.info("relay_refused", site=site, witness=witness, why=refusal.value)
        return NotCarried(RelayRefused(witness, refusal, text[:400]))

    async def watch(self) -> None:
        """Ends every tunnel when this site hears no witness any more; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._tunnels and not self._carries():
                log.warning("relays_end", why="this site itself hears no witness any more", tunnels=len(self._tunnels))
                self.end_all()

    def end_all(self) -> None:
        for task, _ in self._tunnels.values():
            task.cancel()
