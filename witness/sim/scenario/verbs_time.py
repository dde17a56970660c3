"""Verbs that make the world, let time pass, and end all faults: cluster, detail, run, wait, settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from proto.errors import BadValue
from proto.events import Event, EventKind
from proto.groups import Failback, GroupConfig, Mode, WitnessLoss, check_group
from proto.health import DataChecks, SiteState
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, NS_PER_S, MemberName, SiteId, WitnessId
from witness.raft.space import SpaceLimits
from witness.raft.timers import PROFILES, CompactionLimits
from witness.sim.break_glass import with_permits
from witness.sim.host.fitting import with_fitting
from witness.sim.members.plan import MemberPlan
from witness.sim.raft import faults
from witness.sim.raft import setup as raft_setup
from witness.sim.raft.setup import LARGE_TUNING
from witness.sim.scenario.command import (
    Command,
    Wrong,
    forward_ns,
    number,
    one_of,
    share_ppm,
    span_ms,
)
from witness.sim.scenario.narrator import Detail
from witness.sim.scenario.stage import GROUP, Stage
from witness.sim.scenario.verb import Verb
from witness.sim.scenario.verbs_host import fitting_of
from witness.sim.setup import ENTRY_BYTES, IMAGE_BYTES, NOTHING, RAFT_KIND, Setup, draw_raft

SITE_NAMES = ("site-a", "site-b", "site-c", "site-d", "site-e")
WITHIN_NS = 60 * NS_PER_S
RESTART_NS = 2 * NS_PER_S
START_NS = NS_PER_S
SEED_MAX = 1_000_000
KINDS = ("by hand",)
"""A schedule with faults: nothing has to be quiet."""
STALE_KINDS = tuple(sorted(RAFT_KIND + kind for kind in faults.STALE_KINDS))
"""Old frames come again: the judges allow for what follows from it only when they know."""


def cluster(stage: Stage, command: Command) -> None:
    take = command.option
    names = SITE_NAMES[: take("sites", number(2, len(SITE_NAMES)), 2)]
    seed = take("seed", number(0, SEED_MAX), 1)
    drawn = take("drawn", one_of("yes", "no"), "no") == "yes"
    witnesses = take("witnesses", number(1, 5), 3)
    timers = take("timers", one_of(*sorted(PROFILES)), "standard")
    start_ns = take("start", forward_ns, START_NS)
    raft = draw_raft(seed) if drawn else _raft(seed, timers)
    sites = tuple(SiteId(name) for name in names)
    group = _group(command, sites)
    setup = Setup(
        seed=seed,
        sites=sites,
        groups=(group,),
        site_link=group.witness_loss is WitnessLoss.HOLD,
        kinds=KINDS + (STALE_KINDS if take("stale-frames", one_of("yes", "no"), "no") == "yes" else ()),
        safety_s=0,
        data_checks=DataChecks(take("data-checks", one_of("none", "passed"), "passed")),
        drift_extreme=take("drift", one_of("none", "extreme"), "none") == "extreme",
        raft=replace(raft, witnesses=tuple(WitnessId(f"w{one}") for one in range(1, witnesses + 1))),
    )
    setup = with_fitting(replace(setup, members=take("members", members_of, ())), take("fitted", fitting_of, NOTHING))
    after_ms = take("break-glass", span_ms, 0)
    command.done()
    stage.found(with_permits(setup, after_ms) if after_ms else setup, None if drawn else start_ns)


def members_of(words: str) -> tuple[tuple[SiteId, MemberPlan], ...]:
    """SITE.NAME,.. ; each has a step of its lead's plan, and a program of its own."""
    found = []
    for word in words.split(","):
        site, _, name = word.partition(".")
        if site not in SITE_NAMES or not name:
            raise Wrong(f"members: {word!r} is no member, write SITE.NAME")
        found.append((SiteId(site), MemberPlan(MemberName(name), steps=("start-db",))))
    return tuple(found)


def _group(command: Command, sites: tuple[SiteId, ...]) -> GroupConfig:
    take = command.option
    plain = GroupConfig(GROUP, sites, LeaseConstants(3_000, 10_000, 0))
    config = GroupConfig(
        group=GROUP,
        sites=sites,
        constants=LeaseConstants(
            take("ttl", span_ms, plain.constants.ttl_ms),
            take("drift-max", share_ppm, plain.constants.drift_max_ppm),
            take("lock-delay", span_ms, 0),
        ),
        mode=Mode(take("mode", one_of(*(mode.value for mode in Mode)), "automatic")),
        unhealthy_for_ms=take("unhealthy-for", span_ms, 2_000),
        max_replication_lag_ms=take("max-lag", span_ms, None),
        failback=Failback(take("failback", one_of("manual", "automatic"), "manual")),
        failback_after_ms=take("failback-after", span_ms, 5_000),
        cooldown_ms=take("cooldown", span_ms, 0),
        moves_max=take("moves-max", number(1, 1_000), 1_000),
        handover_timeout_ms=take("handover-timeout", span_ms, 10_000),
        activation_backoff_ms=take("backoff", span_ms, 5_000),
        witness_loss=WitnessLoss(take("witness-loss", one_of(*(one.value for one in WitnessLoss)), "fence")),
    )
    try:
        check_group(config)
    except BadValue as bad:
        raise Wrong(str(bad)) from None
    return config


