"""Verbs of platforms, operators and onlookers: platform, switchover, mode, maintenance, quarantine, configure, strike,
status.

An operator asks one witness (the leader, unless `via` says otherwise); the answer is told when it comes.
"""

from __future__ import annotations

from dataclasses import replace

from proto.commands import Author, ConfigureGroup, SetMaintenance, SetMode, SetQuarantine
from proto.commands import Command as Request
from proto.groups import Mode
from proto.messages import LAG_UNKNOWN_MS
from witness.core.state import GroupState
from witness.sim.faults import FAULTS
from witness.sim.faults_witness import MOODS as WITNESS_MOODS
from witness.sim.raft import faults_net
from witness.sim.scenario.command import Command, Wrong, number, one_of, span_ms
from witness.sim.scenario.stage import GROUP, Stage
from witness.sim.scenario.verb import Verb
from witness.sim.scenario.verbs_time import SEED_MAX, STALE_KINDS
from witness.sim.setup import RAFT_KIND, rng_for
from witness.sim.witness import WitnessHost

AUTHOR = Author("operator", "scenario")
MOODS = {
    "start": {"fails": "start_fails", "hangs": "start_hangs", "slow": "start_slow"},
    "stop": {"deaf": "stop_deaf", "hangs": "stop_hangs", "unproven": "stop_unproven"},
    "fence": {"unproven": "fence_unproven"},
    "verify": {"unproven": "verify_unproven"},
}
WORKS = "works"
LOOKS = {"ready": ("ready", True), "not-ready": ("ready", False), "healthy": ("healthy", True)} | {
    "unhealthy": ("healthy", False)
}


# -- platforms -----------------------------------------------------------------------------------------------


def platform(stage: Stage, command: Command) -> None:
    sites = stage.hosts(command.word("the site"))
    what = command.choice("what", [*MOODS, *LOOKS, "lag"])
    how, lag_ms = WORKS, 0
    if what in MOODS:
        how = command.choice(f"how its {what} goes", [*MOODS[what], WORKS])
    elif what == "lag":
        lag_ms = command.last(lambda text: LAG_UNKNOWN_MS if text == "unknown" else span_ms(text), 0)
    command.done()
    for site in sites:
        one = site.groups[GROUP].platform
        if what in MOODS:
            for name in MOODS[what].values():
                setattr(one.moods, name, float(MOODS[what].get(how) == name))
        elif what == "lag":
            one.lag_ms = lag_ms
        else:
            setattr(one, *LOOKS[what])
        site.probe(GROUP)


# -- operators -----------------------------------------------------------------------------------------------


def _desk(stage: Stage, command: Command) -> WitnessHost:
    found = stage.witnesses(command.option("via", str, "leader"))
    if len(found) != 1 or found[0].life is None:
        raise Wrong("via: must be one witness that runs")
    return found[0]


def switchover(stage: Stage, command: Command) -> None:
    site = stage.sites(command.word("the site"))[0].settings.site
    desk = _desk(stage, command)
    command.done()
    desk.switchover(GROUP, site, stage.asked(command.text))


def mode(stage: Stage, command: Command) -> None:
    wanted = Mode(command.choice("the mode", [one.value for one in Mode]))
    _submit(stage, command, SetMode(GROUP, wanted, AUTHOR))


def maintenance(stage: Stage, command: Command) -> None:
    site = stage.sites(command.word("the site"))[0].settings.site
    on = command.choice("on or off", ["on", "off"]) == "on"
    _submit(stage, command, SetMaintenance(GROUP, site, on, AUTHOR))


def quarantine(stage: Stage, command: Command) -> None:
    site = stage.sites(command.word("the site"))[0].settings.site
    on = command.choice("on or off", ["on", "off"]) == "on"
    _submit(stage, command, SetQuarantine(GROUP, site, on, (), AUTHOR))


def configure(stage: Stage, command: Command) -> None:
    known = _group(_desk_of(stage))
    constants = known.config.constants
    ttl_ms = command.option("ttl", span_ms, constants.ttl_ms)
    lock_ms = command.option("lock-delay", span_ms, constants.lock_delay_ms)
    lag_ms = command.option("max-lag", span_ms, known.config.max_replication_lag_ms)
    failback = command.option("failback", one_of("manual", "automatic"), known.config.failback.value)
    changed = replace(
        known.config,
        constants=replace(constants, ttl_ms=ttl_ms, lock_delay_ms=lock_ms),
        max_replication_lag_ms=lag_ms,
        failback=type(known.config.failback)(failback),
    )
    _submit(stage, command, ConfigureGroup(changed, known.version, AUTHOR))


