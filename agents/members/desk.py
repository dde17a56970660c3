"""The lead's desk for its members: one book for each group, whoever is connected, steps that are under way there.

Rule: what is handed out, and to which process, is on disk first (agents/members/handed_file.py). The end of a group
waits here until each member is verified down or out of authority, by the book alone (agents/core/members.py); a
connection that is closed means nothing. A step is asked for again whenever its member comes back, until it is answered
or its time is over.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.actions.parts import MemberStep
from agents.core.lease_holder import Authority, LeaseHolder
from agents.core.members import NO_EPOCH, Handed, MemberBook, Seat, left_by_a_former_lead
from agents.fencing.base import GuardError, StepEnd, StepResult
from agents.members.handed_file import HandedFile
from agents.settings import MemberSpec, SiteSettings
from proto.clock import Clock
from proto.edge.logs import get_logger
from proto.errors import FrameRefused
from proto.lease import LeaseConstants
from proto.member_messages import (
    AskNow,
    LeadAnswer,
    LeadMessage,
    MemberAsk,
    MemberHello,
    Order,
    RunStep,
    StepEnded,
    TwinSeen,
)
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId, InstantNs, MemberName

ARMED_S = 10.0
"""A member's guard is ready while it is dormant; then it takes a look at the disk and a message or two."""
STEP_MARGIN_S = 5.0
STEPS_PENDING_MAX = 64
INSTANCES_KEPT_MAX = 256
"""Of the last processes of all members."""
TWINS = "another machine speaks as this very process: it is a copy of this one, or this one is"
_ENDS = frozenset(one.value for one in StepEnd)

log = get_logger("agents.members")


class MemberLink(Protocol):
    """A connection of one member (agents/members/endpoint.py)."""

    @property
    def hello(self) -> MemberHello: ...

    def send(self, message: LeadMessage) -> None: ...

    def end(self, why: str) -> None: ...


class HandedStore(Protocol):
    """One group's file (agents/members/handed_file.py)."""

    def load(self, members: tuple[MemberName, ...]) -> Handed | None: ...

    def store(self, epoch: Epoch, ttl_ms: int, processes: Mapping[MemberName, bytes]) -> None:
        """Blocking; returns when it is on disk."""


@dataclass(slots=True)
class _Pending:
    step: MemberStep
    done: asyncio.Future[StepResult]

    @property
    def key(self) -> tuple[str, Epoch, str]:
        return self.step.group, self.step.epoch, self.step.step_id


