"""Strategies for schedules: what may happen to a whole system, as commands of the scenario language, by family.

    FAMILIES       one strategy of single commands for each family of faults, for operators and for time
    founding()     the first command: which cluster, which constants, which seed
    schedules()    whole schedules, as lists of commands that end with `settle`

A command is a line of text (`Command` of witness/sim/scenario/command.py reads it): an example reads as a story,
shrinks to a short one, and replays with `python -m witness.sim.scenario -c '...'`. A suite that drives real processes
draws from the families of REAL and performs the lines itself: these need no simulated clock, disk or judge. Names and
roles are those of a cluster of three witnesses and two sites.

Rule: what is drawn stays within what the product promises to bear: only LIAR's clock lies, and seeds are such that the
campaign's own liar is the same witness; of disks that forget, the commands themselves refuse more than a minority.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from witness.sim.faults import FAULTS
from witness.sim.scenario.verbs_time import STALE_KINDS

SITES = ("site-a", "site-b")
WITNESSES = ("w1", "w2", "w3")
LIAR = "w1"
SEEDS = st.integers(0, 300).map(lambda number: number * len(WITNESSES))
"""The campaign's liar is the witness whose number is the seed modulo their count: w1."""
DRAWS = st.integers(0, 1_000)
STEPS_MAX = 25
CAMPAIGN = tuple(sorted(set(FAULTS) - set(STALE_KINDS)))
"""The campaign's own kinds; those that bring old frames again weaken the judges, and stay with the campaign."""


def _line(*parts: SearchStrategy[str] | str) -> SearchStrategy[str]:
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*strategies).map(lambda words: " ".join(word for word in words if word))


def _of(*words: str) -> SearchStrategy[str]:
    return st.sampled_from(words)


def spans(low_ms: int, high_ms: int) -> SearchStrategy[str]:
    return st.integers(low_ms, high_ms).map(lambda ms: f"{ms}ms")


site = _of(*SITES, "active", "standby")
witness = _of(*WITNESSES, "leader", "follower")
BLOW = spans(20, 5_000)
"""Around a lease of a second: where the arithmetic is decided."""
BACK = st.one_of(st.just(""), BLOW)
"""A fault ends by itself, or lasts until something ends it."""
SHARE = st.integers(1, 40).map(lambda percent: f"{percent}%")

FAMILIES: dict[str, SearchStrategy[str]] = {
    "time": _line("run", spans(1, 4_000)),
    "network": st.one_of(
        _line("cut", site, _of("witnesses", *WITNESSES, "leader"), BACK),
        _line("cut", site, "witnesses", BACK, "one-way"),
        _line("cut witnesses", site, BACK, "one-way"),
        _line("cut", site, "witnesses 4s", spans(100, 1_500).map(lambda span: f"every={span}")),
        _line("cut", witness, witness, BACK),
        _line("cut", witness, "witnesses", BACK),
        _line("cut", witness, "witnesses", BACK, "one-way"),
        _line("cut witnesses witnesses", BLOW),
        st.just("heal"),
    ),
    "weather": st.one_of(
        _line("network sites", SHARE.map(lambda share: f"loss={share}"), SHARE.map(lambda share: f"double={share}")),
        _line("network sites", SHARE.map(lambda share: f"slow={share}"), spans(50, 2_500).map("slow-by={}".format)),
        _line("network witnesses", SHARE.map(lambda share: f"loss={share}")),
        st.just("network calm"),
    ),
    "witness-processes": st.one_of(
        _line("kill", st.one_of(witness, st.just("witnesses")), BACK),
        _line("pause", st.one_of(witness, st.just("witnesses")), BLOW),
        _line("power-off", st.one_of(witness, st.just("witnesses")), BACK),
        _line("start", _of(*WITNESSES, "witnesses")),
        _line("resume", _of(*WITNESSES, "witnesses")),
    ),
    "witness-disks": st.one_of(
        _line("disk", witness, "slow", spans(5, 5_000)),
        _line("disk", witness, _of("full", "read-only", "healthy", "healthy")),
        _line("disk", _of(*WITNESSES), "blank"),
        _line("readmit", _of(*WITNESSES)),
    ),
    "witness-clocks": st.one_of(
        _line("clock", LIAR, "rate", _of("0.5", "1.5", "2.0", "4.0")),
        _line("clock", LIAR, "leap", spans(100, 60_000)),
        _line("clock", witness, "wall", _of("1h", "-1h", "3s", "-500ms")),
    ),
    "site-processes": st.one_of(
        _line("kill agent", site, BACK),
        _line("start agent", _of(*SITES)),
        _line("stop agent", site),
        _line("pause agent", site, BLOW),
        _line("resume", _of(*SITES)),
    ),
    "site-freezes": _line("freeze", site, BLOW),
    "site-machines": st.one_of(
        _line("power-off", site, BACK),
        _line("start", _of(*SITES)),
        _line("suspend", site, BLOW),
        _line("halt", site, BLOW),
        _line("clock", site, "wall", _of("1h", "-1h", "3s", "-500ms")),
        _line("clock", site, "leap", spans(10, 5_000)),
        _line("disk", site, _of("slow 100ms", "slow 2s", "healthy")),
    ),
    "third-location": st.one_of(_line("backup", witness), _line("lose-witnesses", BACK)),
    "guards": _line("kill guard", site),
    "platforms": st.one_of(
        _line("platform", site, "start", _of("fails", "hangs", "slow", "works", "works")),
        _line("platform", site, "stop", _of("deaf", "hangs", "unproven", "works", "works")),
        _line("platform", site, _of("fence unproven", "fence works", "verify unproven", "verify works")),
        _line("platform", site, _of("ready", "not-ready", "healthy", "unhealthy", "lag 5s", "lag 5ms")),
    ),
    "operators": st.one_of(
        _line("switchover", site, st.one_of(st.just(""), _of(*WITNESSES).map("via={}".format))),
        _line("mode", _of("automatic", "automatic", "manual", "observe", "paused")),
        _line("maintenance", site, _of("on", "off")),
        _line("quarantine", site, _of("on", "off")),
        _line("configure", _of("800ms", "1s", "2s", "3s").map("ttl={}".format)),
    ),
    "campaign": _line("strike", _of(*CAMPAIGN), DRAWS.map("draw={}".format)),
    "settle": st.just("settle"),
}
REAL = ("time", "network", "witness-processes", "site-processes", "site-freezes", "guards", "operators")
"""What can be done to real processes in network namespaces as well."""


@st.composite
def founding(draw: st.DrawFn) -> str:
    """Leases of a second; drift at the bound or none, the engine as it ships or as the campaign draws it."""
    parts = [f"cluster ttl=1s seed={draw(SEEDS)}"]
    parts += draw(st.sampled_from(([], ["drift=extreme"], ["drawn=yes"], ["drawn=yes", "drift=extreme"])))
    parts += draw(st.sampled_from(([], ["lock-delay=500ms"], ["max-lag=1s"], ["failback=automatic"])))
    return " ".join(parts)


@st.composite
def schedules(draw: st.DrawFn, families: Iterable[str] = tuple(FAMILIES), steps_max: int = STEPS_MAX) -> list[str]:
    """A whole schedule without its first command: time passes between any two commands, and all ends healed."""
    named = sorted(set(families) - {"settle", "time"})
    lines: list[str] = []
    for family in draw(st.lists(st.sampled_from(named), min_size=1, max_size=steps_max)):
        lines += [draw(FAMILIES[family]), draw(FAMILIES["time"])]
    return [*lines, "settle"]
