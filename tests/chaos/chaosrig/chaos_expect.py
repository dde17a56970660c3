"""What each kind of fault justifies. One place: when the product learns to do better, it is said here.

Rule: a false takeover is an epoch that moved although no fault of the step justifies it; a new epoch for what goes on
in the same place without a stop (the re-grant after a hold) moved nothing. A fault that leaves the active
site's processes, clocks and its way to a majority of the witnesses alone justifies none, and neither does the loss of
one witness. Two faults at once that both weaken the witnesses or the ways to them may take the majority away together,
and justify it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.errors import LocalFault


class Moves(Enum):
    """Whether the epoch may move."""

    NEVER = "never"
    MAY = "may"
    IF_ACTIVE = "if the active site is hit"


class Loss(Enum):
    """What an active site does that reaches no witness for longer than its lease."""

    FENCES = "its platform is dead when the lease ends"
    STAYS = "it stays active in its epoch"


RELAY = True
"""The leads' configurations name the other site (`site_link`): a site that reaches no witness goes on through it."""
HOLDS = True
"""While no site reaches a witness the active one goes on by the promise of the other one."""
WITNESS_LOSS = {
    "site_cut_from_witnesses": Loss.STAYS if RELAY else Loss.FENCES,
    "third_location_cut": Loss.STAYS if HOLDS else Loss.FENCES,
    "site_link_cut": Loss.FENCES,
    "site_isolated": Loss.FENCES,
}
"""Who is cut off: one site, all sites, all sites and each other, one site from everybody."""

WEAK = frozenset({"witness", "way"})
"""Two of a step's faults that touch one of these may together take the majority away."""


@dataclass(frozen=True, slots=True)
class Expectation:
    moves: Moves
    touches: str
    """witness, way (between sites and witnesses), site, people, nothing."""
    loss: str = ""
    """A key of WITNESS_LOSS, for faults that cut the active site off."""

    def justifies(self, line: str) -> bool:
        if self.loss and WITNESS_LOSS[self.loss] is Loss.STAYS:
            return False
        if self.moves is Moves.IF_ACTIVE:
            return "active" in line.split()
        return self.moves is Moves.MAY


NEVER_WITNESS = Expectation(Moves.NEVER, "witness")
NEVER_WAY = Expectation(Moves.NEVER, "way")
SITE = Expectation(Moves.IF_ACTIVE, "site")
WAY = Expectation(Moves.IF_ACTIVE, "way", "site_cut_from_witnesses")
SHAKEN = Expectation(Moves.IF_ACTIVE, "way")
"""The way is bad and not gone: no word on when the platform must be dead."""
PEOPLE = Expectation(Moves.MAY, "people")

EXPECTED: dict[str, Expectation] = {
    "P1": NEVER_WITNESS,
    "P2": Expectation(Moves.MAY, "witness"),
    "P3": NEVER_WITNESS,
    "P4": SITE,
    "P5": SITE,
    "P5-cgroup": SITE,
    "P6": SITE,
    "P7": Expectation(Moves.MAY, "site"),
    "P8": NEVER_WITNESS,
    "P11": PEOPLE,
    "P12": PEOPLE,
    "P13": Expectation(Moves.MAY, "site"),
    "power": SITE,
    "N1": WAY,
    "N1-all": Expectation(Moves.IF_ACTIVE, "way", "site_isolated"),
    "N1-witness": NEVER_WITNESS,
    "N2-out": WAY,
    "N2-in": WAY,
    "N3": NEVER_WITNESS,
    "N4": NEVER_WAY,
    "N5": Expectation(Moves.MAY, "way"),
    "N8": Expectation(Moves.MAY, "way"),
    "N9-reset": Expectation(Moves.MAY, "way"),
    "N10": NEVER_WITNESS,
    "N11": SHAKEN,
    "N13-mtu": SHAKEN,
    "N13-address": SHAKEN,
    "D1": NEVER_WITNESS,
    "D3": NEVER_WITNESS,
    "D9": NEVER_WITNESS,
    "D10": NEVER_WITNESS,
    "C1": Expectation(Moves.IF_ACTIVE, "site"),
    "C2": Expectation(Moves.NEVER, "nothing"),
    "C3": Expectation(Moves.NEVER, "nothing"),
    "C4": SITE,
    "O2": PEOPLE,
    "O3": PEOPLE,
    "O4": NEVER_WITNESS,
    "O5": NEVER_WITNESS,
    "O6": NEVER_WITNESS,
    "O9": Expectation(Moves.MAY, "way"),
    "O10": PEOPLE,
    "O11": SITE,
    "G1": SITE,
    "G2": Expectation(Moves.NEVER, "site"),
    "G2-crash": SITE,
    "G3": SITE,
    "M1": SITE,
    "M2": SITE,
    "H1": Expectation(Moves.MAY, "way", "third_location_cut"),
    "H2": Expectation(Moves.MAY, "way", "site_link_cut"),
    "H3-site": Expectation(Moves.MAY, "way", "site_cut_from_witnesses"),
}


def moves_in_words(kind: str) -> str:
    """Of a fault alone."""
    expected = EXPECTED[kind]
    if expected.loss and WITNESS_LOSS[expected.loss] is Loss.STAYS:
        return "no: it goes on through the other site"
    words = {Moves.NEVER: "no", Moves.MAY: "yes", Moves.IF_ACTIVE: "when the active site is hit"}
    return words[expected.moves]


def justified(blows: list[tuple[str, str]]) -> bool:
    """Of a step, by kinds and lines. Who lives on through the other site needs that site, and nothing else broken."""
    if len(blows) > 1 and any(EXPECTED[kind].loss and "active" in line.split() for kind, line in blows):
        return True
    if any(EXPECTED[kind].justifies(line) for kind, line in blows):
        return True
    return sum(EXPECTED[kind].touches in WEAK for kind, _ in blows) > 1


def loss_of(kind: str, line: str) -> Loss | None:
    """What must have become of the site that was active; None where nothing is said."""
    expected = EXPECTED.get(kind)
    if expected is None:
        raise LocalFault(f"no expectation for {kind}: add a line to chaos_expect.py")
    if not expected.loss or "standby" in line.split():
        return None
    return WITNESS_LOSS[expected.loss]
