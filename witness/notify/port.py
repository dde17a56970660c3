"""One way out: a letter is handed over, and what became of it comes back within the way's time limit.

Bodies: webhook.py (also the pings of monitors), command.py, apprise_body.py, and memory.py for tests. All of them run
in a process of their own (worker.py), so that nothing of a slow receiver, a library or a secret is in a witness.

Rule for `text`: it goes into the ledger, so it holds no address, no secret and nothing that the other side said. What
helps whoever sets a target up goes into `detail`, which is shown to him alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from witness.core.notify.settings import Way

SECRET_BYTES_MAX: Final = 8 * 1024
DETAIL_CHARS_MAX: Final = 400
_OTHERS_READ: Final = 0o004


@dataclass(frozen=True, slots=True)
class Report:
    ok: bool
    again: bool = False
    """It was not taken, and another attempt may help."""
    text: str = ""
    detail: str = ""


TOLD: Final = Report(ok=True)


class Delivery(Protocol):
    async def deliver(self, way: Way, letter: dict[str, Any]) -> Report:
        """Never raises for what a receiver does; `letter` is what Letter.to_json made."""


class Unusable(Exception):
    """A file of the configuration cannot be used; the text names the field, the rule and the remedy."""


def read_secret(path: str, field: str) -> bytes:
    """The content of a secret's file without the line end. Raises Unusable; the content is in no error."""
    try:
        with Path(path).open("rb") as stream:
            mode, data = Path(path).stat().st_mode, stream.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise Unusable(f"{field} cannot be read ({error.strerror}): make it readable for the witness") from error
    if mode & _OTHERS_READ:
        raise Unusable(f"{field} is readable by everybody: chmod o-rwx it")
    if len(data) > SECRET_BYTES_MAX:
        raise Unusable(f"{field} has more than {SECRET_BYTES_MAX} bytes: is this the right file?")
    secret = data.strip()
    if not secret:
        raise Unusable(f"{field} is empty: put the secret in")
    return secret


def read_address(way: Way) -> str:
    """The one address of `url` or `url_file`. Raises Unusable."""
    if way.url:
        return way.url
    lines = [line.strip() for line in read_secret(way.url_file, "url_file").decode("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if len(found) != 1:
        raise Unusable(f"url_file has {len(found)} addresses: one a file; make a target of each")
    return found[0]
