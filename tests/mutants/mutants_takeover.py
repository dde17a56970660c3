"""What a new process of an agent takes over, and how an epoch ends there (agents/core/takeover.py, release.py)."""

from __future__ import annotations

from mutant import Mutant, SimFocus, rewritten

from agents.core import takeover
from agents.core.release import EpochEnd
from agents.core.takeover import Takeover
from agents.runtime import take_over, turn
from proto.lease import LeaseConstants
from witness.core import heartbeats

COLD = "unit/test_agent_takeover_core.py::test_anything_that_does_not_fit_starts_cold"
OTHERS = "unit/test_agent_takeover_core.py::test_an_incarnation_of_other_circumstances_is_over"
TURNS = "unit/test_stand_in.py"
ONE_PROCESS = "the simulated agent becomes its next process at one instant; the turns are between real processes"
ALL_FIT = "what the simulated processes of one agent keep always fits, or the machine was started anew"


def _judged(name: str, rule: str, function, old: str, new: str, test: str = COLD, why: str = ALL_FIT) -> Mutant:
    return Mutant(name, rule, "agent: taking over", rewritten(function, old, new), tests=(test,), why=why)


MUTANTS = (
    _judged(
        "takes-over-any-incarnation",
        "a guard holds for one incarnation, and no other one takes it over",
        takeover._authority_problem,
        "held.holder != incarnation.hex()",
        "False",
    ),
    _judged(
        "takes-over-an-older-epoch",
        "only the highest epoch that was ever acted upon goes on",
        takeover._authority_problem,
        "not kept.epoch == held.epoch == bound",
        "False",
    ),
    _judged(
        "takes-over-what-is-over",
        "an epoch that has ended here is not taken over",
        takeover._authority_problem,
        "kept.epoch <= finished",
        "False",
    ),
    _judged(
        "takes-over-in-the-stop",
        "a guard in its graceful stop is not taken over",
        takeover._authority_problem,
        "now.boottime_ns >= held.deadlines.stop_at",
        "False",
    ),
    _judged(
        "takes-over-beside-its-clocks",
        "clocks that disagree since the guard was armed are a cold start",
        takeover._authority_problem,
        '"" if apart is None else',
        '"" if True else',
    ),
    _judged(
        "takes-over-another-journal",
        "the journal belongs to the authority that goes on",
        takeover.adopt_group,
        "(header.epoch, header.incarnation, header.boot_id) != (kept.epoch, incarnation.hex(), machine.boot_id)",
        "False",
    ),
    _judged(
        "takes-over-after-a-boot",
        "nothing goes on over a start of the machine",
        takeover.incarnation_problem,
        "kept.machine.boot_id != machine.boot_id",
        "False",
        OTHERS,
    ),
    _judged(
        "takes-over-as-a-copy",
        "nothing goes on in a copy of a machine",
        takeover.incarnation_problem,
        "kept.machine.generation != machine.generation",
        "False",
        OTHERS,
        "no schedule copies a running machine with its generation id",
    ),
    _judged(
        "takes-over-a-whole-lease",
        "authority is what the guard holds and not a moment more",
        takeover.adopted_authority,
        "Authority(held.deadlines.deadline,",
        "Authority(held.deadlines.deadline + kept.constants.ttl_ns,",
        "unit/test_agent_takeover_core.py::test_what_fits_goes_on_with_what_the_guard_holds_and_not_a_moment_more",
        "the guard ends what runs at its own deadline, whatever the agent believes",
    ),
    _judged(
        "takes-over-the-numbers",
        "each process of an incarnation numbers its heartbeats above the one before it",
        Takeover.seq_first.fget,
        "self.kept.life << SEQ_BITS",
        "0",
        "unit/test_agent_takeover_core.py::test_an_active_site_goes_on_without_a_plan_and_renews_at_once",
        "it takes itself for a twin and begins a new incarnation, which costs a takeover and no promise",
    ),
    _judged(
        "takes-over-without-the-guards-word",
        "only a guard that says that it is armed is taken over",
        take_over.held_lease,
        "status.phase != PHASE_ARMED or ",
        "",
        "unit/test_agent_takeover_core.py::test_a_guard_at_its_end_holds_nothing",
        "a simulated guard is asked without a status in words",
    ),
    Mutant(
        "takes-its-turn-before-it-is-given",
        "at an upgrade nobody takes over before the holder has let go",
        "docs/adr/0013-the-guard-survives-its-agent.md",
        rewritten(turn.Turn.take, "self._socket.recv(1) == GO", "True"),
        tests=(TURNS,),
        why=ONE_PROCESS,
    ),
    Mutant(
        "leaves-its-stand-in-alone",
        "a stand-in that did not let go is gone before its parent takes over",
        "docs/adr/0013-the-guard-survives-its-agent.md",
        rewritten(turn.have_turn, "turn.end_stand_in(0)", "turn.close()"),
        tests=(TURNS,),
        why=ONE_PROCESS,
    ),
    Mutant(
        "lock-delay-by-one-clock",
        "the lock delay passes on BOOTTIME and on MONOTONIC_RAW",
        "agent: release",
        rewritten(EpochEnd.due, "release.not_before_raw_ns - now.monotonic_raw_ns", "0"),
        SimFocus(
            ("clocks-part", "guard-kill"),
            frozenset({"license"}),
            60,
            group=(("constants", LeaseConstants(1_000, 10_000, 500)),),
        ),
    ),
    Mutant(
        "lifted-without-data-checks",
        "a quarantine ends by itself only where the data checks pass",
        "quarantine",
        rewritten(heartbeats._lift_proven, "report.data_checks is DataChecks.PASSED", "True"),
        SimFocus(("data-unfit", "site-power", "agent-crash", "cut-site"), frozenset({"quarantine"}), 20),
    ),
)
