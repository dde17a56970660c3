"""What a lead has for its members, made from the settings: desk, endpoint, looks. Empty for a site of one host."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from agents.core.agent import SiteAgent
from agents.core.lease_holder import LeaseHolder
from agents.members.desk import MemberDesk
from agents.members.endpoint import MemberEndpoint
from agents.members.looks import member_looks
from agents.probes.schedule import ScheduledProbe
from agents.settings import SiteSettings
from proto.clock import Clock
from proto.edge.identity import Role
from proto.edge.logs import get_logger
from proto.edge.tls import OwnCertificate, TlsFiles, accepting, reload_files, server_context
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.units import Epoch, GroupId

log = get_logger("agents.members")


class Members:
    """Owned by the supervisor."""

    def __init__(
        self,
        settings: SiteSettings,
        core: SiteAgent,
        bounds: Mapping[GroupId, tuple[Epoch, Epoch]],
        taken_over: Collection[GroupId],
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        """`taken_over`: groups whose epoch goes on; of any other, whatever was ever begun here has to end."""
        over = {group: found[1] if group in taken_over else found[0] for group, found in bounds.items()}
        self.desk = MemberDesk(settings, over, clock, self._holder, self._known, spawn)
        self._settings = settings
        self._core = core
        self._clock = clock
        self._endpoint: MemberEndpoint | None = None
        self._context: ssl.SSLContext | None = None

    def _holder(self, group: GroupId) -> LeaseHolder:
        return self._core.groups[group].holder

    def _known(self, group: GroupId) -> LeaseConstants | None:
        return self._core.groups[group].known_constants

    def looks(self) -> tuple[ScheduledProbe, ...]:
        return member_looks(self._settings, self.desk, self._site, self._clock)

    def _site(self, group: GroupId) -> tuple[SiteState, Epoch]:
        found = self._core.groups[group]
        return found.state, found.holder.epoch

    async def start(self, files: TlsFiles, own: Callable[[], OwnCertificate]) -> None:
        """Raises BadValue or LocalFault. Where no member is configured nothing listens."""
        listen = self._settings.members_listen
        if listen is None:
            return
        self._context = server_context(files, accepting(own().identity, Role.MEMBER), _refused)
        self._endpoint = MemberEndpoint(
            self.desk, self._settings.cluster, self._settings.site, listen, self._context, self._clock
        )
        await self._endpoint.start()

    def reload(self, files: TlsFiles) -> None:
        if self._context is not None:
            reload_files(self._context, files)

    async def close(self) -> None:
        if self._endpoint is not None:
            await self._endpoint.close()


def _refused(why: str) -> None:
    log.warning("member_refused", why=why)
