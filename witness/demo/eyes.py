"""What the demo looks at: the referee, the witnesses, the sites' local endpoints and their platforms.

Each look is short and may fail; a story waits for a condition, with a bound, and tells what it saw last when the
condition did not come. Nothing that is seen here moves anything.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from proto.edge.identity import Role
from proto.edge.tls import OwnCertificate, TlsFiles, accepting, client_context, own_certificate
from witness.demo.layout import GROUP, HOST, KEY, Layout

LOOK_S = 1.0
POLL_S = 0.02
Json = dict[str, Any]
T = TypeVar("T")


class Expected(Exception):
    """What was expected did not come; the text says what, for how long, and what was seen instead."""


@dataclass(slots=True)
class Eyes:
    """Made by `open_eyes`; one session for plain HTTP, one with the operator's certificate."""

    layout: Layout
    plain: aiohttp.ClientSession
    secured: aiohttp.ClientSession
    own: OwnCertificate
    last_seen: dict[str, Any] = field(default_factory=dict)

    async def close(self) -> None:
        await self.plain.close()
        await self.secured.close()

    # -- the referee ----------------------------------------------------------------------------------------

    async def verdict(self, key: str = KEY) -> Json:
        return await self._json(self.plain, f"http://{HOST}:{self.layout.license_port}/verdict?key={key}")

    async def lives(self) -> list[Json]:
        return list((await self.verdict())["lives"])

    # -- the witnesses --------------------------------------------------------------------------------------

    async def summary(self, witness: str) -> Json | None:
        return await self._quiet(self.secured, f"{self._api(witness)}/v1/status")

    async def group(self) -> Json | None:
        """As a witness that leads, or failing that any that answers, sees it."""
        return await self._from_any(f"/v1/groups/{GROUP}")

    async def group_at(self, witness: str) -> Json | None:
        """As that witness sees it."""
        return await self._quiet(self.secured, f"{self._api(witness)}/v1/groups/{GROUP}")

    async def site(self, name: str) -> Json | None:
        group = await self.group()
        found = [] if group is None else [site for site in group["sites"] if site["site"] == name]
        return found[0] if found else None

    async def leader(self) -> str | None:
        for name in self.layout.witnesses:
            seen = await self.summary(name)
            if seen is not None and seen["leader"] in self.layout.witnesses and seen["has_quorum"]:
                return str(seen["leader"])
        return None

    async def events(self, after: int) -> list[Json]:
        found = await self._from_any(f"/v1/events?after={after}&limit=1000")
        return [] if found is None else list(found["events"])

    async def events_head(self) -> int:
        found = await self._from_any("/v1/events?limit=1")
        return 0 if found is None else int(found["head"])

    async def _from_any(self, path: str) -> Json | None:
        for name in await self._order():
            found = await self._quiet(self.secured, f"{self._api(name)}{path}")
            if found is not None:
                return found
        return None

    async def _order(self) -> list[str]:
        first = self.last_seen.get("witness")
        names = list(self.layout.witnesses)
        return sorted(names, key=lambda name: name != first)

    def _api(self, witness: str) -> str:
        return f"https://{HOST}:{self.layout.witnesses[witness].api}"

    # -- the sites ------------------------------------------------------------------------------------------

    async def agent(self, site: str) -> Json | None:
        """The agent's own word about the group, None while it does not answer."""
        found = await self._quiet(self.plain, f"http://{HOST}:{self.layout.sites[site].local}/status")
        groups = [] if found is None else [group for group in found["groups"] if group["group"] == GROUP]
        return groups[0] if groups else None

    async def page(self, site: str) -> str | None:
        """The platform's own page."""
        try:
            async with self.plain.get(f"http://{HOST}:{self.layout.sites[site].platform}/") as answer:
                return (await answer.text()).strip()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _quiet(self, session: aiohttp.ClientSession, url: str) -> Json | None:
        try:
            return await self._json(session, url)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    @staticmethod
    async def _json(session: aiohttp.ClientSession, url: str) -> Json:
        async with session.get(url) as answer:
            answer.raise_for_status()
            return dict(await answer.json())


def open_eyes(layout: Layout) -> Eyes:
    """Call it on the loop that will use it."""
    timeout = aiohttp.ClientTimeout(total=LOOK_S)
    home = layout.cluster.directory / "operator-demo"
    files = TlsFiles(ca=home / "ca.pem", cert=home / "cert.pem", key=home / "key.pem")
    own = own_certificate(files)
    context: ssl.SSLContext = client_context(files, accepting(own.identity, Role.WITNESS))
    return Eyes(
        layout,
        aiohttp.ClientSession(timeout=timeout),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15), connector=aiohttp.TCPConnector(ssl=context)),
        own,
    )


async def wait_for(what: str, look: Callable[[], Awaitable[T | None]], seconds: float) -> T:
    """The first look that is neither None nor False; raises Expected."""
    ends = time.monotonic() + seconds
    while True:
        seen = await look()
        if seen is not None and seen is not False:
            return seen
        if time.monotonic() >= ends:
            raise Expected(f"{what}: not within {seconds:.1f} s")
        await asyncio.sleep(POLL_S)
