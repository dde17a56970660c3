"""Who is told in a run: a mail catcher, a webhook's server and a chat that apprise talks to, in a process of their own.

    license_receivers.py ADDRESS RECORD PORT PORT PORT      mail, hook, chat

Everything that arrives is appended to RECORD as one JSON object a line: when (wall clock, as the ledger's), by which
way, and the numbers of the ledger's entries that it tells of.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

INTEGRATION = Path(__file__).resolve().parents[2] / "integration"
if str(INTEGRATION) not in sys.path:
    sys.path.insert(0, str(INTEGRATION))  # there are no packages in tests/
from notify_servers import HttpReceiver, MailReceiver, http_receiver, mail_receiver  # noqa: E402  # after the line above

ENTRY = re.compile(r"\(#(\d+) [a-z-]+\)")
"""How words for people name an entry."""
WAYS = ("mail", "hook", "chat")


def entries_of(text: str) -> list[int]:
    return [int(number) for number in ENTRY.findall(text)]


class NotedMail(list[Any]):
    """The receiver appends what it took."""

    def __init__(self, note: Any) -> None:
        super().__init__()
        self._note = note

    def append(self, mail: Any) -> None:
        self._note("mail", entries_of(mail.get_content()))


class NotedRequests(list[Any]):
    def __init__(self, way: str, note: Any) -> None:
        super().__init__()
        self._way, self._note = way, note

    def append(self, request: tuple[dict[str, str], bytes]) -> None:
        _, body = request
        if body:
            self._note(self._way, list(_told(json.loads(body))))


def _told(letter: dict[str, Any]) -> Iterator[int]:
    if "events" in letter:
        yield from (event["seq"] for event in letter["events"])
    else:
        yield from entries_of(letter.get("message", ""))


async def serve(address: str, record: Path, ports: list[int]) -> None:
    with record.open("w", encoding="utf-8") as file:

        def note(way: str, entries: list[int]) -> None:
            at_ms = time.time_ns() // 1_000_000
            file.write(json.dumps({"at_ms": at_ms, "way": way, "entries": entries}) + "\n")
            file.flush()

        async with AsyncExitStack() as stack:
            mail: MailReceiver = await stack.enter_async_context(mail_receiver(address, ports[0]))
            mail.mails = NotedMail(note)
            for way, port in zip(WAYS[1:], ports[1:], strict=True):
                made: HttpReceiver = await stack.enter_async_context(http_receiver(address, port))
                made.requests = NotedRequests(way, note)
            note("ready", [])
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
