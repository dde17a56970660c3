"""Two that believe to be one incarnation: a copied machine, a copied certificate. Both fence, the ledger says it."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import replace

import pytest
from review_rig import CONSTANTS, FIT, A, G, Pump, W, World, site_agent

from agents.core.agent import SiteAgent
from agents.core.takeover import AdoptedGroup, KeptGroup, KeptIncarnation, Machine, Takeover
from proto.events import EventKind
from proto.health import SiteState
from proto.timing import default_budgets, local_deadlines
from witness.core.transitions import Phase


def active(world: World) -> Pump:
    first = Pump(site_agent(world.clock), world)
    run(world, [first], 2_000)
    assert first.agent.groups[G].state is SiteState.ACTIVE
    return first


def run(world: World, pumps: list[Pump], duration_ms: int) -> None:
    """Each of them ticks and speaks every 50 ms, in the order given."""
    for _ in range(duration_ms // 50):
        world.wait(50)
        for pump in pumps:
            pump.agent.tick(world.clock.read())
            pump.perform()


def next_process(former: SiteAgent, world: World, life: int) -> Pump:
    """What `agents.runtime.take_over` makes of a former process's guard and file."""
    holder, now = former.groups[G].holder, world.clock.read()
    authority = holder.authority
    assert authority is not None
    assert holder.constants is not None
    kept = KeptIncarnation(
        former.settings.cluster,
        A,
        former.settings.store_id,
        Machine("boot", ""),
        former.incarnation,
        life,
        {G: KeptGroup(holder.epoch, holder.claim, holder.constants)},
    )
    group = AdoptedGroup(
        epoch=holder.epoch,
        claim=holder.claim,
        constants=holder.constants,
        authority=replace(authority),
        deadlines=local_deadlines(authority.deadline, default_budgets(holder.constants.ttl_ms)),
        state=SiteState.ACTIVE,
        plan=2,
        resumes=None,
        cause="grant",
        elapsed_ms=0,
    )
    agent = SiteAgent(
        former.settings,
        tokens=lambda: secrets.token_bytes(16),
        bounds={G: (holder.bound, holder.finished)},
        started=now,
        takeover=Takeover(kept, {G: group}),
    )
    agent.observe(G, FIT, now)
    agent.stream_opened(W, leading=True, now=now)
    return Pump(agent, world)


def kinds(world: World) -> list[EventKind]:
    return [event.kind for event in world.events]


def test_a_next_process_renews_the_same_lease_without_a_word_in_the_ledger() -> None:
    world = World()
    first = active(world)
    epoch, told = world.group.epoch, len(world.events)
    lives = [first]
    for life in (1, 2, 3):
        lives.append(next_process(lives[-1].agent, world, life))
        run(world, lives[-1:], 4 * CONSTANTS.ttl_ms)
        assert lives[-1].agent.groups[G].state is SiteState.ACTIVE
    assert (world.group.epoch, world.group.phase) == (epoch, Phase.HELD)
    assert world.events[told:] == []


ORDERS = list(itertools.permutations((0, 1)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "lives", [(None, 1), (1, 1), (1, 2)], ids=["process-and-next", "two-nexts", "next-and-its-next"]
)
def test_two_processes_of_one_incarnation_are_found_within_a_ttl_and_both_fence(
    lives: tuple[int | None, int], order: tuple[int, int]
) -> None:
    """A virtual machine was copied while active, or put back: its guard, its file and its claim are there twice."""
    world = World()
    first = active(world)
    pair = [first if life is None else next_process(first.agent, world, life) for life in lives]
    both = [pair[number] for number in order]
    if lives == (1, 2):
        run(world, pair[:1], 500)  # the copy is made of a machine that had been upgraded once
    incarnation, told = first.agent.incarnation, len(world.events)
    run(world, both, CONSTANTS.ttl_ms)
    states = {pump.agent.groups[G].state for pump in pair}
    assert states == {SiteState.FENCED}
    assert [pump.agent.incarnation == incarnation for pump in both].count(True) <= 1
    assert {EventKind.SITE_RESTARTED, EventKind.SECOND_AGENT} <= set(kinds(world)[told:])
    assert EventKind.RELEASED not in kinds(world)[told:], "under the feet of the other"


def test_a_copied_certificate_supersedes_the_first_agent_which_fences_and_neither_releases() -> None:
    """Two cold starts on two hosts, one certificate: the newer speaks for the site, the older one's lease runs out."""
    world = World()
    first = active(world)
    told = len(world.events)
    second = Pump(site_agent(world.clock), world)
    run(world, [first, second], CONSTANTS.ttl_ms)
    assert first.agent.groups[G].state is SiteState.FENCED
    assert "another agent speaks for this site" in first.agent.groups[G].trouble
    assert second.agent.groups[G].state is SiteState.STANDBY
    assert {EventKind.SITE_RESTARTED, EventKind.SECOND_AGENT} <= set(kinds(world)[told:])
    assert EventKind.RELEASED not in kinds(world)[told:]