class MemberDesk:
    """Owned by the lead's supervisor. Implements agents.actions.parts.MemberGuards."""

    def __init__(
        self,
        settings: SiteSettings,
        over: Mapping[GroupId, Epoch],
        clock: Clock,
        holder: Callable[[GroupId], LeaseHolder],
        known: Callable[[GroupId], LeaseConstants | None],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        file_of: Callable[[GroupId], HandedStore] | None = None,
    ) -> None:
        """`over`: of each group, every epoch up to this one has ended or must end. `file_of`: in place of a real file.

        `holder`: of the group's lease, with its authority on both clocks; `known`: of the group's lease, held or not.
        """
        self._specs = {spec.name: spec for spec in settings.members}
        self._clock = clock
        self._holder = holder
        self._known = known
        self._spawn = spawn
        self.links: dict[MemberName, MemberLink] = {}
        self.books: dict[GroupId, MemberBook] = {}
        self._files: dict[GroupId, HandedStore] = {}
        self._durable: dict[GroupId, tuple[Epoch, dict[MemberName, bytes]]] = {}
        self._storing: dict[GroupId, asyncio.Lock] = {}
        self._to_store: dict[GroupId, Epoch] = {}
        """What the next write has to say waits for the lock: one writer a group is asked for, not one for each ask."""
        self._numbers: OrderedDict[bytes, int] = OrderedDict()
        """Of each instance, the highest number of a connection that was seen."""
        self._twins: OrderedDict[bytes, None] = OrderedDict()
        self._steps: dict[MemberName, list[_Pending]] = {spec.name: [] for spec in settings.members}
        self._heard = asyncio.Event()
        for group in (one.group for one in settings.groups):
            members = settings.members_of(group)
            file = HandedFile(settings.state_dir, group) if file_of is None else file_of(group)
            left = left_by_a_former_lead(file.load(members), clock.read())
            if members or left:
                self._files[group] = file
                self.books[group] = MemberBook(group, members, over=over[group], left_behind=left)

    def spec(self, name: MemberName) -> MemberSpec | None:
        return self._specs.get(name)

    # -- what the runners ask -------------------------------------------------------------------------------

    def give(self, group: GroupId, epoch: Epoch, deadline: InstantNs) -> None:
        """The lead's own authority; members are told to ask for their part of it."""
        book, holder = self.books.get(group), self._holder(group)
        constants, authority = holder.constants, holder.authority
        if book is None or constants is None or authority is None:
            return
        new = book.epoch != epoch
        book.give(epoch, Authority(deadline, authority.raw_deadline_ns), constants)
        if new:
            self._begin_store(book, epoch, constants.ttl_ms)
        self._hint(group)

    def _begin_store(self, book: MemberBook, epoch: Epoch, ttl_ms: int) -> None:
        if self._to_store.get(book.group) != epoch:
            self._to_store[book.group] = epoch
            self._spawn(self._store(book, epoch, ttl_ms), f"members {book.group}")

    async def _store(self, book: MemberBook, epoch: Epoch, ttl_ms: int) -> None:
        group = book.group
        async with self._storing.setdefault(group, asyncio.Lock()):
            if self._to_store.get(group) == epoch:
                del self._to_store[group]
            if book.epoch == epoch:
                await self._write(group, epoch, ttl_ms, self._processes(book))
        self._hint(group)

    async def _write(self, group: GroupId, epoch: Epoch, ttl_ms: int, processes: dict[MemberName, bytes]) -> None:
        """Whom the file will not name any more is handed nothing from before the write begins."""
        before, named = self._durable.get(group, (NO_EPOCH, {}))
        if (before, named) == (epoch, processes):
            return
        still = {name: one for name, one in named.items() if before == epoch and processes.get(name) == one}
        self._durable[group] = epoch, still
        await asyncio.to_thread(self._files[group].store, epoch, ttl_ms, processes)
        self._durable[group] = epoch, processes

    def _processes(self, book: MemberBook) -> dict[MemberName, bytes]:
        """Who may hold authority, and of the members that may be handed it next whoever is connected."""
        out = {name: seat.instance for name, seat in book.may_hold(self._clock.read()).items()}
        ours = {name: link.hello.instance for name, link in self.links.items() if self._serves(name, book.group)}
        return {**{name: one for name, one in ours.items() if one not in self._twins}, **out}

    def _serves(self, name: MemberName, group: GroupId) -> bool:
        return group in self._specs[name].groups

    async def end_and_wait(self, group: GroupId, grace_ns: int) -> None:
        """Returns when each member is verified down or its authority has run out."""
        book = self.books.get(group)
        if book is None:
            return
        book.end(Order.STOP, grace_ns // NS_PER_MS)
        self._hint(group)
        while book.may_hold(self._clock.read()):
            await self._change(book.all_out_in_ns(self._clock.read()) / NS_PER_S)

    def fence(self, group: GroupId) -> None:
        book = self.books.get(group)
        if book is not None:
            book.end(Order.FENCE)
            self._hint(group)

    async def armed(self, group: GroupId, epoch: Epoch) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + ARMED_S
        while missing := [name for name in self._required(group) if not self.books[group].seats[name].holds(epoch)]:
            if loop.time() >= ends:
                raise GuardError(f"member {', '.join(missing)} did not take the lease within {ARMED_S:g} s")
            await self._change(ends - loop.time())

    def _required(self, group: GroupId) -> list[MemberName]:
        return [spec.name for spec in self._specs.values() if spec.required and group in spec.groups]

    def orderly(self, group: GroupId) -> bool:
        book = self.books.get(group)
        return book is None or book.orderly()

    def still_out(self, group: GroupId) -> str:
        book = self.books.get(group)
        return "" if book is None else book.words(self._clock.read())

    async def run_step(self, step: MemberStep) -> StepResult:
        pending = _Pending(step, asyncio.get_running_loop().create_future())
        waiting = self._steps[step.member]
        if len(waiting) >= STEPS_PENDING_MAX:
            return StepResult(step.step_id, StepEnd.NOT_STARTED, text=f"{len(waiting)} steps wait for {step.member}")
        waiting.append(pending)
        bound_s = step.timeout_ms / 1_000 + STEP_MARGIN_S
        try:
            self._ask_for(pending)
            return await asyncio.wait_for(pending.done, bound_s)
        except TimeoutError:
            why = "is not connected" if step.member not in self.links else "did not say how it ended"
            return StepResult(step.step_id, StepEnd.TIMED_OUT, text=f"member {step.member} {why} after {bound_s:g} s")
        finally:
            waiting.remove(pending)

    def _ask_for(self, pending: _Pending) -> None:
        step, link = pending.step, self.links.get(pending.step.member)
        if link is not None:
            link.send(
                RunStep(
                    step.group, step.epoch, step.step_id, step.step, step.undo, step.cause, step.plan, step.timeout_ms
                )
            )

    # -- what members say -----------------------------------------------------------------------------------

    def opened(self, link: MemberLink) -> None:
        name = link.hello.member
        former = self.links.get(name)
        if self._is_twin(link.hello):
            self._part_twins(link, former)
            return
        if former is not None:
            log.warning("second_member", member=name, why="its former connection is closed: a restart, or a copy?")
            former.end("another connection of this member was opened")
        self.links[name] = link
        log.info("member_connected", member=name, version=link.hello.version)
        for pending in self._steps[name]:
            self._ask_for(pending)

    def _is_twin(self, hello: MemberHello) -> bool:
        known = self._numbers.get(hello.instance, -1)
        self._numbers[hello.instance] = max(known, hello.number)
        self._numbers.move_to_end(hello.instance)
        while len(self._numbers) > INSTANCES_KEPT_MAX:
            self._numbers.popitem(last=False)
        return hello.number <= known or hello.instance in self._twins

    def _part_twins(self, link: MemberLink, former: MemberLink | None) -> None:
        """Both end what they hold and become others; until it has run out, nobody's word ends what was handed out."""
        name, instance = link.hello.member, link.hello.instance
        log.error("twin_member", member=name, why="two machines speak as one process of it: end the copy")
        self._twins[instance] = None
        while len(self._twins) > INSTANCES_KEPT_MAX:
            self._twins.popitem(last=False)
        for book in self.books.values():
            if name in book.seats:
                book.seats[name].disown(instance)
        for group, (epoch, named) in self._durable.items():
            self._durable[group] = epoch, {one: whose for one, whose in named.items() if whose != instance}
        for one in (link, former):
            if one is not None and one.hello.instance == instance:
                one.send(TwinSeen(TWINS))
        link.end(TWINS)

    def closed(self, link: MemberLink, why: str) -> None:
        """Proves nothing, and changes nothing but what can be sent."""
        name = link.hello.member
        if self.links.get(name) is link:
            del self.links[name]
            log.warning("member_disconnected", member=name, why=why)

    def asked(self, link: MemberLink, ask: MemberAsk) -> LeadAnswer:
        now, orders = self._clock.read(), []
        name, instance = link.hello.member, link.hello.instance
        for one in ask.groups:
            book = self.books.get(one.group)
            if book is not None and self._serves(name, one.group):
                durable = self._is_durable(book, name, instance)
                orders.append(book.asked(name, instance, one, now, durable=durable, known=self._known(one.group)))
                if not durable and self.links.get(name) is link:
                    self._name_process(book, name, instance)
        self._changed()
        return LeadAnswer(ask.nonce, tuple(orders))

    def _is_durable(self, book: MemberBook, name: MemberName, instance: bytes) -> bool:
        epoch, processes = self._durable.get(book.group, (NO_EPOCH, {}))
        return epoch == book.epoch and processes.get(name) == instance

    def _name_process(self, book: MemberBook, name: MemberName, instance: bytes) -> None:
        """It came after the file was written: it is handed its part once the file names it."""
        constants = self._holder(book.group).constants
        may = instance not in self._twins and not book.seats[name].held_by_another(instance)
        if constants is not None and book.epoch != NO_EPOCH and may:
            self._begin_store(book, book.epoch, constants.ttl_ms)

    def step_ended(self, link: MemberLink, ended: StepEnded) -> None:
        """Raises FrameRefused for an end that this version does not know."""
        result = _result(ended)
        for pending in self._steps[link.hello.member]:
            if pending.key == (ended.group, ended.epoch, ended.step_id) and not pending.done.done():
                pending.done.set_result(result)

    # -- what people see ------------------------------------------------------------------------------------

    def seat(self, group: GroupId, name: MemberName) -> Seat:
        return self.books[group].seats[name]

    def known_steps(self, group: GroupId, name: MemberName) -> frozenset[str]:
        link = self.links.get(name)
        offers = () if link is None else link.hello.groups
        return frozenset(step for offer in offers if offer.group == group for step in offer.steps)

    def status(self, group: GroupId) -> list[dict[str, object]]:
        book, now = self.books.get(group), self._clock.read()
        rows: list[dict[str, object]] = []
        for name, seat in {} if book is None else book.seats.items():
            spec = self._specs.get(name)
            held = book is not None and name in book.may_hold(now)
            rows.append(
                {
                    "member": name,
                    "required": spec is not None and spec.required,
                    "connected": name in self.links,
                    "phase": "not heard" if seat.said is None else seat.said.phase.value,
                    "epoch": 0 if seat.said is None else seat.said.epoch,
                    "heard_ms_ago": None if seat.said is None else (now.boottime_ns - seat.heard_at) // NS_PER_MS,
                    "may_hold_ms": max(0, seat.may_hold_until.over_in_ns(now)) // NS_PER_MS if held else 0,
                    "lacks": [] if seat.said is None else list(seat.said.lacks),
                }
            )
        return rows

    # -- waiting --------------------------------------------------------------------------------------------

    def _hint(self, group: GroupId) -> None:
        for name, link in self.links.items():
            if self._serves(name, group):
                link.send(AskNow())

    def _changed(self) -> None:
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    async def _change(self, limit_s: float) -> None:
        try:
            await asyncio.wait_for(self._heard.wait(), limit_s)
        except TimeoutError:
            return


def _result(ended: StepEnded) -> StepResult:
    if ended.end not in _ENDS:
        raise FrameRefused(
            f"step {ended.step_id[:80]!r} ended as {ended.end[:80]!r}; known is {', '.join(sorted(_ENDS))}"
        )
    return StepResult(
        ended.step_id,
        StepEnd(ended.end),
        None if ended.exit_code < 0 else ended.exit_code,
        None if ended.signal < 0 else ended.signal,
        ended.text,
    )
