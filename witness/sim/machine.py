"""A simulated machine and the one agent process on it: what it has, how both live, and what reaches the process when.

Rule: an input reaches the process only while it runs; while it is stopped, inputs wait as they would in socket buffers
and pipes. Guards are other processes (witness.sim.guards) and go on. What is on the machine's disk survives a power
failure, what is in its runtime directory does not.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from agents.core.takeover import KeptIncarnation, Machine
from proto.units import Epoch, GroupId
from witness.sim.clock import NEVER_NS, MachineEvents, NodeClock
from witness.sim.guards import GuardPost
from witness.sim.guest import Guest
from witness.sim.platform import Platform
from witness.sim.surroundings import Disk, Surroundings

INBOX_MAX = 20_000


class Shell(Protocol):
    """One group on one machine: its guard, its platform, and whoever runs its plans."""

    @property
    def group(self) -> GroupId: ...
    @property
    def platform(self) -> Platform: ...
    @property
    def post(self) -> GuardPost: ...

    def runs(self) -> bool:
        """Something of the active role does."""

    def act(self) -> None: ...
    def agent_gone(self) -> None: ...
    def power_off(self) -> None: ...


class SimHost(ABC):
    """Owned by the world."""

    def __init__(self, name: str, clock: NodeClock, around: Surroundings, rng: random.Random) -> None:
        self.name = name
        self.clock = clock
        self.rng = rng
        self.events = MachineEvents(around.events)
        self.network = around.network
        self.judges = around.judges
        self.resource = around.resource
        self.hit = around.hit
        self.note = around.note
        self.parts = around.parts
        self.fitting = around.fitting
        self.disk = Disk()
        self.kept: KeptIncarnation | None = None
        """In the runtime directory: a power failure empties it."""
        self.stopped = False
        """SIGSTOP to the agent's process."""
        self.suspended = False
        """Nothing executes, in a suspend or under a hypervisor that stopped it."""
        self.off = False
        """Without power: no process begins until it is back."""
        self.retired = False
        """Its power is not to come back."""
        self.kept_off = False
        """An operator saw to it that it has no power, and keeps it so."""
        self.guest = Guest(self)
        self.generation = ""
        """Of the virtual machine, as its hypervisor tells it."""
        self.disturbed = 0
        """How often something kept the agent from its work."""
        self._life = 0
        self._suspended_ns = 0
        self._outages = 0
        self._inbox: list[Callable[[], None]] = []
        self._asleep: list[Callable[[], None]] = []
        self._armed_ns = NEVER_NS

    # -- what the agent's process is -----------------------------------------------------------------------

    @property
    @abstractmethod
    def groups(self) -> Mapping[GroupId, Shell]:
        """What this machine has of each group that it serves."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """There is a process of the agent, stopped or not."""

    @abstractmethod
    def start(self) -> None:
        """The agent's process begins, unless there is one: it takes over what a guard still holds, or starts cold."""

    @abstractmethod
    def process_gone(self, *, told: bool) -> None:
        """The process ended; `told`: its kernel closes its connections."""

    @abstractmethod
    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        """A guard that was prepared or armed says so."""

    def woken(self) -> None:  # noqa: B027  # most have nothing to do
        """It goes on, and has taken what waited for it."""

    def activates(self, group: GroupId, epoch: Epoch) -> None:
        """The first step of an activation is about to begin."""
        self.judges.begun(group, self.name, epoch)

    def probe(self, group: GroupId) -> None:
        """Somebody should look at the platform now."""
        del group

    # -- life ---------------------------------------------------------------------------------------------

    def machine(self) -> Machine:
        return Machine(f"boot-{self._outages}", self.generation)

    def crash(self) -> None:
        """SIGKILL to the agent's process alone."""
        if not self.alive:
            return
        self._process_dies(told=True)

    def _process_dies(self, *, told: bool) -> None:
        self.note(self.name, "agent is killed")
        self.disturbed += 1
        self.stopped = False
        self._inbox.clear()
        self.process_gone(told=told)
        for shell in self.groups.values():
            shell.agent_gone()

    def crash_and_restart(self, after_ns: int) -> None:
        """The next process is there soon, unless the machine goes down meanwhile."""
        outages = self._outages
        self.crash()
        self.events.after(after_ns, lambda: self.start() if outages == self._outages else None)

    def power_off(self) -> None:
        self.note(self.name, "power is off")
        self._outages += 1
        self.off = True
        if self.alive:
            self._process_dies(told=False)
        self._asleep.clear()
        self.guest.loses_power()
        if self.suspended:
            self._slept()
        for shell in self.groups.values():
            shell.power_off()
        self.guest.off()
        self.suspended = False
        self.kept = None

    def retire(self) -> None:
        """No power for good, whoever had meant to give it power again."""
        self.retired = True
        self.power_off()

    def power_on(self) -> None:
        if self.retired or self.kept_off:
            return
        self.off = False
        self.clock.reboot()
        self.start()

    def stop(self) -> None:
        self.disturbed += 1
        self.stopped = self.alive

    def go_on(self) -> None:
        if self.stopped:
            self.stopped = False
            self.drain()

    def freeze(self, *, frozen: bool) -> None:
        """SIGSTOP, later SIGCONT, to every process of the machine, guards included: only the kernel acts."""
        for shell in self.groups.values():
            shell.post.freeze(frozen=frozen)
        if frozen:
            self.stop()
        else:
            self.go_on()

    def suspend(self) -> None:
        """Nothing executes; BOOTTIME goes on. What does not execute is not active."""
        self.note(self.name, "suspends")
        self.disturbed += 1
        self.suspended = True
        self._suspended_ns = self.events.now_ns
        self.clock.suspend()
        for shell in self.groups.values():
            if shell.runs():
                self.judges.stands_still(shell.group, self.name)

    def _slept(self) -> None:
        for shell in self.groups.values():
            shell.post.hardware.slept(self.events.now_ns - self._suspended_ns)

    def resume(self) -> None:
        """The kernel's timers come before everything else; one that was frozen knows of no time that passed."""
        if self.guest.frozen:
            self.guest.thaw()
        if not self.suspended:
            return
        self.note(self.name, "resumes")
        self.clock.resume()
        self._slept()
        for shell in self.groups.values():
            shell.post.freeze(frozen=True)
            shell.post.advance()
        self.suspended = False
        for shell in self.groups.values():
            shell.post.hardware.goes_on()
            shell.post.freeze(frozen=self.stopped)
            if shell.runs():
                self.judges.goes_on(shell.group, self.name)
            shell.post.wake()
        self.drain()

    # -- inputs -------------------------------------------------------------------------------------------

    @property
    def runs(self) -> bool:
        return self.alive and not self.stopped and not self.suspended

    def do(self, action: Callable[[], None]) -> None:
        """Within the agent's process: now, when it goes on, or never when it is gone."""
        if self.runs:
            action()
        elif self.alive and len(self._inbox) < INBOX_MAX:
            self._inbox.append(action)

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        life = self._life
        self.guest.after(delay_ns, lambda: self.do(action) if life == self._life else None)

    def drain(self) -> None:
        while self._inbox and self.runs:
            self._inbox.pop(0)()
        while self._asleep and not self.suspended:
            self._asleep.pop(0)()
        if self.runs:
            self.woken()

    def in_a_thread(self, call: Callable[[], Any], told: Callable[[Any, Exception | None], None]) -> None:
        """A blocking call that reaches the disk a moment later, also when the process dies meanwhile; power ends it."""
        self.guest.after(
            self.rng.randint(1, self.disk.write_ns_max), partial(self._called, self._life, self._outages, call, told)
        )

    def _called(
        self, life: int, outages: int, call: Callable[[], Any], told: Callable[[Any, Exception | None], None]
    ) -> None:
        if outages != self._outages or (life != self._life and self.alive):
            return
        if self.suspended:
            self._asleep.append(partial(self._called, life, outages, call, told))
            return
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  # whoever waits for the thread is told
            told(None, error)
        else:
            told(result, None)

    # -- time ---------------------------------------------------------------------------------------------

    def rearm(self) -> None:
        """The clock changed its pace or leapt: timers that the kernel keeps follow it."""
        for shell in self.groups.values():
            shell.post.wake()
