"""What happens to processes and machines (FAULTS: P, G), found by their host's control group and guard's record."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from chaosrig.chaos_fault import Blow, Kind, draw_of, nothing, span_of
from chaosrig.chaos_ground import START_S, Missing, pass_time, signal_all, wait_for
from chaosrig.chaos_layout import GROUP, SITES, WITNESSES, other_site
from chaosrig.chaos_units import Host, Unit
from chaosrig.chaos_world import World

from witness.sim.scenario.command import Command

CRASHES_MAX = 5
UPGRADE_TTLS = 0.5
"""A next process that takes longer to start than what is surely left of a lease cannot keep it."""
SPARE_BYTES = 2 << 20
SHARES = (0.02, 0.3)
"""Of one processor, for a starving host."""
HOG = """
import time
open("/proc/self/oom_score_adj", "w").write("-1000")
held = []
while True:
    held.append(bytearray(1 << 20))
    time.sleep(0.001)
"""


def _unit_or_witnesses(world: World, word: str) -> list[Unit]:
    return [world.unit(name) for name in (WITNESSES if word == "witnesses" else [world.witness(word)])]


def kill_witness(world: World, command: Command) -> Blow:
    """`kill WITNESS|witnesses SPAN`: SIGKILL; started again after that."""
    units = _unit_or_witnesses(world, command.word("who"))
    span_s = span_of(command, 1.0)
    for unit in units:
        world.units.kill(unit)
    return Blow(span_s, partial(_start, world, units), _names(units))


def pause_witness(world: World, command: Command) -> Blow:
    units = _unit_or_witnesses(world, command.word("who"))
    span_s = span_of(command, world.ttl_s)
    for unit in units:
        unit.signal(signal.SIGSTOP)
    return Blow(span_s, partial(_signal, units, signal.SIGCONT), _names(units))


def pause_agent(world: World, command: Command) -> Blow:
    """`pause agent SITE SPAN`: the agent's process alone."""
    command.word("agent")
    unit = world.unit(SITES[world.site(command.word("the site"))][0])
    span_s = span_of(command, world.ttl_s)
    unit.signal(signal.SIGSTOP)
    return Blow(span_s, partial(_signal, [unit], signal.SIGCONT), unit.name)


def stop_site(world: World, command: Command) -> Blow:
    """SIGSTOP to every process of both hosts: agents, guards, platforms."""
    hosts = world.site_hosts(command.word("the site"))
    span_s = span_of(command, 2 * world.ttl_s)
    hit = [pid for host in hosts for pid in host.group.signal(signal.SIGSTOP)]
    return Blow(span_s, partial(signal_all, hit, signal.SIGCONT), f"{_names(hosts)}: {len(hit)} processes")


def freeze_site(world: World, command: Command) -> Blow:
    """The same by the kernel's freezer: nothing of it sees a signal."""
    hosts = world.site_hosts(command.word("the site"))
    for host in hosts:
        host.group.freeze(frozen=True)
    return Blow(span_of(command, 2 * world.ttl_s), partial(_thaw, hosts), _names(hosts))


def out_of_memory(world: World, command: Command) -> Blow:
    """The lead's host has no memory left; who is killed for it is the kernel's choice."""
    command.word("agent")
    (host, *_) = world.site_hosts(command.word("the site"))
    span_s = span_of(command, 1.0)
    host.group.squeeze(SPARE_BYTES)
    killed = host.group.out_of_memory_kills()
    hog = world.units.popen(host, [sys.executable, "-I", "-S", "-c", HOG], subprocess.DEVNULL)

    def heal() -> None:
        hog.kill()
        hog.wait()
        host.group.squeeze(None)

    try:
        wait_for(world, lambda: host.group.out_of_memory_kills() > killed, f"{host.name} has no memory", START_S)
    except Missing:
        heal()
        raise
    return Blow(span_s, heal, host.name)


def starve(world: World, command: Command) -> Blow:
    """`strike site-starved`: both hosts of the active site get that much of a processor each."""
    hosts = world.site_hosts("active")
    draw = draw_of(command)
    part = SHARES[0] + draw * (SHARES[1] - SHARES[0])
    for host in hosts:
        host.group.starve(part)
    return Blow(2 * world.ttl_s, partial(_feed, hosts), f"{_names(hosts)}: {part:.0%} of a processor")


def no_descriptors(world: World, command: Command) -> Blow:
    """The witness can open nothing any more: no connection, no file."""
    unit = world.unit(world.witness(command.word("who")))
    span_s = span_of(command, world.ttl_s)
    pid = unit.pid
    if not pid:
        raise Missing(f"{unit.name} does not run")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(taken, before[0]), before[1]))

    def heal() -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    return Blow(span_s, heal, f"{unit.name} at {taken}")


def crash_loop(world: World, command: Command) -> Blow:
    """`strike agent-crash-loop`: the active lead is killed again and again, as soon as it runs."""
    unit = world.unit(SITES[world.site("active")][0])
    crashes = 2 + round(draw_of(command) * (CRASHES_MAX - 2))

    def once_more(_now_s: float) -> None:
        if unit.pid and unit.pid not in killed and len(killed) < crashes:
            killed.append(unit.pid)
            world.units.crash(unit)

    killed: list[int] = []
    world.pulses.append(once_more)
    return Blow(2 * world.ttl_s, partial(world.pulses.remove, once_more), f"{unit.name}, {crashes} times")


def kill_agent(world: World, command: Command) -> Blow:
    """`kill agent SITE`: the lead's process; its guard lives on, and a service manager starts the next one."""
    command.word("agent")
    unit = world.unit(SITES[world.site(command.word("the site"))][0])
    span_of(command, 0.0)
    world.units.crash(unit)
    return Blow(0.0, nothing, unit.name)