def _submit(stage: Stage, command: Command, request: Request) -> None:
    desk = _desk(stage, command)
    command.done()
    desk.submit(request, stage.asked(command.text))


def _desk_of(stage: Stage) -> WitnessHost:
    return stage.witnesses("leader")[0]


def _group(host: WitnessHost) -> GroupState:
    group = None if host.node is None else host.node.machine.state.groups.get(GROUP)
    if group is None:
        raise Wrong(f"{host.name} does not know the group yet")
    return group


# -- the campaign's faults -----------------------------------------------------------------------------------


def strike(stage: Stage, command: Command) -> None:
    kind = command.choice("the fault", FAULTS)
    draw = command.option("draw", number(0, SEED_MAX), 0)
    command.done()
    world = stage.world
    if kind in STALE_KINDS and kind not in world.setup.kinds:
        raise Wrong(f"{kind}: say stale-frames=yes in 'cluster', so that the judges know")
    rng = rng_for(draw, f"strike/{kind}")
    if kind in WITNESS_MOODS:
        faults_net.set_moods(world.cluster, (kind.removeprefix(RAFT_KIND),), rng)
    else:
        FAULTS[kind].strike(world, rng)


# -- looking -------------------------------------------------------------------------------------------------


def status(stage: Stage, command: Command) -> None:
    whole = not command.left()
    hosts = stage.witnesses(command.last(str, "leader"))
    command.done()
    for host in hosts:
        for line in _seen_by(host, decision=whole):
            stage.say(host.name, line)
    for site in stage.world.sites if whole else []:
        state = "no agent runs" if site.agent is None else site.agent.groups[GROUP].state.value
        guard = site.shells[GROUP].guard is not None
        stage.say(site.name, state + (", its guard lives" if guard else ""))


def _seen_by(host: WitnessHost, *, decision: bool) -> list[str]:
    node = host.node
    if node is None:
        return ["does not run"]
    seen = node.consensus
    place = "leads" if seen.leading else f"follows {seen.leader or 'nobody'}"
    place += "" if seen.has_quorum else ", reaches no majority"
    group = node.machine.state.groups.get(GROUP)
    if group is None:
        return [f"{place}; knows no group"]
    lease = group.lease
    holder = "" if lease is None or lease.site is None else f", holder {lease.site}"
    lines = [f"{place}; {group.phase.value}, epoch {group.epoch}{holder}, mode {group.mode.value}"]
    view = node.group_status(GROUP, host.clock.now()) if decision else None
    decides = None if view is None else view["decision"]
    return lines + ([f"decides: {decides['words']}"] if isinstance(decides, dict) else [])


VERBS = {
    "platform": Verb(
        "platform SITE start fails|hangs|slow|works | stop deaf|hangs|unproven|works | fence unproven|works | "
        "verify unproven|works | ready | not-ready | healthy | unhealthy | lag SPAN|unknown",
        "How its next starts and stops go, and what its probes say. A deaf platform ignores TERM; an unproven end is "
        "one after which a process is still seen.",
        platform,
    ),
    "switchover": Verb("switchover SITE [via=WITNESS]", "An operator asks for a planned move.", switchover),
    "mode": Verb("mode automatic|manual|observe|paused [via=WITNESS]", "An operator sets the group's mode.", mode),
    "maintenance": Verb("maintenance SITE on|off [via=WITNESS]", "An operator takes a site out, or back.", maintenance),
    "quarantine": Verb("quarantine SITE on|off [via=WITNESS]", "An operator sets or clears a quarantine.", quarantine),
    "configure": Verb(
        "configure [ttl=SPAN] [lock-delay=SPAN] [max-lag=SPAN] [failback=manual|automatic] [via=WITNESS]",
        "An operator changes the group; what a lease rests on takes effect with the next epoch.",
        configure,
    ),
    "strike": Verb(
        "strike KIND [draw=0]",
        "One of the campaign's faults, as it draws it (`python -m witness.sim --help`).",
        strike,
    ),
    "status": Verb(
        "status [WITNESS]",
        "What the leader knows and would decide, and how the sites stand; or only what one witness knows, or all.",
        status,
    ),
}
