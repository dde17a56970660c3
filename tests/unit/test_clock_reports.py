"""What a witness says of the clocks that it measured: when something changed, once, and what its status shows."""

from __future__ import annotations

from core_rig import A, B, G, W, token
from node_rig import NodeRig

from proto.clock_rate import RateBounds
from proto.commands import ClockReport, RaiseFeatureLevel
from proto.messages import Ping, PingEcho
from proto.units import NS_PER_S, Incarnation, InstantNs, Nonce, WitnessId

SLOW = RateBounds(969_000, 970_000)
WORDS = "its clock runs at 0.970000 of the witnesses' at most, drift_max 1 % asks for 0.980198"


def says(witness: WitnessId, bounds: RateBounds) -> ClockReport:
    return ClockReport(witness, A, Incarnation(token("i1")), bounds)


def talk(node: NodeRig, rate: float, seconds: int, since: int = 0, incarnation: str = "i1") -> None:
    """Pings of A once a second with a clock of this rate, beside this witness's."""
    for number in range(since, since + seconds):
        node.passes(NS_PER_S)
        sent = round(number * rate * NS_PER_S)
        earlier = PingEcho(Nonce((number - 1).to_bytes(16, "big")), 1_000_000) if number else None
        ping = Ping(Nonce(number.to_bytes(16, "big")), sent, earlier)
        node.node.rates.pinged(A, Incarnation(token(incarnation)), ping, InstantNs(node.now))


def until_report(node: NodeRig, rate: float, since: int) -> int:
    """As long as it may take: the window that runs, three of their own, and the next one."""
    for second in range(since, since + 130):
        if reports(node):
            return second
        talk(node, rate, 1, since=second)
    raise AssertionError("nothing was reported")


def at_level_2() -> NodeRig:
    node = NodeRig(leading=False).vacant()
    node.foreign(RaiseFeatureLevel(2))
    node.heard(A, B)
    return node


def reports(node: NodeRig) -> list[ClockReport]:
    return [command for command in node.commands() if isinstance(command, ClockReport)]


def test_a_witness_reports_what_changed_and_nothing_else():
    node = at_level_2()
    talk(node, 1.0, 120)
    assert reports(node) == []
    since = until_report(node, 0.95, 1_000)
    (told,) = reports(node)
    assert (told.witness, told.site) == (W[0], A)
    assert told.bounds.at_most_ppm < 951_000
    node.commit_all()
    talk(node, 0.95, 120, since=since)
    assert reports(node) == []
    until_report(node, 1.0, 10_000)
    (told,) = reports(node)
    assert told.bounds.at_least_ppm > 999_000


def test_a_report_that_was_lost_comes_again_with_the_next_window():
    node = at_level_2()
    talk(node, 0.95, 90)
    assert len(reports(node)) == 1
    node.proposed.clear()
    node.node.proposal_refused(InstantNs(node.now))
    talk(node, 0.95, 30, since=90)
    assert len(reports(node)) == 1


def test_a_witness_that_measured_it_fit_says_so_only_where_others_found_it_unfit():
    node = at_level_2()
    for witness in W[1:]:
        node.foreign(says(witness, SLOW))
    assert node.group.sites[A].clock is not None
    talk(node, 1.0, 90)
    (told,) = reports(node)
    assert told.bounds.at_least_ppm > 999_000


def test_an_incarnation_that_does_not_count_is_not_reported():
    node = at_level_2()
    talk(node, 0.95, 120, incarnation="i9")
    assert reports(node) == []


def test_status_shows_what_this_witness_measured_and_what_a_majority_found():
    node = at_level_2()
    talk(node, 0.95, 90)
    for witness in W[:2]:
        node.foreign(says(witness, SLOW))
    site = node.node.group_status(G, InstantNs(node.now))["sites"][0]
    assert site["site"] == A
    assert 949_000 < site["clock"]["rate_ppm"][0] <= site["clock"]["rate_ppm"][1] < 951_000
    assert site["clock"]["unfit"] == "too-slow"
    assert site["clock"]["unfit_words"] == WORDS
