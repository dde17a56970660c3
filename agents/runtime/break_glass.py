"""An operator's permit on its way into the core: the phrase, the signature, then the rules of agents/core.

The signature is checked by the agent, whoever brought the permit, and off its loop: the library is loaded only then.
"""

from __future__ import annotations

import asyncio

from agents.runtime.driver import Driver
from proto.edge.logs import get_logger
from proto.errors import BadValue
from proto.permit import Permit, confirmation
from proto.units import GroupId

log = get_logger("agents.break_glass")


class BreakGlass:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def use(self, group: GroupId, text: str, phrase: str) -> str:
        """'' when the permit is taken, else why not, with the remedy."""
        words = await self._use(group, text, phrase)
        if words:
            log.warning("permit_refused", group=group, why=words)
        return words

    async def _use(self, group: GroupId, text: str, phrase: str) -> str:
        core = self._driver.agent
        found = core.groups.get(group)
        if found is None:
            return f"this agent serves no group {group}: it has {', '.join(core.groups)}"
        known = found.sites
        if known is None or not known.permits.enabled:
            return (
                f"{group} takes no permits here: its configuration has no break_glass, or this agent never heard of it"
            )
        others = tuple(site for site in known.sites if site != core.settings.site)
        wanted = confirmation(group, core.settings.site, others)
        if phrase.strip() != wanted:
            return f"the phrase is not the one that was asked for: '{wanted}'"
        try:
            permit = await asyncio.to_thread(_verify, text, known.permits.key)
        except BadValue as error:
            return str(error)
        log.warning("permit_confirmed", group=group, permit=permit.permit.hex(), epoch=permit.epoch, phrase=wanted)
        return self._driver.break_glass(group, permit)

    def end(self, group: GroupId) -> str:
        log.warning("permit_end_asked", group=group)
        return self._driver.end_break_glass(group)


def _verify(text: str, key: str) -> Permit:
    from proto.edge.permit_file import verify_permit  # noqa: PLC0415 - cryptography is loaded for this alone

    return verify_permit(text, key)
