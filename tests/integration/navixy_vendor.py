"""The vendor of the stand-in for Navixy: a license key that changes with every exchange, usable once and in one place.

A platform hands in the key that it has and gets the next one, at each of its starts and again and again while it runs.
Whoever hands in an older key, or the newest one beside an instance that is alive, makes the license dead for good, as
the real vendor would; the test's referee reads `violations`. It knows nothing of sites, leases and epochs.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ALIVE_S = 1.0
"""An instance that was heard this long ago counts as running, unless it said that it ended."""


@dataclass(slots=True)
class Vendor:
    """In the test's loop; `url` once it is started."""

    key: str
    exchanges: int = 0
    activations: list[tuple[str, str]] = field(default_factory=list)
    """(site, instance) of each start that was let through, in order."""
    violations: list[str] = field(default_factory=list)
    dead: bool = False
    url: str = ""
    _former: set[str] = field(default_factory=set)
    _instance: str = ""
    _heard_s: float = 0.0
    _runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application(client_max_size=4_096)
        app.router.add_post("/exchange", self._exchange)
        app.router.add_post("/alive", self._alive)
        app.router.add_post("/ended", self._ended)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _lives(self) -> bool:
        """The instance that was let in last runs, as far as the vendor can tell."""
        return bool(self._instance) and time.monotonic() - self._heard_s < ALIVE_S

    def _violated(self, words: str) -> web.Response:
        self.violations.append(words)
        self.dead = True
        return self._refused()

    @staticmethod
    def _refused() -> web.Response:
        return web.json_response({"error": "this license is no longer valid"}, status=403)

    async def _exchange(self, request: web.Request) -> web.Response:
        said: dict[str, Any] = await request.json()
        site, instance, key = str(said["site"]), str(said["instance"]), str(said["key"])
        if self.dead:
            return self._refused()
        if key != self.key:
            return self._violated(f"{'old' if key in self._former else 'unknown'} key from {site}")
        if instance != self._instance:
            if self._lives():
                return self._violated(f"second instance at {site}")
            self.activations.append((site, instance))
        self._former.add(self.key)
        self.key = secrets.token_hex(12)
        self.exchanges += 1
        self._instance, self._heard_s = instance, time.monotonic()
        return web.json_response({"key": self.key})

    async def _alive(self, request: web.Request) -> web.Response:
        said: dict[str, Any] = await request.json()
        if self.dead:
            return self._refused()
        if said["instance"] != self._instance:
            return self._violated(f"second instance at {said['site']}")
        self._heard_s = time.monotonic()
        return web.json_response({})

    async def _ended(self, request: web.Request) -> web.Response:
        said: dict[str, Any] = await request.json()
        if said["instance"] == self._instance:
            self._instance = ""
        return web.json_response({})


async def until_exchanges(vendor: Vendor, count: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while vendor.exchanges < count:  # noqa: ASYNC110 - the platform is another process
            await asyncio.sleep(0.05)
