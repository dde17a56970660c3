"""Runs every probe at its own pace: never overlapping with itself, none waiting for another.

Rule: a look that has not ended within its deadline is a failed look, reported then; the next one starts only when
the hanging one is really over, and until then each interval reports a failure. The first looks are spread by a
jitter that is passed in, so that a hundred groups do not all look in the same millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agents.probes.base import Probe, ProbeResult
from proto.units import GroupId

HANG_GRACE_S = 0.25
"""Probes keep their own timeout; only one that does not is cut off here."""
END_S = 1.5
"""For a cancelled look to end what it started."""
FIRST_LOOK_SPREAD_S = 0.1
"""At most this much later than the start: readiness must not wait for a whole interval."""


@dataclass(frozen=True, slots=True)
class ScheduledProbe:
    group: GroupId
    name: str
    probe: Probe
    interval_ms: int
    timeout_ms: int


Sink = Callable[[GroupId, str, ProbeResult], None]
"""Takes each result; must not raise and must not wait."""


class ProbeSchedule:
    def __init__(self, probes: tuple[ScheduledProbe, ...], sink: Sink, jitter: Callable[[], float]) -> None:
        """`jitter` gives numbers in [0, 1)."""
        self._probes = probes
        self._sink = sink
        self._jitter = jitter

    async def run(self) -> None:
        """Until cancelled; then every probe is closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for scheduled in self._probes:
                    spread = min(FIRST_LOOK_SPREAD_S, scheduled.interval_ms / 1_000)
                    tasks.create_task(
                        self._keep_looking(scheduled, spread * self._jitter()),
                        name=f"probe {scheduled.group}/{scheduled.name}",
                    )
                await asyncio.get_running_loop().create_future()  # also with nothing to look at
        finally:
            for scheduled in self._probes:
                await scheduled.probe.close()

    async def _keep_looking(self, scheduled: ScheduledProbe, start_delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        interval_s = scheduled.interval_ms / 1_000
        next_at = loop.time() + start_delay_s
        hanging: asyncio.Task[ProbeResult] | None = None
        try:
            while True:
                await asyncio.sleep(max(0.0, next_at - loop.time()))
                next_at = max(next_at + interval_s, loop.time())
                if hanging is not None and not hanging.done():
                    self._sink(scheduled.group, scheduled.name, _HUNG)
                    continue
                hanging = asyncio.create_task(scheduled.probe.look())
                result = await _within(hanging, scheduled.timeout_ms / 1_000 + HANG_GRACE_S)
                self._sink(scheduled.group, scheduled.name, result)
        finally:
            if hanging is not None and not hanging.done():
                hanging.cancel()
                await asyncio.wait({hanging}, timeout=END_S)


_HUNG = ProbeResult(passed=False, detail="the look hangs")


async def _within(look: asyncio.Task[ProbeResult], limit_s: float) -> ProbeResult:
    done, _ = await asyncio.wait({look}, timeout=limit_s)
    if not done:
        look.cancel()
        return _HUNG
    if look.cancelled():
        return _HUNG
    return look.result()
