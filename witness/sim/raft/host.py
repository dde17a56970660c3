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

from proto.errors import RemoteFault
from proto.units import WitnessId
from witness.raft.port import ProposalRefused
from witness.sim.clock import NEVER_NS, Events, NodeClock
from witness.sim.raft.network import Network
from witness.sim.raft.subject import Drive, Member, Outbox, PowerLost

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
        early: bool,
    ) -> None:
        self.name = name
        self.drive = drive
        self.clock = clock
        self.member: Member | None = None
        self.stopped = False
        self.cpu_ns = cpu_ns
        """What a turn takes besides its disk."""
        self._early = self._send_early if early else None
        self.dies_sending: int | None = None
        """The power fails at the end of the next turn that has messages, when so many of them have left."""
        self._events = events
        self._network = network
        self._start = start
        self._watch = watch
        self._rng = rng
        self._waiting: list[Callable[[], None]] = []
        self._busy = False
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
        self._watch.note(self.name, "starts")
        self._watch.started(self)
        self._busy = True
        self._events.after(self.drive.spent_ns(), partial(self._up, self.life))

    def _up(self, life: int) -> None:
        """The first turn is on disk before the first peer is heard (D-26)."""
        if life == self.life and self.member is not None:
            self._busy = False
            self._turn(life)
            if self.member is not None:
                self._network.process_started(self.name)

    def kill(self) -> None:
        """The process ends without a word (kill -9); the machine stays on."""
        if self.member is not None:
            self._watch.note(self.name, "is killed")
            self._end(None, power=True)

    def power_off(self) -> None:
        if self.member is not None:
            self._watch.note(self.name, "loses power")
            self._end(None, power=False)

    def stop(self) -> bool:
        """SIGSTOP; True when it ran."""
        if self.member is None or self.stopped:
            return False
        self._watch.note(self.name, "is stopped")
        self.stopped = True
        return True

    def go_on(self, life: int) -> None:
        if self.stopped and life == self.life:
            self._watch.note(self.name, "goes on")
            self.stopped = False
            self._work_off()

    def _end(self, error: BaseException | None, *, power: bool) -> None:
        self.life += 1
        self.member, self.stopped, self._busy = None, False, False
        self.dies_sending = None
        self._waiting.clear()
        self._network.process_ended(self.name, power=power)
        if power:
            self.drive.process_ended()
        else:
            self.drive.power_lost(self._rng)
            self.clock.reboot()
        self._watch.ended(self, error)

    def _guarded(self, action: Callable[[], Any]) -> bool:
        """True when the process survived it."""
        life = self.life
        try:
            action()
        except PowerLost:
            self.power_off()
        except RemoteFault:
            raise
        except BaseException as error:  # noqa: BLE001  # the process ends, and the watcher judges
            self._end(error, power=True)
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

    def hello(self, peer: WitnessId) -> Any:
        return self.member.hello(peer) if self.member is not None else None

    def admit(self, peer: WitnessId, hello: Any) -> None:
        if self.member is not None:
            self.member.admit(peer, hello)

    def peer_up(self, peer: WitnessId) -> None:
        if self.member is not None:
            self._watch.note(self.name, f"is connected with {peer}")
            self.member.link_up(peer)
            self.wake()

    def peer_down(self, peer: WitnessId) -> None:
        if self.member is not None:
            self._watch.note(self.name, f"loses the connection with {peer}")
            self.member.link_down(peer)
            self.wake()

    def peer_frames(self, peer: WitnessId, frames: list[bytes]) -> None:
        if self.member is not None:
            for frame in frames:
                self.member.receive(peer, frame)
            self.wake()

    def ping(self) -> Any:
        return None if self.member is None else self.member.ping()

    def pinged(self, peer: WitnessId, said: Any) -> None:
        if self.member is not None:
            self.member.pinged(peer, said)

    # -- turns -----------------------------------------------------------------------------------------------

    def propose(self, command: bytes) -> None:
        self.do(partial(self._propose, command))

    def _propose(self, command: bytes) -> None:
        if self.member is not None:
            try:
                self.member.propose(command)
            except ProposalRefused:
                self._watch.note(self.name, "refuses a proposal")
            self.wake()

    def wake(self) -> None:
        """A turn is due at once; all that comes at this very instant shares it."""
        if not self._woken and not self._busy and self.member is not None:
            self._woken = True
            self._events.at(self._events.now_ns, partial(self._turn, self.life))

    def _turn(self, life: int) -> None:
        if life != self.life or self._busy:
            return
        self._woken = False
        member = self.member
        if member is None or self.stopped:
            return
        began_ns = self._events.now_ns
        outbox: Outbox = {}
        try:
            outbox = member.turn(self.clock.now(), self._network.unsent_bytes(self.name), self._early)
        except PowerLost:
            self.power_off()
            return
        except BaseException as error:  # noqa: BLE001  # the process ends, and the watcher judges
            self._end(error, power=True)
            return
        self._busy = True
        took_ns = self.cpu_ns + self.drive.spent_ns()
        self._events.after(took_ns, partial(self._flush, life, outbox, began_ns))

    def _flush(self, life: int, outbox: Outbox, began_ns: int) -> None:
        """The turn is over: what it has to say leaves."""
        member = self.member
        if life != self.life or member is None:
            return
        self._busy = False
        self._watch.turned(self, outbox, began_ns)
        if outbox and self.dies_sending is not None:
            self._send_part(member, outbox, self.dies_sending)
            return
        self._send(member, outbox)
        if self._guarded(member.finish):
            self._work_off()

    def _send(self, member: Member, outbox: Outbox) -> None:
        for peer, messages in outbox.items():
            self._network.send(self.name, peer, [member.encode(message) for message in messages])

    def _send_early(self, outbox: Outbox) -> None:
        """In the middle of a turn: its disk has still to work, and may fail."""
        if self.member is not None:
            self._watch.sent_early(self, outbox)
            self._send(self.member, outbox)

    def _send_part(self, member: Member, outbox: Outbox, count: int) -> None:
        for peer, messages in outbox.items():
            leaving = messages[:count]
            count -= len(leaving)
            if leaving:
                self._network.send(self.name, peer, [member.encode(message) for message in leaving])
        self._watch.hit("power-at-send")
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
        at_ns = max(self.clock.true_at(member.next_deadline_ns()), self._events.now_ns)
        if at_ns < self._armed_ns:
            self._armed_ns = at_ns
            self._events.at(at_ns, partial(self._due, self.life, at_ns))

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
