"""A letter as a signed HTTP request, after the Standard Webhooks convention, and the plain pings of outside monitors.

Signed is `ID.TIMESTAMP.BODY` with HMAC-SHA256 under the target's secret: `webhook-id` (the idempotency key),
`webhook-timestamp` (seconds; receivers refuse what is older than they like) and `webhook-signature` (`v1,` and base64).
docs/reference/notifications.md has the check in a few lines of Python; a test runs it.

Redirects are not followed: a signed letter goes where it was addressed. Nothing of the answer but its status is used.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from witness.core.notify.settings import Means, Way
from witness.notify.port import TOLD, Report, Unusable, read_address, read_secret

USER_AGENT: Final = "thirdsite-notify/1"
AGAIN: Final = frozenset({408, 421, 425, 429})
"""Besides every 5xx: another attempt may help."""
_PREFIX: Final = b"whsec_"


def signing_key(secret: bytes) -> bytes:
    """`whsec_` and base64, as the convention writes secrets, or any bytes as they are."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise Unusable("secret_file begins with whsec_ and is not base64 behind it: write it anew") from error


def signed_headers(key: str, timestamp_s: int, body: bytes, secret: bytes) -> dict[str, str]:
    signed = f"{key}.{timestamp_s}.".encode() + body
    mac = base64.b64encode(hmac.digest(signing_key(secret), signed, hashlib.sha256)).decode()
    return {"webhook-id": key, "webhook-timestamp": str(timestamp_s), "webhook-signature": f"v1,{mac}"}


class WebhookDelivery:
    """`wall_s`: the calendar, in seconds since 1970; receivers compare it with their own."""

    def __init__(self, wall_s: Callable[[], int]) -> None:
        self._wall_s = wall_s

    async def deliver(self, way: Way, letter: dict[str, Any]) -> Report:
        try:
            address, body, headers, context = self._request(way, letter)
        except Unusable as unusable:
            return Report(ok=False, again=True, text=str(unusable))
        method = "GET" if way.means == Means.GET.value else "POST"
        try:
            async with (
                asyncio.timeout(way.timeout_ms / 1_000),
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.request(
                    method, address, data=body, headers=headers, ssl=context, allow_redirects=False
                ) as answer,
            ):
                return _report(answer.status)
        except TimeoutError:
            return Report(ok=False, again=True, text=f"no answer within {way.timeout_ms} ms")
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError) as error:
            return Report(ok=False, again=True, text=_words(error))

    def _request(
        self, way: Way, letter: dict[str, Any]
    ) -> tuple[str, bytes | None, dict[str, str], ssl.SSLContext | bool]:
        address = read_address(way)
        if not address.startswith(("https://", "http://")):
            raise Unusable("the address does not begin with https:// or http://: write the whole address")
        headers = {"User-Agent": USER_AGENT}
        body: bytes | None = None
        if way.means != Means.GET.value:
            body = json.dumps(letter, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
            headers |= {"Content-Type": "application/json", "Idempotency-Key": str(letter["id"])}
            if way.secret_file:
                secret = read_secret(way.secret_file, "secret_file")
                headers |= signed_headers(str(letter["id"]), self._wall_s(), body, secret)
        try:
            context = ssl.create_default_context(cafile=way.ca) if way.ca else True
        except (OSError, ssl.SSLError) as error:
            raise Unusable("ca cannot be used: give a readable file of PEM certificates") from error
        return address, body, headers, context


def _report(status: int) -> Report:
    if 200 <= status < 300:
        return TOLD
    if 300 <= status < 400:
        return Report(ok=False, text=f"HTTP status {status}: redirects are not followed, write the final address")
    return Report(ok=False, again=status >= 500 or status in AGAIN, text=f"HTTP status {status}")


def _words(error: Exception) -> str:
    """Without the address: tokens stand in it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the receiver's certificate does not hold"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is not a URL"
    return f"the request failed ({type(error).__name__})"