def _raft(seed: int, timers: str) -> raft_setup.Setup:
    """A healthy machine of today: half a millisecond for a sync, none of the campaign's odd sizes."""
    return raft_setup.Setup(
        seed=seed,
        witnesses=(),
        kinds=(),
        events=0,
        gap_ns=0,
        timers=PROFILES[timers],
        compaction=CompactionLimits(),
        tuning=LARGE_TUNING,
        ballast_bytes=IMAGE_BYTES,
        early=True,
        cpu_ns=NS_PER_MS // 5,
        sync_ns=NS_PER_MS // 2,
        delay_ns=NS_PER_MS,
        cold=True,
        restart_ns=RESTART_NS,
        proposals=0,
        space=SpaceLimits(100_000, 20_000),
        entry_bytes=ENTRY_BYTES,
    )


def detail(stage: Stage, command: Command) -> None:
    level = command.choice("the detail", [one.name.lower() for one in Detail])
    command.done()
    stage.narrator.detail = Detail[level.upper()]


def run(stage: Stage, command: Command) -> None:
    span_ns = forward_ns(command.word("a span"))
    command.done()
    stage.run_until(stage.world.events.now_ns + span_ns)


# -- wait ----------------------------------------------------------------------------------------------------


def wait(stage: Stage, command: Command) -> None:
    within_ns = command.option("within", forward_ns, WITHIN_NS)
    states = [state.value for state in SiteState]
    what = command.choice("what is waited for", [*states, "leader", "other-leader", "answers", "event", "down"])
    if what == "event":
        _wait_event(stage, command, within_ns)
        return
    missing = _missing(stage, what, command)
    command.done()
    stage.run_while(missing, within_ns, command.text)


def _missing(stage: Stage, what: str, command: Command) -> Callable[[], bool]:
    """What holds as long as one has to wait."""
    world = stage.world
    if what == "answers":
        return lambda: stage.waiting > 0
    if what == "leader":
        return lambda: world.cluster.leader() is None
    if what == "other-leader":
        known = world.cluster.leader()
        return lambda: world.cluster.leader() in (None, known)
    sites = stage.sites(command.word("the site"))
    if what == "down":
        names, place_of = [site.name for site in sites], world.judges.place_of
        return lambda: any(place_of(host) in names for host in world.judges.activity.active(GROUP))
    state = SiteState(what)
    return lambda: any(site.agent is None or site.agent.groups[GROUP].state is not state for site in sites)


def _wait_event(stage: Stage, command: Command, within_ns: int) -> None:
    kind = EventKind(command.choice("the event", [one.value for one in EventKind]))
    command.done()
    seen: list[Event] = []
    stage.world.listener = seen.append
    try:
        stage.run_while(lambda: all(event.kind is not kind for event in seen), within_ns, command.text)
    finally:
        stage.world.listener = None


def settle(stage: Stage, command: Command) -> None:
    command.done()
    world = stage.world
    world.heal()
    world.calm_links()
    since_ns = world.events.now_ns
    stage.settled = world.settle()
    if stage.settled:
        places = {world.judges.place_of(host) for host in world.judges.activity.active(GROUP)}
        served = ", ".join(sorted(places))
        stage.say("world", f"{served} has served alone, after {(world.events.now_ns - since_ns) / NS_PER_S:.1f} s")
    world.break_again()


VERBS = {
    "cluster": Verb(
        "cluster [witnesses=3] [sites=2] [ttl=3s] [drift-max=1%] [lock-delay=0s] [mode=automatic] [max-lag=SPAN] "
        "[unhealthy-for=2s] [failback=manual] [failback-after=5s] [cooldown=0s] [moves-max=1000] "
        "[handover-timeout=10s] [backoff=5s] [start=1s] [data-checks=passed] [timers=standard] [seed=1] "
        "[drift=none] [stale-frames=no] [drawn=no] [fitted=PART,..] "
        "[members=SITE.NAME,..] [witness-loss=fence] [break-glass=SPAN]",
        "Founds a cluster of w1, w2, ... and sites site-a, site-b, ..., the preferred one first, with one group. "
        "`start` is what the platform takes to start; `drift=extreme` puts every clock at the bound; "
        "`stale-frames=yes` allows for `strike` with faults that bring old frames again; `drawn=yes` leaves engine, "
        "platforms, links and clocks to the seed, as the campaign does; `fitted` gives the sites' machines an address, "
        "ports, a watchdog, a required-watchdog, a reset line, or an exclusive or dual-role component; "
        "`members` gives sites further hosts, each with a program of its own and one step of its lead's plan; "
        "`break-glass` lets the group take permits when the witnesses were silent for the span.",
        cluster,
    ),
    "detail": Verb("detail none|brief|normal|full", "How much is told from now on; normal at first.", detail),
    "run": Verb("run SPAN", "Lets time pass.", run),
    "wait": Verb(
        "wait STATE SITE | wait down SITE | wait leader | wait other-leader | wait answers | wait event KIND "
        "[within=60s]",
        "Lets time pass until it is so: a site's state by its own word, nothing of it running, a witness that leads, "
        "one that did not lead before, all operators answered, the ledger's next event of a kind.",
        wait,
    ),
    "settle": Verb(
        "settle",
        "Ends every fault and lets time pass until exactly one site has served for two leases; a violation when that "
        "takes too long.",
        settle,
    ),
}
