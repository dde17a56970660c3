"""A component that runs outside of every guard: a unit or a database that an activation's last step starts or promotes.

Three may end it: the deactivation's step, the rung of the guard's ladder that kills its control group, and the agent's
proof that nothing is left, which is the real one (agents.actions.proof), as is the look at it while the site is
dormant (agents.components.watching). None of them acts while a whole site is stopped: only resources bound it then.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
from collections.abc import Callable, Coroutine
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agents.actions.parts import RunnerParts
from agents.actions.plans import GroupPlans
from agents.actions.proof import AGAIN_S, DownProof
from agents.actions.runner import PROOF_S
from agents.components.memory import MemoryComponent, Running
from agents.components.spec import ComponentRole
from agents.components.watching import INTERVAL_MS, ComponentProbe
from agents.fencing.cgroup import Cgroup
from proto.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from witness.sim.plans import GroupShell
    from witness.sim.site import SiteHost

LOOK_EVERY_NS = INTERVAL_MS * NS_PER_MS
AGAIN_NS = round(AGAIN_S * NS_PER_S)
SETTLE_TRIES = round(PROOF_S / AGAIN_S)
HEED_NS = 500 * NS_PER_MS
"""From a look to the end of what it found."""


T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """For what awaits nothing but memory: it is done when it returns, and no time passes."""
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def _done(work: Coroutine[Any, Any, T]) -> T:
    return _loop().run_until_complete(work)


class SimComponent(MemoryComponent):
    def __init__(self, role: ComponentRole, told: Callable[[bool], None], clung: Callable[[], None]) -> None:
        """`told`: it is in the active role now, or out of it; `clung`: somebody tried to end it, in vain."""
        super().__init__("shop-db", role)
        self._told = told
        self._clung = clung
        self.disturbed = 0
        """How often somebody began it, or changed whether it clings."""
        if self.spec.dual_role:
            self.now = Running.STANDBY

    def cling(self, words: str) -> None:
        """'': no longer."""
        self.disturbed += 1
        self.clings = words

    def begins(self) -> None:
        """Started or promoted, by whomever."""
        self._is(Running.ACTIVE)

    def rests(self) -> None:
        if self.clings and self.now is Running.ACTIVE:
            self._clung()
        else:
            self.killed()

    def killed(self) -> None:
        """Dead; a dual-role one is started again as a standby by its manager, which is all the same here."""
        self._is(Running.STANDBY if self.spec.dual_role else Running.DOWN)

    def _is(self, now: Running) -> None:
        was, self.now = self.now, now
        if (was is Running.ACTIVE) is not (now is Running.ACTIVE):
            self._told(now is Running.ACTIVE)


class ComponentGroup(Cgroup):
    """Its control group, as the guard's ladder sees it."""

    def __init__(self, component: SimComponent) -> None:
        super().__init__("/simulated")
        self._component = component

    def populated(self) -> bool:
        return self._component.now is Running.ACTIVE

    def kill(self) -> None:
        self._component.rests()
        if self._component.clings:
            raise OSError(errno.EIO, self._component.clings)

    def thaw(self) -> None: ...


class ComponentCare:
    """What a group's activation starts outside of its guard, and what the agent does about it."""

    def __init__(self, host: SiteHost, shell: GroupShell, component: SimComponent | None) -> None:
        self._host = host
        self._shell = shell
        self._component = component
        if component is None:
            return
        plans = SimpleNamespace(components=(component,))
        self._proof = DownProof(cast("GroupPlans", plans), cast("RunnerParts", None))
        self._probe = ComponentProbe(component, self)

    @property
    def active(self) -> bool:
        return self._component is not None and self._component.now is Running.ACTIVE

    @property
    def dormant(self) -> bool:
        return self._shell.dormant

    def begins(self) -> None:
        """By the last step of an activation."""
        if self._component is not None:
            self._component.begins()

    def rests(self) -> None:
        """By the step of a deactivation."""
        if self._component is not None:
            self._component.rests()

    def end(self) -> list[str]:
        """What was seen in the active role, and what stands against its end."""
        return [] if self._component is None else _done(self._proof.end_components())

    def watch(self) -> None:
        """From now on, as long as this process of the agent lives."""
        if self._component is not None:
            self._host.later(LOOK_EVERY_NS, self._look)

    def _look(self) -> None:
        found = not _done(self._probe.look()).passed
        platform = self._shell.platform
        if platform.component_found is not found:
            platform.component_found = found
            self._host.probe(self._shell.group)
        self.watch()

    def component_found(self, words: str) -> None:
        """As agents.actions.runner: it is ended, and looked at again until that is so."""
        self._host.hit("component-found")
        self._host.note(self._host.name, f"finds {words}")
        self._host.later(0, lambda: self._settle(SETTLE_TRIES))

    def _settle(self, tries: int) -> None:
        if self.dormant and self.end() and tries:
            self._host.later(AGAIN_NS, lambda: self._settle(tries - 1))

    # -- by hand, or by a restart policy ------------------------------------------------------------------

    def wakes(self) -> bool:
        """In the active role at a dormant site; the agent, when it runs, has a look's interval and a moment for it."""
        component, host = self._component, self._host
        if component is None or self.active or not self.dormant or not host.runs:
            return False
        component.begins()
        component.disturbed += 1

        def disturbances() -> tuple[int, int, int]:
            return host.disturbed, self._shell.plans_begun, component.disturbed

        before = disturbances()

        def judge() -> None:
            if disturbances() == before and self.active and not component.clings:
                host.judges.held.unheeded(self._shell.group, host.name)

        host.guest.after(LOOK_EVERY_NS + HEED_NS, judge)
        return True
