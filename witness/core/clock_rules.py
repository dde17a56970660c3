"""Clock rates as the replicated machine keeps them: who may not be active, or not be activated, for its clock.

Rules (docs/adr/0024; proto/clock_rate.py has the arithmetic):
- A majority decides, both ways: below the bound for a minority, every majority of votes still holds one sound timer;
  and what a majority found unfit is fit again only when a majority measured it so.
- Each group judges by the drift bound of its own: that of the lease for its holder, else the configured one.
- A site whose clock is too slow is granted nothing, and no claim and no renewal of it is accepted: it fences at once,
  proves itself down and releases, and no wait by its clock is left. One that is too fast ends early and endangers
  nobody while active: it is not activated, and a holder is handed over (witness.core.decide).
- A new incarnation changes nothing until it was measured anew: an agent that is started again has the same clock.
Everything here is of feature level 2: below it nothing is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proto.clock_rate import ClockState, RateBounds, clock_state, clock_words
from proto.commands import Cause, ClockReport, Grant
from proto.decisions import REASON_TEXT, Blocker, Reason
from proto.events import EventKind
from proto.units import SiteId, WitnessId
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.state import AgentRecord, ClockNote, ClusterState, GroupState, SiteRecord, majority

_EVENT = {ClockState.TOO_SLOW: EventKind.CLOCK_TOO_SLOW, ClockState.TOO_FAST: EventKind.CLOCK_TOO_FAST}
_REASON = {ClockState.TOO_SLOW: Reason.CLOCK_TOO_SLOW, ClockState.TOO_FAST: Reason.CLOCK_TOO_FAST}


def drift_of(group: GroupState, site: SiteId) -> int:
    """By what the site's clock is judged in this group, in millionths."""
    lease = group.lease
    holds = lease is not None and lease.site == site
    return lease.constants.drift_max_ppm if lease is not None and holds else group.config.constants.drift_max_ppm


def _groups_of(state: ClusterState, site: SiteId) -> Iterator[tuple[GroupState, SiteRecord]]:
    """In one order on every replica, whatever was restored from a snapshot."""
    for name in sorted(name for name, group in state.groups.items() if site in group.sites):
        yield state.groups[name], state.groups[name].sites[site]


# -- reports --------------------------------------------------------------------------------------------------


def changed(state: ClusterState, witness: WitnessId, measured: Mapping[SiteId, RateBounds]) -> list[SiteId]:
    """Of what this witness measured, what means another thing for some group than what it said before."""
    found: set[SiteId] = set()
    for group in state.groups.values() if measured else ():
        for site, record in group.sites.items():
            if site in measured and site not in found:
                said = state.agents[site].clock.get(witness)
                if _differs(group, record, site, said, measured[site]):
                    found.add(site)
    return sorted(found)


def _differs(group: GroupState, record: SiteRecord, site: SiteId, said: RateBounds | None, now: RateBounds) -> bool:
    drift = drift_of(group, site)
    is_now = clock_state(now, drift)
    was = None if said is None else clock_state(said, drift)
    if is_now is ClockState.FIT:
        return was is not ClockState.FIT and (was is not None or record.clock is not None)
    return is_now is not None and is_now is not was


def report(scope: Scope, command: ClockReport) -> Outcome:
    """Keeps what one witness measured, and judges by it in every group of the site."""
    state = scope.state
    if command.witness not in state.witnesses:
        return _refused(Reason.NOT_A_MEMBER)
    if not command.bounds.sound:
        return _refused(Reason.MALFORMED, f"no clock has a rate of {command.bounds}")
    agent = state.agents.get(command.site)
    if agent is None:
        return _refused(Reason.UNKNOWN_SITE)
    if agent.incarnation != command.incarnation:
        return _refused(Reason.WRONG_INCARNATION)
    agent.clock[command.witness] = command.bounds
    for group, _ in _groups_of(state, command.site):
        judge(scope, group, command.site)
    return Outcome(Reason.OK)


