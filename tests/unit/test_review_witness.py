"""Orders of events, found by review, in which a witness or the cluster's rules broke a promise."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from review_rig import (
    AUTHOR,
    CONSTANTS,
    FIT,
    A,
    B,
    G,
    Pump,
    World,
    report_of,
    site_agent,
)

from agents.core.agent import SiteAgent
from agents.core.site import LIVE_STATES
from proto.commands import Author, ConfigureGroup, ReleaseLease, SetMode
from proto.decisions import DecisionKind, Reason
from proto.errors import BadValue, FrameRefused
from proto.groups import Failback, Mode
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.messages import ReleaseKind
from proto.units import EPOCH_MAX, Claim, Epoch, Incarnation
from witness.core.batcher import Overloaded
from witness.core.effects import Outcome
from witness.core.transitions import Phase
from witness.group_fields import from_fields, to_fields
from witness.http.bodies import Body
from witness.runtime import driver as driver_module
from witness.runtime.driver import Driver

HALF = "\ud800"


# -- fixed ----------------------------------------------------------------------------------------------------


def test_half_a_surrogate_in_a_reason_is_refused_and_ends_no_witness():
    with pytest.raises(BadValue, match="surrogate"):
        Body({"reason": HALF}).text("reason")
    world = World()
    fields = to_fields(world.group.config) | {"labels": {"owner": HALF}}
    with pytest.raises(BadValue, match="surrogate"):
        from_fields(fields)
    with pytest.raises(Overloaded):  # the announced refusal: anything else ends the process
        world.submit(SetMode(G, Mode.MANUAL, Author("ann", HALF)))


@pytest.mark.parametrize("reason", ["x" * 513, HALF])
def test_a_command_that_no_replica_could_read_never_enters_an_entry(reason):
    world = World()
    entries = world.index
    with pytest.raises(Overloaded):
        world.submit(SetMode(G, Mode.MANUAL, Author("ann", reason)))
    assert world.index == entries
    assert world.beat(A).answers


def test_a_number_beyond_64_bits_is_refused_where_it_is_encoded():
    with pytest.raises(FrameRefused):
        report_of(epoch_bound=Epoch(1 << 70))


def test_one_sites_absurd_epoch_bound_neither_spoils_entries_nor_ends_the_groups_epochs():
    world = World()
    refused = world.beat(A, epoch_bound=Epoch(EPOCH_MAX))
    assert refused.answers[0].reason is Reason.MALFORMED
    world.beat(B)
    assert world.group.lease.site == B


def test_a_request_that_may_still_be_committed_is_never_answered_with_nothing_was_changed():
    world = World()
    world.committing = False
    world.lead(has_quorum=False)
    proposed = world.submit(SetMode(G, Mode.MANUAL, AUTHOR))
    waiting = world.submit(SetMode(G, Mode.PAUSED, AUTHOR))
    assert world.node._batcher.take_entry(world.clock.now(), 0) is None  # one is in flight, the other waits
    world.node._batcher._in_flight = (1 << 40, world.clock.now() + (1 << 60))  # and goes on waiting
    world.wait(11_000)
    assert world.outcomes[proposed].reason is Reason.OUTCOME_UNKNOWN
    assert world.outcomes[waiting].reason is Reason.NO_QUORUM


def test_a_full_table_of_requests_refuses_and_does_not_end_the_witness(monkeypatch):
    monkeypatch.setattr(driver_module, "WAITING_MAX", 3)
    world = World()
    world.committing = False

    def fatal(error):
        raise AssertionError(error)

    driver = Driver(node=world.node, clock=world.clock, fatal=fatal, shell=None)
    driver._unsynced = True
    command = ReleaseLease(G, A, Incarnation(bytes(16)), Epoch(1), Claim(bytes(16)), ReleaseKind.CLEAN, "")
    for _ in range(3):
        driver.release(command, lambda _: None)
    with pytest.raises(Overloaded):
        driver.release(command, lambda _: None)
    with pytest.raises(Overloaded):
        driver.heartbeat(b"", lambda _: None, object())


def test_a_failback_that_lag_held_back_is_looked_at_again_without_a_changed_report():
    world = World(failback=Failback.AUTOMATIC, failback_after_ms=1_000, cooldown_ms=0, max_replication_lag_ms=1_000)
    world.beat(B, lag_ms=0)
    epoch = world.group.epoch
    world.beat(B, epoch)
    lag_ms = 5_000

    def both() -> None:
        world.beat(A, lag_ms=lag_ms)
        world.beat(B, epoch, state=SiteState.ACTIVE)

    world.wait(5_000, both)
    assert world.group.phase is Phase.HELD
    lag_ms = 0
    world.wait(5_000, both)
    assert world.group.phase is Phase.REVOKING


def test_a_shorter_ttl_that_waits_for_the_next_epoch_leaves_the_other_site_heard():
    world = World(constants=LeaseConstants(60_000, 10_000, 0))
    epoch = world.activate(A)
    world.beat(B)
    config = replace(world.group.config, constants=CONSTANTS)
    assert world.submit(ConfigureGroup(config, 1, AUTHOR)).ok
    world.wait(19_000)  # an agent that keeps the pace of the lease in force beats every 20 s
    plan = world.node.plan_switchover(G, B, AUTHOR, world.clock.now())
    assert not isinstance(plan, Outcome)
    assert plan.epoch == epoch


def _clone(agent: SiteAgent) -> SiteAgent:
    """A copy of a running machine's memory."""
    tokens, agent._tokens = agent._tokens, None
    emits = {name: (group._emit, group._tokens) for name, group in agent.groups.items()}
    for group in agent.groups.values():
        group._emit = group._tokens = None
    twin = copy.deepcopy(agent)
    agent._tokens = twin._tokens = tokens
    for name, group in agent.groups.items():
        group._emit, group._tokens = emits[name]
        twin.groups[name]._emit, twin.groups[name]._tokens = twin._effects.append, tokens
    return twin


