"""The seam between an agent and what ends its platform: one guard, of one group, for one life.

Rule: a guard is armed with absolute deadlines of this host's BOOTTIME and acts on them alone. Nothing runs in it
without an armed deadline. `Down` is the only word that means "everything protected is verified dead"; whatever
else happens (an error, a silent guard, a dead one) means "not known", and an agent that does not know releases
nothing. A guard that went down is spent: the next activation starts a new one.
A guard outlives the process of its agent: while it is armed the next process may take it over, one at a time.
Bodies: agents.fencing.guard_client.GuardHandle (real), agents.fencing.memory.MemoryGuard (simulated time).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from proto.errors import ThirdsiteError


class Containment(Enum):
    PID_NAMESPACE = "pid-namespace"
    USER_PID_NAMESPACE = "user+pid-namespace"
    PROCESS_GROUP = "process-group"
    """Weaker: what is killed must be found by a process that runs."""


@dataclass(frozen=True, slots=True)
class Step:
    """One program under the guard. `timeout_ms` 0 means: as long as the lease."""

    step_id: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_path: Path
    cwd: Path = Path("/")
    timeout_ms: int = 0


class StepEnd(Enum):
    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    NOT_STARTED = "not-started"
    GUARD_DOWN = "guard-down"
    """The guard ended everything, this step included, before the step ended by itself."""


@dataclass(frozen=True, slots=True)
class StepResult:
    step_id: str
    end: StepEnd
    exit_code: int | None = None
    signal: int | None = None
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.end is StepEnd.EXITED and self.exit_code == 0


STOPPED = "stop"
"""The cause of an end that was asked for with a grace."""


class DownBy(Enum):
    """Whose act was proven."""

    GUARD = "guard"
    KERNEL = "kernel"
    """The guard's own timer, or its death for another reason, took everything with it."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of the ladder: when it began, counted from when the end had begun, and what it found, if anything.

    The last one before the proof is the one that ended the platform.
    """

    name: str
    after_ms: int
    found: str = ""


@dataclass(frozen=True, slots=True)
class HeldResource:
    """An address or ports with a lifetime in the kernel, as the guard's keeper saw them last."""

    name: str
    gone_by_ns: int
    """At the latest, on this host's BOOTTIME, if nobody extends it; 0 when it could not be held."""
    problem: str


@dataclass(frozen=True, slots=True)
class Down:
    """Everything that the guard protected is verified dead."""

    cause: str
    duration_ms: int
    by: DownBy
    rungs: tuple[Rung, ...] = field(default=(), compare=False)

    @property
    def stopped(self) -> bool:
        """A stop that was asked for, and neither a deadline nor the kernel, ended what was left."""
        return self.by is DownBy.GUARD and self.cause == STOPPED


@dataclass(frozen=True, slots=True)
class GuardStatus:
    phase: str
    containment: Containment
    note: str
    highest_epoch: int
    epoch: int | None
    deadline_ns: int | None
    floor_ns: int | None
    steps: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """What is required of this host and cannot be had: the site is not ready."""
    ladder: tuple[str, ...] = ()
    """The rungs that can be had here, in their order."""
    rungs: tuple[Rung, ...] = ()
    resources: tuple[HeldResource, ...] = ()
    privileges: Mapping[str, bool] = field(default_factory=dict)
    holder: str = ""
    """The incarnation that it is bound to, hex; '' for none."""
    term_at_ns: int | None = None
    kill_at_ns: int | None = None
    since_ns: tuple[int, int, int] | None = None
    """BOOTTIME, MONOTONIC_RAW and the wall clock when it was armed last."""
    ended: tuple[StepResult, ...] = ()
    """The last steps that ended, for an agent that was not there to hear it."""


class GuardError(ThirdsiteError):
    """A guard could not be used as asked; nothing is known to be down."""


class GuardRefused(GuardError):
    """The guard refused the request and changed nothing; `code` is for machines."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"the guard refused: {code}: {text}")
        self.code = code


class GuardSilent(GuardError):
    """No answer within the bound; the deadline goes on to count in the kernel."""


class GuardGone(GuardError):
    """The guard is dead or spent, so the request has nobody to do it."""


class NotProvenDown(GuardError):
    """Something may still be alive; the agent must neither release nor activate."""


class Guard(Protocol):
    """Every wait is bounded. One owner; calls may overlap except that nothing follows `stop` or `fence`."""

    lacks: tuple[str, ...]
    """As of the last `arm`: what is required of this host and missing, and what could not be prolonged."""
    resources: tuple[HeldResource, ...]
    """As of the `arm` before the last: what the kernel holds for the group."""

    async def bind(self, holder: str) -> None:
        """To one incarnation, for life, before anything runs. Raises GuardRefused for a second one."""

    async def arm(self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        """Extends (same epoch) or replaces (higher epoch) the deadline. Raises GuardRefused."""

    async def run_step(self, step: Step) -> StepResult:
        """Until the step has ended; its daemons may live on under the guard."""

    async def outcome(self, step_id: str) -> StepResult | None:
        """Of a step that a former agent began: its result, waited for; None when the guard knows no such step."""

    async def cancel_step(self, step_id: str) -> None:
        """TERM, then KILL, to the step's process group."""

    async def stop(self, grace_ns: int) -> Down:
        """TERM to everything, KILL after the grace or at kill_at. Raises NotProvenDown."""

    async def fence(self) -> Down:
        """KILL to everything now. Raises NotProvenDown."""

    async def wait_down(self) -> Down:
        """For as long as it takes: the end by stop, fence, deadline or the guard's death."""

    async def status(self) -> GuardStatus: ...

    def let_go(self) -> None:
        """This process ends or becomes another: what runs goes on, and nothing here asks the guard for more."""
