"""The process's own certificate while it runs: read again by SIGHUP, looked at each hour, its end told 30 days ahead.

Rule: an end that nobody was told of is an outage of every connection at once, so it stands in the log, in the status
and in a metric. Files that cannot be used change nothing: connections go on with what was read last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agents.runtime.telemetry import Telemetry
from proto.clock import Clock
from proto.edge.tls import EXPIRY_WARNING_DAYS, OwnCertificate
from proto.errors import BadValue, RemoteFault
from proto.units import NS_PER_S

LOOK_S = 3_600.0


class CertificateWatch:
    """Owned by an agent's or a member's process."""

    def __init__(
        self,
        own: Callable[[], OwnCertificate],
        reload: Callable[[], None],
        issue: str,
        clock: Clock,
        telemetry: Telemetry,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """`own` reads and checks the files, `reload` has new connections use them; both raise BadValue or RemoteFault.

        `issue`: the command that makes a new certificate.
        """
        self._read, self._reload, self._issue = own, reload, issue
        self._clock = clock
        self._telemetry = telemetry
        self._log = log
        self._own: OwnCertificate | None = None

    def reload(self) -> None:
        """New connections show and check what the files hold now."""
        try:
            own = self._read()
            self._reload()
        except (BadValue, RemoteFault) as error:
            self._log.warning("certificates_kept", error=str(error))
            return
        self._look(own)
        self._log.info("certificates_reloaded", not_after_s=own.not_after_s)

    async def run(self) -> None:
        while True:
            try:
                self._look(self._read())
            except (BadValue, RemoteFault) as error:
                self._log.warning("certificate_files_unusable", error=str(error))
            await asyncio.sleep(LOOK_S)

    def _look(self, own: OwnCertificate) -> None:
        self._own = own
        self._telemetry.certificate.set(own.not_after_s)
        if words := self._words(own):
            self._log.warning("certificate_ends_soon", why=words)

    def _words(self, own: OwnCertificate) -> str:
        days = own.days_left(self._clock.read().wall_ns / NS_PER_S)
        if days >= EXPIRY_WARNING_DAYS:
            return ""
        when = f"ends in {days:.1f} days" if days > 0 else "has ended"
        return f"the certificate {when}: issue it again with '{self._issue}', copy the files, then send SIGHUP"

    def status(self) -> dict[str, object]:
        """For people and programs; `problem` is '' while nothing has to be done."""
        own = self._own
        if own is None:
            return {"not_after_s": None, "problem": ""}
        return {"not_after_s": own.not_after_s, "problem": self._words(own)}
