"""The schedules of `make chaos`: for each kind of real fault the lines of the scenario language that say it.

A real campaign draws from here, so that each of its steps is a step of the simulator too and replays there
(`python -m witness.sim.scenario -c '...'`). Roles, spans and weather are the language's own; where the simulator has
no such fault the line is its nearest, and NEAREST says so. Spans are drawn around the lease that the campaign has.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sim_schedules import DRAWS, _line, _of, spans, witness

Lines = SearchStrategy[str]
role = _of("active", "active", "active", "standby")
SHIFT = _of("1h", "-1h", "3s", "-500ms")

NEAREST = {
    "P6": "the agent is killed: the simulator has no memory that runs out",
    "P8": "the witness stands still: the simulator has no descriptors",
    "N9-reset": "a stream that breaks",
    "N10": "silence: the simulator's ways have no width",
    "N13-mtu": "silence: the simulator has no frames that are too long",
    "N13-address": "silence: the simulator has no addresses",
    "D3": "the process is killed; syncs that fail are in `make fuzz`",
    "O2": "a copy of a site's machine",
    "O3": "a copy of a site's machine",
    "O4": "a witness that stands still and goes on; copied disks are in `make fuzz`",
    "O5": "the disk is another one: a rolled back one is in `make fuzz`",
    "O11": "the agent is gone for that long: the simulator has no certificates",
    "M1": "the site does not hear: the simulator has no members",
    "M2": "the site's guard is killed: the simulator has no members",
    "H2": "both sites are cut off; the simulator's sites have no link",
}


def lines(ttl_ms: int) -> dict[str, Lines]:
    """By kind. A short span is within a renewal or two, a long one outlasts the lease."""
    short, long = spans(50, ttl_ms // 2), spans(ttl_ms, 2 * ttl_ms + ttl_ms // 2)
    blow = st.one_of(short, long)
    stop = spans(ttl_ms // 10, 2 * ttl_ms)
    rhythm = spans(100, ttl_ms // 2).map("every={}".format)
    return {
        "P1": _line("kill", witness, short),
        "P2": _line("kill witnesses", short),
        "P3": _line("pause", _of("leader", "leader", "follower"), stop),
        "P4": _line("pause agent", role, blow),
        "P5": _line("freeze", role, blow),
        "P5-cgroup": _line("halt", role, blow),
        "P6": _line("kill agent", role, short),
        "P7": _line("strike site-starved", DRAWS.map("draw={}".format)),
        "P8": _line("pause", _of("leader", "follower"), stop),
        "P11": st.just("platform standby start hangs"),
        "P12": st.just("platform standby stop deaf"),
        "P13": _line("strike agent-crash-loop", DRAWS.map("draw={}".format)),
        "power": _line("power-off", role, blow),
        "N1": _line("cut", role, "witnesses", blow),
        "N1-all": _line("cut", role, "witnesses", blow),
        "N1-witness": _line("cut", witness, "witnesses", blow),
        "N2-out": _line("cut", role, "witnesses", blow, "one-way"),
        "N2-in": _line("cut witnesses", role, blow, "one-way"),
        "N3": _line("cut leader follower", long),
        "N4": _line("cut", role, "leader", long),
        "N5": _line("network sites", st.integers(1, 30).map("loss={}%".format)),
        "N8": _line("network sites slow=100%", spans(10, 3 * ttl_ms // 2).map("slow-by={}".format)),
        "N9-reset": _line("strike flap", DRAWS.map("draw={}".format)),
        "N10": _line("cut follower witnesses", long),
        "N11": _line("cut", role, "witnesses", spans(ttl_ms, 2 * ttl_ms), rhythm),
        "N13-mtu": _line("cut", role, "witnesses", blow),
        "N13-address": _line("cut", role, "witnesses", blow),
        "D1": _line("disk", _of("leader", "follower"), "full"),
        "D3": _line("kill", _of("leader", "follower"), short),
        "D9": _line("disk", _of("leader", "follower"), "slow", spans(50, 5_000)),
        "D10": _line("disk", _of("leader", "follower"), "read-only"),
        "C1": _line("clock", _of("leader", "active", "standby"), "wall", SHIFT),
        "C2": _line("clock witnesses rate", _of("0.99", "1.01")),
        "C3": _line("clock w1 rate", _of("0.5", "2.0", "4.0")),
        "C4": _line("suspend", role, blow),
        "O2": _line("strike second-agent", DRAWS.map("draw={}".format)),
        "O3": _line("strike second-agent", DRAWS.map("draw={}".format)),
        "O4": _line("pause", _of("leader", "follower"), short),
        "O5": _line("disk", _of("leader", "follower"), "blank"),
        "O6": _line("disk", _of("leader", "follower"), "blank"),
        "O9": _line("cut active witnesses", long),
        "O10": _line("strike switch-twice", DRAWS.map("draw={}".format)),
        "O11": _line("kill agent", role, blow),
        "G1": _line("kill guard", role),
        "G2": _line("upgrade agent", role, short),
        "G2-crash": _line("kill agent", role, short),
        "G3": _line("power-off", role, short),
        "M1": _line("cut witnesses", role, blow, "one-way"),
        "M2": _line("kill guard", role),
        "H1": _line("cut sites witnesses", blow),
        "H2": _line("cut sites witnesses", blow),
        "H3-site": _line("cut active witnesses", long),
    }