def _refused(reason: Reason, detail: str = "") -> Outcome:
    return Outcome(reason, detail or REASON_TEXT[reason])


# -- what follows ---------------------------------------------------------------------------------------------


def judge(scope: Scope, group: GroupState, site: SiteId) -> None:
    """By everything that was reported; also when the bound that it is judged by may have changed."""
    agent, record = scope.state.agents.get(site), group.sites.get(site)
    if agent is None or record is None or not agent.clock:
        return
    drift, needed = drift_of(group, site), majority(len(scope.state.witnesses))
    by_state = _by_state(agent, drift)
    for state in _REASON:
        if len(by_state.get(state, ())) >= needed:
            _unfit(scope, group, site, ClockNote(state, _vouched(agent, state, drift, needed), drift))
            return
    if record.clock is not None and len(by_state.get(ClockState.FIT, ())) >= needed:
        _fit(scope, group, site, by_state[ClockState.FIT])


def _by_state(agent: AgentRecord, drift_max_ppm: int) -> dict[ClockState | None, list[WitnessId]]:
    found: dict[ClockState | None, list[WitnessId]] = {}
    for witness in sorted(agent.clock):
        found.setdefault(clock_state(agent.clock[witness], drift_max_ppm), []).append(witness)
    return found


def _vouched(agent: AgentRecord, state: ClockState, drift_max_ppm: int, needed: int) -> int:
    """The bound that a majority vouches for."""
    bounds = [one for one in agent.clock.values() if clock_state(one, drift_max_ppm) is state]
    if state is ClockState.TOO_SLOW:
        return sorted(one.at_most_ppm for one in bounds)[needed - 1]
    return sorted((one.at_least_ppm for one in bounds), reverse=True)[needed - 1]


def _unfit(scope: Scope, group: GroupState, site: SiteId, note: ClockNote) -> None:
    before, record = group.sites[site].clock, group.sites[site]
    record.clock = note
    if before is not None and before.state is note.state:
        return
    agent = scope.state.agents[site]
    voters = ", ".join(_by_state(agent, note.drift_max_ppm)[note.state])
    text = f"{clock_words(note.state, note.rate_ppm, note.drift_max_ppm)} (measured by {voters})"
    _tell(scope, group, site, _EVENT[note.state], text)


def _fit(scope: Scope, group: GroupState, site: SiteId, voters: list[WitnessId]) -> None:
    drift = drift_of(group, site)
    group.sites[site].clock = None
    text = f"{clock_words(ClockState.FIT, 0, drift)} (measured by {', '.join(voters)})"
    _tell(scope, group, site, EventKind.CLOCK_FIT, text)
    if all(record.clock is None for _, record in _groups_of(scope.state, site)):
        # A witness that is away would keep its word of before, and one other would make a majority with it.
        scope.state.agents[site].clock.clear()


def _tell(scope: Scope, group: GroupState, site: SiteId, kind: EventKind, text: str) -> None:
    name = group.config.group
    scope.ledger.append(kind, text, group=name, site=site, epoch=group.epoch)
    scope.changes.dirty.add(name)


def too_slow(record: SiteRecord) -> bool:
    """Nothing may rest on its clock: no grant, no claim, no renewal."""
    return record.clock is not None and record.clock.state is ClockState.TOO_SLOW


def too_fast(record: SiteRecord) -> bool:
    return record.clock is not None and record.clock.state is ClockState.TOO_FAST


def against_grant(record: SiteRecord, command: Grant) -> Reason | None:
    """Whoever is active already, by holds or under a permit, may go on with a clock that is too fast: it ends early."""
    if too_fast(record) and command.cause in (Cause.REGRANT, Cause.ADOPTED):
        return None
    return None if record.clock is None else _REASON[record.clock.state]


def blockers(record: SiteRecord, site: SiteId) -> list[Blocker]:
    return [] if record.clock is None else [Blocker(site, _REASON[record.clock.state], note_words(record.clock))]


def note_words(note: ClockNote) -> str:
    return clock_words(note.state, note.rate_ppm, note.drift_max_ppm)
