"""(11) One group's licenses on this site: which sealed keys it keeps, what it seals, what it tells the witnesses.

Rules (DESIGN section 8; docs/adr/0022). Only the holder seals, under the epoch that it holds, with the number after the
highest that it ever heard of; what is sealed is on disk before it is told to anybody. It seals when the key in place
is another one, when its epoch is new, and when the sealing key is. The newest is put to the witnesses, again and again
with the very same bytes, until they answered; a refusal says which number comes next. What was sealed in a former
epoch is put no more: the same key is sealed again. While witnesses are away the newest goes to the
other sites with each request of a hold. A holder that went down in order looks at the key in place once more before its
epoch ends, because a platform may exchange it as it stops, and waits a moment with its release until that is known.
A dormant site keeps what the witnesses or a holder send, and says that it holds only what it could open.
A license that is seen activated where nothing may run is fenced at once, before anybody was asked.

Values in clear never come here: the shell reads and seals (agents/license/room.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agents.core.effects import Effect, KeepSealed, LookAtKey, SealKey, Tell
from agents.core.last_look import LastLook
from agents.core.lease_holder import NO_CLAIM, NO_EPOCH
from agents.core.license import PUT_REFUSED, KeptKeys, License, Look
from agents.core.settings import LicenseSettings
from proto.decisions import Reason
from proto.license import EscrowItem, EscrowVersion, LicenseReport, SealedKey, version_words
from proto.messages import EscrowPutAnswer
from proto.units import NS_PER_MS, Claim, Epoch, GroupId, InstantNs, LicenseName

PUT_AGAIN_NS = 700 * NS_PER_MS
PUT_SLOWLY_NS = 30_000 * NS_PER_MS
LAST_PUT_MAX_NS = 5_000 * NS_PER_MS
"""A release waits at most this long for what was sealed before the end."""
_NOT_KEPT = frozenset({Reason.UNKNOWN_LICENSE, Reason.ESCROW_OFF})


class Put(NamedTuple):
    license: LicenseName
    sealed: SealedKey
    claim: Claim


class GroupLicenses:
    """Owned by one group. Inputs come from the group and the shell; effects go out in order."""

    def __init__(
        self,
        group: GroupId,
        settings: tuple[LicenseSettings, ...],
        kept: Mapping[LicenseName, KeptKeys],
        emit: Callable[[Effect], None],
    ) -> None:
        self.role = 0
        """Grows whenever the site begins or ends being active: a look that overlaps it says nothing."""
        self.told = False
        """A witness speaks of escrow: the report may."""
        self.urgent = False
        self.may_put = False
        """There is a way to the witnesses, and no permit stands in their place: what is due can leave."""
        self._group = group
        self._emit = emit
        self._all = {one.name: License(one, kept.get(one.name, KeptKeys())) for one in settings}
        self._epoch, self._claim = NO_EPOCH, NO_CLAIM
        self._last_put_by: InstantNs | None = None
        """The epoch is over here; until then what it sealed is still put."""
        self.last_look = LastLook()

    @property
    def configured(self) -> bool:
        return bool(self._all)

    # -- what the group says --------------------------------------------------------------------------------

    def holding(self, epoch: Epoch, claim: Claim) -> None:
        """What the site holds with authority; said on every look of the group."""
        if epoch == self._epoch:
            return
        self._epoch, self._claim, self._last_put_by = epoch, claim, None
        for one in self._all.values():
            one.put_problem, one.slow, one.again_at = "", False, InstantNs(0)

    def look_last(self, now: InstantNs, until: InstantNs) -> None:
        """Verified down, with authority until `until` at least. Only where a look of this epoch may be believed."""
        believed = self._epoch if self._epoch != NO_EPOCH else None
        names = [name for name, one in self._all.items() if one.settings.watched and one.read_epoch == believed]
        self.last_look.begin(names, now, until)
        for name in names:
            self._emit(LookAtKey(self._group, name))

    def looking(self, now: InstantNs) -> bool:
        return self.last_look.waits(now, sealing=any(one.sealing for one in self._all.values()))

    def over(self, now: InstantNs, ttl_ns: int) -> None:
        """Verified down: what is sealed and not acknowledged is put for a moment more, a ttl at most."""
        self.last_look.forget()
        waiting = self._unsent()
        self._last_put_by = InstantNs(now + min(LAST_PUT_MAX_NS, ttl_ns)) if waiting else None
        if not waiting:
            self._epoch = NO_EPOCH

    @property
    def keeps_release(self) -> bool:
        return self._last_put_by is not None

    def settled(self, now: InstantNs) -> bool:
        """A release need not wait, or waited long enough."""
        if self._last_put_by is None:
            return True
        if self._unsent() and now < self._last_put_by:
            return False
        self._epoch, self._last_put_by = NO_EPOCH, None
        return True

    def _unsent(self) -> bool:
        return any(one.unsent(self._epoch) is not None and not one.slow for one in self._all.values())

    def role_changed(self) -> None:
        """What a probe saw before says nothing any more."""
        self.role += 1
        for one in self._all.values():
            one.activated = None

    # -- watchers and probes --------------------------------------------------------------------------------

    def looked(self, name: LicenseName, look: Look, problem: str, epoch: Epoch, *, reseal: bool = False) -> None:
        """`epoch`: that was held when the look began, with the key restored under it, NO_EPOCH for none.

        `reseal`: the newest is sealed with a former sealing key.
        """
        one = self._all.get(name)
        if one is None:
            return
        self._problem(one, "watch_problem", problem)
        newest = one.kept.newest
        if epoch != NO_EPOCH:
            one.read_epoch = epoch
        if look is Look.FAILED or epoch == NO_EPOCH or epoch != self._epoch or one.sealing:
            return
        if look is Look.CHANGED or reseal or newest is None or newest.version.epoch != epoch or not one.kept.opens:
            self._seal(one)

    def read_under(self, name: LicenseName) -> Epoch:
        one = self._all.get(name)
        return NO_EPOCH if one is None else one.read_epoch

    def _seal(self, one: License) -> None:
        newest = one.kept.newest
        number = max(one.number, 0 if newest is None else newest.version.version)
        one.sealing = True
        self._emit(SealKey(self._group, one.settings.name, EscrowVersion(self._epoch, number + 1)))

    def sealed(self, name: LicenseName, kept: KeptKeys, problem: str) -> None:
        """The answer to SealKey: what is on disk now, and what kept it from being sealed."""
        one = self._all.get(name)
        if one is None:
            return
        one.sealing = False
        self._problem(one, "watch_problem", problem)
        self._take(one, kept)

    def probed(self, name: LicenseName, activated: bool | None, problem: str) -> None:
        one = self._all.get(name)
        if one is None:
            return
        self._problem(one, "probe_problem", problem)
        self.urgent = self.urgent or one.activated is not activated
        one.activated = activated
        one.found = one.found and activated is not False

    def found_active(self, name: LicenseName) -> None:
        """Where nothing may run. At least one report says so, however fast the fence is."""
        self._all[name].alarm = self._all[name].found = True

    def _problem(self, one: License, which: str, problem: str) -> None:
        if getattr(one, which) == problem:
            return
        setattr(one, which, problem)
        self.urgent = True
        if problem:
            self._emit(Tell(self._group, f"license {one.settings.name}: {problem}", alarm=True))

    # -- the witnesses and the other sites ------------------------------------------------------------------

    def due(self, now: InstantNs) -> Put | None:
        """What is to be put now; the next time is set."""
        for name, one in self._all.items():
            unsent = None if self._epoch == NO_EPOCH else one.unsent(self._epoch)
            if unsent is not None and now >= one.again_at:
                one.again_at = InstantNs(now + (PUT_SLOWLY_NS if one.slow else PUT_AGAIN_NS))
                return Put(name, unsent, self._claim)
        return None

    def answered(self, answer: EscrowPutAnswer) -> None:
        self.told = True
        one = self._all.get(answer.license)
        if one is None:
            return
        one.number = max(one.number, answer.version_next - 1)
        unsent = one.unsent(self._epoch)
        if unsent is not None and answer.stored == unsent.version:
            one.acked = unsent.version
        one.slow = answer.reason in _NOT_KEPT
        if answer.reason is Reason.OK:
            self._problem(one, "put_problem", "")
        elif one.slow:
            self._problem(one, "put_problem", answer.reason.value)
        elif answer.reason is Reason.ESCROW_CONFLICT and one.unsent(self._epoch) is not None:
            self._renumber(one, answer.version_next)

    def _renumber(self, one: License, version_next: int) -> None:
        """The witnesses have a number that this disk does not know: the same key is sealed again, above it."""
        newest = one.kept.newest
        if newest is None or version_next <= newest.version.version:
            self._problem(one, "put_problem", PUT_REFUSED)
        elif not one.sealing:
            self._seal(one)

    def value(self, item: EscrowItem) -> None:
        """A newer one, of the witnesses."""
        self.told = True
        one = self._all.get(item.license)
        if one is None:
            return
        one.number = max(one.number, item.sealed.version.version)
        newest = one.kept.newest
        if newest is None or newest.version < item.sealed.version or one.kept.damaged:
            self._emit(KeepSealed(self._group, item))

    def stored(self, name: LicenseName, kept: KeptKeys, problem: str) -> None:
        """The answer to KeepSealed, and after a promise that brought sealed keys."""
        one = self._all.get(name)
        if one is not None:
            self._take(one, kept)
            if problem:
                self._problem(one, "put_problem", problem)

    def _take(self, one: License, kept: KeptKeys) -> None:
        newest = kept.newest
        opened = kept.held is not None and (one.kept.held is None or one.kept.held < kept.held)
        if newest != one.kept.newest:
            one.again_at = InstantNs(0)
        one.kept = kept
        self.urgent = True
        if newest is not None:
            one.number = max(one.number, newest.version.version)
        if opened:
            told = f"license {one.settings.name}: holds version {version_words(kept.held)}"
            self._emit(Tell(self._group, told))

    def items(self) -> tuple[EscrowItem, ...]:
        """The newest of each, for requests of holds."""
        return tuple(
            EscrowItem(name, one.kept.newest) for name, one in self._all.items() if one.kept.newest is not None
        )

    # -- what is told ---------------------------------------------------------------------------------------

    def reports(self) -> tuple[LicenseReport, ...]:
        """Every configured license, or nothing before a witness spoke of escrow."""
        if not self.told:
            return ()
        return tuple(one.report() for one in self._all.values())

    def reported(self) -> None:
        """A heartbeat with the reports went out."""
        self.urgent = False
        for one in self._all.values():
            one.alarm = False

    def blockers(self, lock_delay_ms: int | None) -> tuple[str, ...]:
        """Why this site could not start with the right keys; `lock_delay_ms`: of the group, None while not known."""
        return tuple(words for one in self._all.values() for words in one.blockers(lock_delay_ms))

    def view(self) -> list[dict[str, object]]:
        return [one.shown(self._epoch) for one in self._all.values()]

    def next_deadline(self) -> InstantNs | None:
        wake = [at for at in (self._last_put_by, self.last_look.wake_at) if at is not None]
        if self._epoch != NO_EPOCH and self.may_put:
            wake += [one.again_at for one in self._all.values() if one.unsent(self._epoch) is not None]
        return min(wake, default=None)
