"""Verbs of processes, machines and disks.

A span at the end says when it ends by itself: a killed process is started again, a paused one goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from witness.sim.machine import SimHost
from witness.sim.raft.faults_identity import new_disk, readmit_host
from witness.sim.raft.sim_drive import SimDrive
from witness.sim.scenario.command import Command, Wrong, forward_ns, one_of, rate_ppm, span_ns
from witness.sim.scenario.stage import GROUP, Stage
from witness.sim.scenario.verb import Verb
from witness.sim.setup import rng_for
from witness.sim.surroundings import Disk
from witness.sim.witness import WitnessHost

DISK_SEED_MAX = 1_000


# -- processes -----------------------------------------------------------------------------------------------


def kill(stage: Stage, command: Command) -> None:
    """Kill agent site-a 5s, kill guard site-a, kill w1 2s."""
    who = command.word("who")
    if who == "guard":
        sites = stage.hosts(command.word("the site"))
        command.done()
        for site in sites:
            if not site.groups[GROUP].post.kill():
                raise Wrong(f"no guard runs on {site.name}")
        return
    agents = stage.hosts(command.word("the site")) if who == "agent" else []
    witnesses = [] if who == "agent" else stage.witnesses(who)
    back_ns = command.last(forward_ns, 0)
    command.done()
    for site in agents:
        site.crash()
        if back_ns:
            stage.after(back_ns, site.start)
    for host in witnesses:
        _down(stage, host, back_ns)
        host.crash()


def power_off(stage: Stage, command: Command) -> None:
    machines = stage.machines(command.word("who"))
    back_ns = command.last(forward_ns, 0)
    command.done()
    for machine in machines:
        if isinstance(machine, SimHost):
            machine.power_off()
            if back_ns:
                stage.after(back_ns, partial(_power_on, machine))
        else:
            _down(stage, machine, back_ns)
            machine.host.power_off()


def _power_on(host: SimHost) -> None:
    if not host.alive:
        host.power_on()


def _down(stage: Stage, host: WitnessHost, back_ns: int) -> None:
    """It stays away until it is started, whatever its service manager would do."""
    stage.world.cluster.kept_down.add(host.id)
    if back_ns:
        stage.after(back_ns, partial(_up, stage, host))


def _up(stage: Stage, host: WitnessHost) -> None:
    stage.world.cluster.kept_down.discard(host.id)
    if host.id not in stage.world.cluster.damage.refused:
        host.start()


def start(stage: Stage, command: Command) -> None:
    who = command.word("who")
    if who == "agent":
        sites = stage.hosts(command.word("the site"))
        command.done()
        for site in sites:
            site.start()
        return
    machines = stage.machines(who)
    command.done()
    for machine in machines:
        if isinstance(machine, SimHost):
            _power_on(machine)
        else:
            _up(stage, machine)


def stop(stage: Stage, command: Command) -> None:
    """As a service manager stops an agent: it deactivates, releases, ends."""
    command.choice("what is stopped in order", ["agent"])
    sites = stage.sites(command.word("the site"))
    command.done()
    for site in sites:
        stage.world.note(site.name, "agent shuts down")
        site.feed(lambda agent, now: agent.shutdown(now))


def pause(stage: Stage, command: Command) -> None:
    who = command.word("who")
    if who == "agent":
        sites = stage.hosts(command.word("the site"))
        back_ns = command.last(forward_ns, 0)
        command.done()
        for site in sites:
            stage.world.note(site.name, "agent is stopped")
            site.stop()
            if back_ns:
                stage.after(back_ns, site.go_on)
        return
    hosts = stage.witnesses(who)
    back_ns = command.last(forward_ns, 0)
    command.done()
    for host in hosts:
        if host.stop() and back_ns:
            stage.after(back_ns, partial(host.host.go_on, host.host.life))


def resume(stage: Stage, command: Command) -> None:
    who = command.word("who")
    machines = stage.hosts(command.word("the site")) if who == "agent" else stage.machines(who)
    command.done()
    for machine in machines:
        if isinstance(machine, WitnessHost) or who == "agent":
            machine.go_on()
        else:
            machine.resume()
            machine.freeze(frozen=False)


def freeze(stage: Stage, command: Command) -> None:
    sites = stage.hosts(command.word("the site"))
    back_ns = command.last(forward_ns, 0)
    command.done()
    for site in sites:
        stage.world.note(site.name, "every process is stopped, guard and platform too")
        site.freeze(frozen=True)
        if back_ns:
            stage.after(back_ns, partial(_thaw, stage, site))


def _thaw(stage: Stage, site: SimHost) -> None:
    stage.world.note(site.name, "every process goes on")
    site.freeze(frozen=False)


def suspend(stage: Stage, command: Command) -> None:
    _stand_still(stage, command, SimHost.suspend)


def halt(stage: Stage, command: Command) -> None:
    _stand_still(stage, command, lambda site: site.guest.freeze())


def _stand_still(stage: Stage, command: Command, begin: Callable[[SimHost], None]) -> None:
    sites = stage.hosts(command.word("the site"))
    back_ns = command.last(forward_ns, 0)
    command.done()
    for site in sites:
        if not site.suspended:
            begin(site)
        if back_ns:
            stage.after(back_ns, site.resume)


# -- clocks --------------------------------------------------------------------------------------------------


def clock(stage: Stage, command: Command) -> None:
    machines = stage.machines(command.word("whose clock"))
    what = command.choice("what happens", ["rate", "leap", "wall"])
    if what == "rate":
        ppm = rate_ppm(command.word("the rate"))
        kept = command.option("kept", one_of("yes", "no"), "yes") == "yes"
        command.done()
        for machine in machines:
            machine.clock.keep_wall(kept=kept)
            machine.clock.run_at(ppm)
            machine.rearm()
        return
    ahead_ns = (span_ns if what == "wall" else forward_ns)(command.word("a span"))
    command.done()
    for machine in machines:
        if what == "wall":
            machine.clock.step_wall(ahead_ns)
        elif isinstance(machine, WitnessHost):
            stage.world.leap([machine], ahead_ns)
        else:
            machine.clock.leap(ahead_ns)
            machine.rearm()


# -- disks ---------------------------------------------------------------------------------------------------


def disk(stage: Stage, command: Command) -> None:
    machines = stage.machines(command.word("whose disk"))
    what = command.choice("what happens", ["slow", "full", "read-only", "blank", "healthy"])
    slow_ns = forward_ns(command.word("how slow")) if what == "slow" else 0
    command.done()
    for machine in machines:
        if isinstance(machine, WitnessHost):
            _witness_disk(stage, machine, what, slow_ns)
        elif what in ("slow", "healthy"):
            machine.disk.write_ns_max = slow_ns or Disk().write_ns_max
        else:
            raise Wrong(f"the disk of a site can be slow or healthy, not {what}")


def _witness_disk(stage: Stage, host: WitnessHost, what: str, slow_ns: int) -> None:
    drive, cluster = host.host.drive, stage.world.cluster
    if not isinstance(drive, SimDrive):
        raise Wrong(f"{host.name} has no simulated disk")
    if what == "slow":
        drive.slow_ns = slow_ns
    elif what == "full":
        drive.disk.faults.limit(drive.disk.used_bytes())
    elif what == "read-only":
        drive.disk.faults.freeze()
    elif what == "healthy":
        drive.calm()
    elif not cluster.damage.may_damage(host.host):
        raise Wrong("a minority of the disks may lose what they held, and no more: no cluster could bear it")
    else:
        host.host.power_off()
        drive.insert(new_disk(host.host, _rng(stage, host), learner=False))
        cluster.damage.replaced(host.host)
        cluster.damage.needs_readmission(host.host)
        cluster.network.forget_past(host.id)


def readmit(stage: Stage, command: Command) -> None:
    hosts = stage.witnesses(command.word("the witness"))
    command.done()
    for host in hosts:
        if not stage.world.cluster.damage.may_damage(host.host) and host.id not in stage.world.cluster.damage.damaged:
            raise Wrong("a minority of the witnesses may be readmitted at a time")
        readmit_host(stage.world.cluster, host.host, _rng(stage, host))


def _rng(stage: Stage, host: WitnessHost) -> random.Random:
    return rng_for(stage.world.setup.seed, f"disk/{host.name}/{stage.world.events.now_ns}")


VERBS = {
    "kill": Verb(
        "kill WITNESS [SPAN] | kill agent SITE [SPAN] | kill guard SITE",
        "SIGKILL. With a span it is started again after that; a guard takes its platform along.",
        kill,
    ),
    "power-off": Verb("power-off MACHINE [SPAN]", "No power; with a span it comes back after that.", power_off),
    "start": Verb("start WITNESS | start agent SITE | start SITE", "Starts a process, or a site's machine.", start),
    "stop": Verb("stop agent SITE", "Ends an agent in order: it deactivates and releases first.", stop),
    "pause": Verb("pause WITNESS [SPAN] | pause agent SITE [SPAN]", "SIGSTOP; with a span, SIGCONT after that.", pause),
    "resume": Verb("resume MACHINE | resume agent SITE", "Ends a pause, a freeze, a suspend or a halt.", resume),
    "freeze": Verb("freeze SITE [SPAN]", "SIGSTOP to every process of a site: agent, guard, platform.", freeze),
    "suspend": Verb("suspend SITE [SPAN]", "The machine sleeps: nothing executes, BOOTTIME goes on.", suspend),
    "halt": Verb("halt SITE [SPAN]", "Its hypervisor stops the machine with all its clocks.", halt),
    "clock": Verb(
        "clock MACHINE rate FACTOR [kept=yes] | clock MACHINE leap SPAN | clock MACHINE wall SPAN",
        "From now on at another rate (2.0 is twice as fast; `kept=no`: nobody keeps the wall clock near true time, it "
        "goes wrong with the others); all clocks jump ahead; the wall clock alone is stepped.",
        clock,
    ),
    "disk": Verb(
        "disk WITNESS slow SPAN | full | read-only | blank | healthy;  disk SITE slow SPAN | healthy",
        "Each sync takes that long; there is no room; an empty one takes its place, initialised as if it were new.",
        disk,
    ),
    "readmit": Verb("readmit WITNESS", "`witness readmit`: it may vote again when it has caught up.", readmit),
}