def upgrade_agent(world: World, command: Command) -> Blow:
    """`site-agent upgrade`: the same process id goes on as the version that is installed now."""
    command.word("agent")
    lead = SITES[world.site(command.word("the site"))][0]
    span_of(command, 0.0)
    began = time.monotonic()
    code, said = world.run(lead, "site-agent", "upgrade", "-c", str(world.layout.config(lead)))
    took_s = time.monotonic() - began
    note = lead if code == 0 else f"{lead}: exit code {code}: {said[-200:]}"
    slow = f"the next process took {took_s:.1f} s to start" if took_s > UPGRADE_TTLS * world.ttl_s else ""
    return Blow(0.0, nothing, f"{note}, {took_s:.1f} s", slow)


def kill_guard(world: World, command: Command, hosts_of: slice) -> Blow:
    command.word("guard")
    names = SITES[world.site(command.word("the site"))][hosts_of]
    pids = [pid for name in names if (pid := world.guard_pid(name))]
    signal_all(pids, signal.SIGKILL)
    return Blow(0.0, nothing, f"{'+'.join(names)}: {len(pids)} guards")


def kill_both(world: World, command: Command) -> Blow:
    """Guard and agent of the lead's host."""
    lead = SITES[world.site(command.word("the site"))][0]
    span_s = span_of(command, 0.0)
    world.units.kill(world.unit(lead))
    pid = world.guard_pid(lead)
    signal_all([pid] if pid else [], signal.SIGKILL)
    return Blow(span_s, partial(_start, world, [world.unit(lead)]), f"{lead}, guard {'killed' if pid else 'none'}")


def power_off(world: World, command: Command) -> Blow:
    """Everything of both hosts is dead at once, and comes back after the span."""
    hosts = world.site_hosts(command.word("the site"))
    span_s = span_of(command, world.ttl_s)
    units = [world.unit(host.name) for host in hosts]
    for unit in units:
        unit.held = True
    for host in hosts:
        host.group.kill()
    return Blow(span_s, partial(_start, world, units), _names(hosts))


def hanging_start(world: World, command: Command) -> Blow:
    """The standby's next start hangs, deaf to TERM, and it is asked to start."""
    return _resisting(world, command, "hang")


def deaf_stop(world: World, command: Command) -> Blow:
    """The standby becomes active with a platform that is deaf and whose stop fails; then the group moves back."""
    blow = _resisting(world, command, "stubborn", "stop-fails")
    source = world.active_site()
    if source is not None:
        _order(world, other_site(source))
    return blow


def _resisting(world: World, command: Command, *words: str) -> Blow:
    command.word("the platform of")
    command.word("what")
    command.word("how")
    active = world.site("active")
    target = other_site(active)
    world.manner(target, *words)
    _order(world, target)
    with contextlib.suppress(Missing):
        wait_for(world, lambda: world.active_site() == target, f"{target} starts", START_S)
    pass_time(world, 0.5)
    return Blow(0.0, partial(world.manner, target), f"{target}: {' '.join(words)}")


def _order(world: World, target: str) -> None:
    world.operator("switchover", GROUP, "--to", target, "--reason", "a trial", "--no-wait", must=False)


def _start(world: World, units: Iterable[Unit]) -> None:
    for unit in units:
        world.units.start(unit)


def _signal(units: Iterable[Unit], number: signal.Signals) -> None:
    for unit in units:
        unit.signal(number)


def _thaw(hosts: Iterable[Host]) -> None:
    for host in hosts:
        host.group.freeze(frozen=False)


def _feed(hosts: Iterable[Host]) -> None:
    for host in hosts:
        host.group.starve(None)


def _names(things: Iterable[Unit | Host]) -> str:
    return "+".join(one.name for one in things)


def _needs_memory(world: World) -> str:
    return world.hosts["a1"].group.missing("memory")


def _needs_cpu(world: World) -> str:
    return world.hosts["a1"].group.missing("cpu")


PROCESSES = (
    Kind("P1", "P1", "a witness is killed at any moment", kill_witness),
    Kind("P2", "P2", "all three witnesses are killed at once", kill_witness, alone=True),
    Kind("P3", "P3", "a witness, mostly the leader, is stopped and goes on", pause_witness),
    Kind("P4", "P4", "the lead's agent alone is stopped and goes on", pause_agent),
    Kind("P5", "P5", "every process of a site is stopped and goes on", stop_site),
    Kind("P5-cgroup", "P5", "a site is frozen by the kernel's freezer", freeze_site),
    Kind("P6", "P6", "a lead's host runs out of memory", out_of_memory, needs=_needs_memory),
    Kind("P7", "P7", "the active site gets 2 to 30 % of a processor for each host", starve, needs=_needs_cpu),
    Kind("P8", "P8", "a witness can open no descriptor", no_descriptors),
    Kind("P11", "P11", "an activation hangs, deaf to TERM", hanging_start, alone=True),
    Kind("P12", "P12", "a deactivation fails and its platform is deaf to TERM", deaf_stop, alone=True),
    Kind("P13", "P13", "the active lead's agent crashes in a loop", crash_loop),
    Kind("power", "P6", "a site loses its power", power_off),
    Kind("G1", "G1", "a lead's guard is killed", lambda world, command: kill_guard(world, command, slice(0, 1))),
    Kind("G2", "G2", "the agent is upgraded", upgrade_agent, alone=True),
    Kind("G2-crash", "G2 P13", "the agent is killed once, its guard lives", kill_agent),
    Kind("G3", "G3", "agent and guard of the lead are killed", kill_both),
    Kind("M2", "members", "a member's guard is killed", lambda world, command: kill_guard(world, command, slice(1, 2))),
)