@pytest.mark.parametrize("extra_at", [3, 30])
def test_a_live_clone_is_found_at_its_next_renewal_and_never_releases_under_its_twin(extra_at):
    world = World()
    clock = world.clock
    first = site_agent(clock)
    twins = [Pump(first, world)]
    for _ in range(60):
        world.wait(50)
        first.tick(clock.read())
        twins[0].perform()
    assert first.groups[G].state is SiteState.ACTIVE
    second = _clone(first)
    twins.append(Pump(second, world))
    overlap_ms = 0
    for step in range(100):
        world.wait(50)
        if step % 10 == 0:
            world.beat(B)
        if step == extra_at:
            first.observe(G, replace(FIT, healthy=False), clock.read())  # one heartbeat more than the other
        for one in (second, first):
            one.tick(clock.read())
        for pump in twins:
            pump.perform()
        elsewhere = world.group.lease is not None and world.group.lease.site == B
        running = [one for one in (first, second) if one.groups[G].state in LIVE_STATES]
        overlap_ms += 50 if elsewhere and any(one.groups[G].holder.alive(clock.read()) for one in running) else 0
    assert "second-agent" in [event.kind.value for event in world.events]
    assert overlap_ms == 0


# -- open -----------------------------------------------------------------------------------------------------


def test_no_grant_while_another_site_that_is_heard_says_that_it_is_not_down():
    world = World()
    world.activate(A)

    def both() -> None:
        world.beat(A, state=SiteState.FENCING, blockers=("fence not proven: pid 12 waits for a device",))
        world.beat(B)

    world.wait(6_000, both)
    assert world.group.lease is None or world.group.lease.site != B


def test_no_grant_while_another_site_that_is_heard_does_not_enforce():
    world = World()
    world.beat(A, state=SiteState.UNKNOWN, enforce=False)
    world.beat(B)
    assert world.group.lease is None


def test_a_site_that_never_claims_does_not_keep_the_group_from_the_other_one():
    world = World()
    granted = set()

    def both() -> None:
        world.beat(A)
        world.beat(B)
        if world.group.lease is not None:
            granted.add(world.group.lease.site)

    world.wait(30_000, both)
    assert B in granted


def test_pausing_in_the_middle_of_a_handover_does_not_leave_the_group_vacant():
    world = World()
    epoch = world.activate(A)
    world.beat(B)
    assert world.submit(world.node.plan_switchover(G, B, AUTHOR, world.clock.now())).ok
    paused = world.submit(SetMode(G, Mode.PAUSED, AUTHOR))
    release = ReleaseLease(G, A, world.group.lease.incarnation, epoch, world.group.lease.claim, ReleaseKind.CLEAN, "")
    assert world.submit(release).ok
    world.beat(B)
    decision = world.node.decision(world.group, world.clock.now())
    assert not paused.ok or world.group.lease is not None or decision.kind is DecisionKind.GRANT
