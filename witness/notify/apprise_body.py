"""A letter by way of apprise: mail, Slack, Telegram, Teams, ntfy, SMS gateways and a hundred more, by one address each.

The library is loaded when the first such target is told of something, and in the delivering process only; without it
such a target says what to install, and every other one works. It waits in threads: one that hangs beyond its time is
left alone, and when HUNG_MAX of them hang the process is ended and started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from proto.clock import Clock
from proto.edge.logs import get_logger
from proto.units import NS_PER_MS
from witness.core.notify.settings import Way
from witness.notify.port import DETAIL_CHARS_MAX, TOLD, Report, Unusable, read_address

MISSING: Final = "apprise is not installed for this witness: pip install 'thirdsite[notify]'"
HUNG_MAX: Final = 8
EXIT_HUNG: Final = 75
_SCRUBBED_MIN: Final = 4
log = get_logger(__name__)


def load() -> ModuleType:
    """Raises Unusable with the remedy."""
    try:
        import apprise  # noqa: PLC0415 - 30 MB that only some targets need
    except ImportError as error:
        raise Unusable(MISSING) from error
    # It logs addresses that it cannot load, tokens and all: what it says is captured for a test of the target alone.
    apprise.logger.propagate = False
    return apprise


def warm_up() -> None:
    """Loads the library and its services; in a thread. Without the library nothing is said yet."""
    with contextlib.suppress(Unusable):
        load().Apprise().add("json://localhost")


class AppriseDelivery:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hung = 0

    async def deliver(self, way: Way, letter: dict[str, Any]) -> Report:
        try:
            address = read_address(way)
        except Unusable as unusable:
            return Report(ok=False, again=True, text=str(unusable))
        until_ns = self._clock.now() + way.timeout_ms * NS_PER_MS
        running = asyncio.create_task(asyncio.to_thread(self._notify, address, letter, way.timeout_ms, until_ns))
        done, _ = await asyncio.wait({running}, timeout=way.timeout_ms / 1_000)
        if done:
            return running.result()
        self._hangs(running)
        return Report(ok=False, again=True, text=f"not delivered within {way.timeout_ms} ms")

    def _hangs(self, running: asyncio.Task[Report]) -> None:
        self._hung += 1
        if self._hung >= HUNG_MAX:
            log.error("deliveries_hang", count=self._hung, consequence="this process ends and is started anew")
            os._exit(EXIT_HUNG)

        def came_back(_: asyncio.Task[Report]) -> None:
            self._hung -= 1

        running.add_done_callback(came_back)

    def _notify(self, address: str, letter: dict[str, Any], timeout_ms: int, until_ns: int) -> Report:
        """In a thread: the library takes a second to load, and waits for receivers."""
        try:
            library = load()
        except Unusable as unusable:
            return Report(ok=False, again=True, text=str(unusable))
        asset = library.AppriseAsset(
            app_id="thirdsite",
            app_desc="thirdsite notifications",
            service_timeout=timeout_ms / 1_000,
            async_mode=False,
            allow_templates=False,
        )
        service = library.Apprise(asset=asset)
        with heard_here(library.logger) as heard:
            if not service.add(address):
                return Report(ok=False, text="apprise does not know such an address: see its list of services")
            if self._clock.now() >= until_ns:  # loading took so long: sent now, it would come twice
                return Report(ok=False, again=True, text="too late")
            try:
                ok = bool(
                    service.notify(
                        body=letter["text"],
                        title=letter["title"],
                        notify_type=_type(library, letter),
                        body_format="text",
                    )
                )
            except Exception as error:  # noqa: BLE001  # a plug-in of a third party; its words may hold the address
                return Report(ok=False, again=True, text=f"apprise failed ({type(error).__name__})")
        if ok:
            return TOLD
        scheme = address.partition("://")[0][:20]
        return Report(
            ok=False, again=True, text=f"{scheme}: not delivered", detail=scrubbed("; ".join(heard[-4:]), address)
        )


@contextlib.contextmanager
def heard_here(logger: logging.Logger) -> Iterator[list[str]]:
    """What it warns of in this thread: other deliveries run beside it, and theirs may hold their addresses."""
    heard: list[str] = []
    here = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                heard.append(record.getMessage())

    ear = Ear(level=logging.WARNING)
    logger.addHandler(ear)
    try:
        yield heard
    finally:
        logger.removeHandler(ear)


def _type(library: ModuleType, letter: dict[str, Any]) -> Any:
    if letter["over"]:
        return library.NotifyType.SUCCESS
    return {"critical": library.NotifyType.FAILURE, "warning": library.NotifyType.WARNING}.get(
        letter["severity"], library.NotifyType.INFO
    )


def scrubbed(text: str, address: str) -> str:
    """Without any part of the address that may be a secret."""
    parts = [address]
    for separator in "/:@?&=,;":
        parts = [piece for part in parts for piece in part.split(separator)]
    for part in sorted({address, *parts}, key=len, reverse=True):
        if len(part) >= _SCRUBBED_MIN:
            text = text.replace(part, "***")
    return text[:DETAIL_CHARS_MAX]
