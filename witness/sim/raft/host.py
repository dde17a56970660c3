"""One machine with one witness: runs the member's turns as witness.raft.syncobj does, in simulated time.

Rule: a turn takes time (its share of the processor, what its disk took), and while it lasts, or while the process is
stopped, whatever arrives waits. Its messages leave when it ends, so a crash may fall between the commit and the
sending. What the process raises ends it; what that means is for the watcher to judge.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from proto.units import WitnessId
from witness.raft.port import ProposalRefused
from witness.sim.clock import NEVER_NS, Events, NodeClock
from witness.sim.raft.network import Network
from witness.sim.raft.subject import Drive, Links, Member, Outbox, PowerLost
from witness.sim.raft.wire import Socket

WAITING_MAX = 50_000
Start = Callable[["Host"], Member]


class Watch(Protocol):
    """Who is told what happens; the checkers stand behind it."""

    def started(self, host: Host) -> None: ...
    def turned(self, host: Host, outbox: Outbox, began_ns: int) -> None:
        """A turn is over and its messages are about to leave."""

    def sent_early(self, host: Host, outbox: Outbox) -> None:
        """Messages leave in the middle of a turn, before its sync."""

    def ended(self, host: Host, error: BaseException | None) -> None:
        """The process is gone; `error` is what it raised, None for a blow from outside."""

    def note(self, who: str, what: str) -> None: ...
    def hit(self, kind: str) -> None: ...


class Host:
    """Implements witness.sim.raft.network.Endpoint."""

    def __init__(
        self,
        name: WitnessId,
        drive: Drive,
        events: Events,
        network: Network,
        clock: NodeClock,
        start: Start,
        watch: Watch,
        rng: random.Random,
        cpu_ns: int,
        *,
        early: bool = False,
        witness: WitnessId | None = None,
    ) -> None:
        self.name = name
        """Of the machine."""
        self.witness = witness or name
        """Whose disk and certificate it has; two machines may have the same, when one is a copy."""
        self.drive = drive
        self.clock = clock
        self.member: Member | None = None
        self.stopped = False
        self.cpu_ns = cpu_ns
        """What a turn takes besides its disk."""
        self._early = self._send_early if early else None
        self.refusal: str | None = None
        """What the peer said that refused this witness last, since its disk was put in."""
        self.dies_sending: int | None = None
        """The power fails at the end of the next turn that has messages, when so many of them have left."""
        self.events = events
        self.network = network
        self._start = start
        self.watch = watch
        self._rng = rng
        self._links: Links | None = None
        self._waiting: list[Callable[[], None]] = []
        self._busy = False
        self.busy_since_ns: int | None = None
        """When the turn that lasts began."""
        self._under_way: Callable[[], None] | None = None
        self._over_ns = 0
        self._woken = False
        self.life = 0
        """Counts processes: what was meant for one never reaches the next."""
        self._armed_ns = NEVER_NS
        network.attach(name, self)

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.member is not None:
            return
        self.life += 1
        self._busy, self._woken, self._armed_ns = False, False, NEVER_NS
        try:
            self.member = self._start(self)
        except PowerLost:
            self._end(None, power=False)
            return
        except BaseException as error:  # noqa: BLE001  # the watcher judges it
            self._end(error, power=True)
            return
        self._links = self.member.links(self)
        self.watch.note(self.name, "starts")
        self.watch.started(self)
        self._busy = True
        self.events.after(self.drive.spent_ns(), partial(self._up, self.life))

    def _up(self, life: int) -> None:
        """The first turn is on disk before the first peer is heard (D-26)."""
        if life == self.life and self.member is not None:
            self._busy = False
            self._turn(life)
            if self.member is not None:
                self.network.process_started(self.name)

    def kill(self) -> None:
        """The process ends without a word (kill -9); the machine stays on."""
        if self.member is not None:
            self.watch.note(self.name, "is killed")
            self._end(None, power=True)

    def power_off(self) -> None:
        if self.member is not None:
            self.watch.note(self.name, "loses power")
            self._end(None, power=False)

    def stop(self) -> bool:
        """SIGSTOP; True when it ran."""
        if self.member is None or self.stopped:
            return False
        self.watch.note(self.name, "is stopped")
        self.stopped = True
        return True

    def go_on(self, life: int) -> None:
        if self.stopped and life == self.life:
            self.watch.note(self.name, "goes on")
            self.stopped = False
            self._work_off()

    def _end(self, error: BaseException | None, *, power: bool) -> None:
        self.life += 1
        self.member, self._links, self.stopped, self._busy = None, None, False, False
        self.busy_since_ns = None
        self.dies_sending = None
        self._waiting.clear()
        self.network.process_ended(self.name, power=power)
        if power:
            self.drive.process_ended()
        else:
            self.drive.power_lost(self._rng)
            self.clock.reboot()
        self.watch.ended(self, error)

    def fell(self, error: BaseException) -> None:
        """The process raised this, and is gone."""
        if self.member is None:
            return
        if isinstance(error, PowerLost):
            self.power_off()
        else:
            self._end(error, power=True)

    def _guarded(self, action: Callable[[], Any]) -> bool:
        """True when the process survived it."""
        life = self.life
        try:
            action()
        except BaseException as error:  # noqa: BLE001  # the process ends, and the watcher judges
            self.fell(error)
        return life == self.life

    # -- Endpoint --------------------------------------------------------------------------------------------

    def do(self, action: Callable[[], None]) -> None:
        if self.member is None:
            return
        if self._busy or self.stopped:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(action)
            return
        self._guarded(action)

    def do_soon(self, action: Callable[[], None]) -> None:
        """In a later step of the process, at the earliest instant."""
        self.events.at(self.events.now_ns, partial(self._if_alive, self.life, action))

    def _if_alive(self, life: int, action: Callable[[], None]) -> None:
        if life == self.life:
            self.do(action)

    def connected(self, socket: Socket) -> None:
        if self._links is not None:
            self._links.connected(socket)

    def received(self, socket: Socket, data: bytes) -> None:
        if self._links is not None:
            self._links.received(socket, data)

    def hung_up(self, socket: Socket) -> None:
        if self._links is not None:
            self._links.hung_up(socket)

    def look_after(self, socket: Socket) -> None:
        if self._links is not None:
            self._links.look_after(socket)

    def note(self, what: str) -> None:
        self.watch.note(self.name, what)

    # -- turns -----------------------------------------------------------------------------------------------

    def propose(self, command: bytes) -> None:
        self.do(partial(self._propose, command))

    def _propose(self, command: bytes) -> None:
        if self.member is not None:
            try:
                self.member.propose(command)
            except ProposalRefused:
                self.watch.note(self.name, "refuses a proposal")
            self.wake()

    def wake(self) -> None:
        """A turn is due at once; all that comes at this very instant shares it."""
        if not self._woken and not self._busy and self.member is not None:
            self._woken = True
            self.events.at(self.events.now_ns, partial(self._turn, self.life))

    def _turn(self, life: int) -> None:
        if life != self.life or self._busy:
            return
        self._woken = False
        member = self.member
        if member is None or self.stopped:
            return
        began_ns = self.events.now_ns
        outbox: Outbox = {}
        self.busy_since_ns = began_ns
        self._busy = True  # what is put into the store within the turn wakes nobody: the turn writes it
        try:
            outbox = member.turn(self.clock.now(), self._unsent_bytes(), self._early)
        except BaseException as error:  # noqa: BLE001  # the process ends, and the watcher judges
            self.fell(error)
            return
        took_ns = self.cpu_ns + self.drive.spent_ns()
        self._under_way = partial(self._flush, life, outbox, began_ns)
        self._over_ns = self.events.now_ns + took_ns
        self.events.at(self._over_ns, partial(self._end_turn, self._under_way))

    def _end_turn(self, flush: Callable[[], None]) -> None:
        if flush is self._under_way:
            self._under_way = None
            flush()

    def disk_is_quick(self, at_most_ns: int) -> None:
        """The turn that lasts was charged with all its operations when it began: what is left of it is not slow."""
        if self._under_way is not None and self._over_ns > self.events.now_ns + at_most_ns:
            self.events.after(at_most_ns, partial(self._end_turn, self._under_way))

    def _flush(self, life: int, outbox: Outbox, began_ns: int) -> None:
        """The turn is over: what it has to say leaves."""
        member = self.member
        if life != self.life or member is None:
            return
        self._busy, self.busy_since_ns = False, None
        self.watch.turned(self, outbox, began_ns)
        if outbox and self.dies_sending is not None:
            self._send_part(outbox, self.dies_sending)
            return
        self._send(outbox)
        member.took(self.events.now_ns - began_ns)
        if self._guarded(member.finish):
            self._work_off()

    def turn_now(self) -> None:
        """A turn at once: something has to be on disk before the process goes on. What it raises goes up."""
        member = self.member
        if member is not None:
            began_ns = self.events.now_ns
            outbox = member.turn(self.clock.now(), self._unsent_bytes(), self._early)
            self.watch.turned(self, outbox, began_ns)
            self._send(outbox)
            member.finish()

    def _unsent_bytes(self) -> dict[WitnessId, int]:
        return {} if self._links is None else self._links.unsent_bytes()

    def _send(self, outbox: Outbox) -> None:
        if self._links is not None:
            for peer, messages in outbox.items():
                self._links.send(peer, messages)

    def _send_early(self, outbox: Outbox) -> None:
        """In the middle of a turn: its disk has still to work, and may fail."""
        self.watch.sent_early(self, outbox)
        self._send(outbox)

    def _send_part(self, outbox: Outbox, count: int) -> None:
        for peer, messages in outbox.items():
            leaving = messages[:count]
            count -= len(leaving)
            if leaving:
                self._send({peer: leaving})
        self.watch.hit("power-at-send")
        self.power_off()

    def _work_off(self) -> None:
        """What arrived in the meantime, then the next turn."""
        life = self.life
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            if life == self.life:
                self.do(action)
        if life == self.life:
            self._arm()

    def _arm(self) -> None:
        member = self.member
        if member is None or self.stopped or self._busy:
            return
        if member.wants_turn():
            self.wake()
        if self._woken:
            return
        at_ns = max(self.clock.true_at(member.next_deadline_ns()), self.events.now_ns)
        if at_ns < self._armed_ns:
            self._armed_ns = at_ns
            self.events.at(at_ns, partial(self._due, self.life, at_ns))

    def rearm(self) -> None:
        """The clock was changed."""
        self._armed_ns = NEVER_NS
        self._arm()

    def _due(self, life: int, at_ns: int) -> None:
        if life != self.life or at_ns != self._armed_ns:
            return
        self._armed_ns = NEVER_NS
        member = self.member
        if member is None or self.stopped or self._busy or self._woken:
            return
        if member.next_deadline_ns() <= self.clock.now():
            self._turn(life)
        else:
            self._arm()
