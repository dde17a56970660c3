"""A look by one HTTP GET on a connection of its own: an expected status passes, redirects are answers.

The body is read up to a cap and thrown away: a service that cannot finish its own health page is not well.
"""

from __future__ import annotations

import asyncio

import aiohttp

from agents.probes.base import ProbeResult

BODY_BYTES_MAX = 64 * 1024
HEADER_BYTES_MAX = 16 * 1024


class HttpProbe:
    def __init__(self, url: str, statuses: tuple[int, ...], timeout_ms: int, *, verify_tls: bool = True) -> None:
        self._url = url
        self._statuses = frozenset(statuses)
        self._timeout_s = timeout_ms / 1_000
        self._verify_tls = verify_tls
        self._session: aiohttp.ClientSession | None = None

    async def look(self) -> ProbeResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get()
        except TimeoutError:
            return ProbeResult(passed=False, detail="no answer within its timeout")
        except aiohttp.ClientConnectorError as error:
            return ProbeResult(passed=False, detail=(error.strerror or "cannot connect")[:80].lower())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return ProbeResult(passed=False, detail=f"no proper answer: {type(error).__name__}")

    async def _get(self) -> ProbeResult:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=1, force_close=True, ssl=self._verify_tls)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                headers={"User-Agent": "thirdsite-probe"},
            )
        async with self._session.get(self._url, allow_redirects=False) as response:
            if response.status not in self._statuses:
                return ProbeResult(passed=False, detail=f"status {response.status}")
            left = BODY_BYTES_MAX
            async for chunk in response.content.iter_chunked(4_096):
                left -= len(chunk)
                if left < 0:
                    return ProbeResult(passed=False, detail=f"body above {BODY_BYTES_MAX} bytes")
            return ProbeResult(passed=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
