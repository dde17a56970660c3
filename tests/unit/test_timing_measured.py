"""Round trips, site links and syncs: what a stream tells, what a witness takes in, what timing makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.core.streams import Route, Stream, StreamTable
from proto import limits
from proto.codec import AGENT_MESSAGES, WITNESS_MESSAGES, level_of
from proto.errors import BadValue
from proto.histogram import Histogram
from proto.messages import LINK_TRIPS_MAX, LinkTrip, Ping, PingEcho, Pong
from proto.takeover import ASSUMED
from proto.units import NS_PER_MS, InstantNs, Nonce, SiteId, WitnessId
from witness.core.measures import TRIP_MAX_NS, Measures
from witness.ctl import __main__ as ctl
from witness.ctl.errors import DRIFTED
from witness.timing.compiler import judge
from witness.timing.measurements import ASSUMED_SYNC_NS, SAMPLES_MIN, Measurements, delays_of
from witness.timing.reality import warnings
from witness.timing.wish import Wish

A, B = SiteId("dc-a"), SiteId("dc-b")
NONCE = Nonce(b"n" * 16)


def echo(ms: float) -> PingEcho:
    return PingEcho(NONCE, round(ms * NS_PER_MS))


def histogram(count: int, ms: float) -> Histogram:
    made = Histogram()
    for _ in range(count):
        made.add(round(ms * NS_PER_MS))
    return made


# -- what is said -------------------------------------------------------------------------------------------


def answered(stream: Stream, number: int, *, features: int, took_ns: int = 5) -> Ping:
    """One ping, and its pong after so long."""
    nonce = Nonce(number.to_bytes(16, "big"))
    ping = stream.ping(nonce, InstantNs(number * 1_000))
    stream.ponged(Pong(nonce, leading=True, has_quorum=True, features=features), InstantNs(number * 1_000 + took_ns))
    return ping


def test_a_witness_that_works_at_level_1_is_pinged_as_ever():
    table = StreamTable()
    table.opened(Route(WitnessId("w1")), leading=True)
    stream = table.open[Route(WitnessId("w1"))]
    for number in range(3):
        table.linked(B, 7)
        ping = answered(stream, number, features=1)
        assert ping == Ping(ping.nonce)
        assert level_of(AGENT_MESSAGES.encode(ping)) == 1
    assert level_of(WITNESS_MESSAGES.encode(Pong(NONCE, leading=True, has_quorum=True))) == 1


def test_from_level_2_on_a_ping_tells_once_of_the_one_before_and_of_the_site_link():
    table = StreamTable()
    for name in ("w1", "w2"):
        table.opened(Route(WitnessId(name)), leading=True)
    stream = table.open[Route(WitnessId("w1"))]
    first = answered(stream, 1, features=2)
    assert first == Ping(first.nonce)
    table.linked(B, 7)
    table.linked(B, 9)
    second = stream.ping(Nonce((2).to_bytes(16, "big")), InstantNs(2_000))
    assert second == Ping(second.nonce, 2_000, PingEcho(first.nonce, 5), (LinkTrip(B, 9),))
    assert AGENT_MESSAGES.decode(AGENT_MESSAGES.encode(second)) == second
    assert level_of(AGENT_MESSAGES.encode(second)) == 2
    third = stream.ping(Nonce((3).to_bytes(16, "big")), InstantNs(3_000))
    assert third == Ping(third.nonce, 3_000)
    assert table.open[Route(WitnessId("w2"))].links == {B: 9}


def test_what_waits_to_be_told_of_links_is_bounded():
    stream = Stream(leading=True, features=2)
    for number in range(LINK_TRIPS_MAX + 5):
        stream.links[SiteId(f"s{number:02}")] = number
    assert len(stream.ping(NONCE, InstantNs(1)).links) == LINK_TRIPS_MAX


# -- what a witness takes in --------------------------------------------------------------------------------


def test_round_trips_are_counted_by_site_and_an_outage_is_none():
    measures = Measures()
    measures.pinged(A, Ping(NONCE))
    assert measures.sites == {}
    measures.pinged(A, Ping(NONCE, 5, echo(3)))
    measures.pinged(A, Ping(NONCE, 6, PingEcho(NONCE, TRIP_MAX_NS)))
    assert (measures.sites[A].trips.total, measures.sites[A].silences) == (1, 1)
    assert measures.sites[A].trips.longest_ns == 3 * NS_PER_MS


def test_site_links_are_counted_and_bounded():
    measures = Measures()
    for number in range(100):
        links = tuple(LinkTrip(SiteId(f"s{number}-{one}"), 5) for one in range(20))
        measures.pinged(A, Ping(NONCE, 5, None, links))
    assert len(measures.sites[A].links) == limits.SITES_PER_GROUP_MAX * LINK_TRIPS_MAX
    measures.pinged(B, Ping(NONCE, 5, None, (LinkTrip(A, 4 * NS_PER_MS), LinkTrip(A, -1), LinkTrip(A, TRIP_MAX_NS))))
    assert measures.sites[B].links[A].total == 1


def said(measures: Measures, **more: object) -> dict[str, object]:
    plain = {"peers": Histogram().to_json(), "election_max_ns": 600 * NS_PER_MS}
    return {**measures.to_json(), **plain, **more}


def measured(site: SiteId = A, *, trips: int = 0, trip_ms: float = 2, links: int = 0, link_ms: float = 2) -> Measures:
    made = Measures()
    for _ in range(trips):
        made.pinged(site, Ping(NONCE, 5, echo(trip_ms)))
    for _ in range(links):
        made.pinged(site, Ping(NONCE, 5, None, (LinkTrip(B, round(link_ms * NS_PER_MS)),)))
    return made


# -- what timing makes of it --------------------------------------------------------------------------------


def test_round_trips_of_all_sites_and_witnesses_take_the_place_of_the_assumed_one():
    few, many = Measurements(), Measurements()
    few.take("w1", said(measured(trips=10)))
    assert delays_of(few).round_trip_ns == ASSUMED.round_trip_ns
    many.take("w1", said(measured(trips=SAMPLES_MIN // 2)))
    many.take("w2", said(measured(B, trips=SAMPLES_MIN // 2)))
    assert delays_of(many).round_trip_ns == 4 * NS_PER_MS
    many.take("w3", said(measured(trips=1, trip_ms=80)))
    assert delays_of(many).round_trip_ns == 80 * NS_PER_MS


def test_every_witness_is_told_of_the_same_link_so_the_longest_account_counts():
    found = Measurements()
    for witness in ("w1", "w2", "w3"):
        found.take(witness, said(measured(links=SAMPLES_MIN)))
    assert found.links[A, B].total == SAMPLES_MIN
    assert delays_of(found).link_ns == 4 * NS_PER_MS


def test_syncs_stand_in_for_commits_while_there_are_few_of_those():
    found = Measurements()
    found.take("w1", said(Measures(), syncs=histogram(SAMPLES_MIN, 15).to_json()))
    assert delays_of(found).commit_ns == 2 * 2 * 15 * NS_PER_MS
    found.commits.merge(histogram(SAMPLES_MIN, 1))
    assert delays_of(found).commit_ns == 2 * NS_PER_MS


def test_a_witness_of_an_earlier_version_tells_less_and_what_it_lacks_is_assumed():
    old = {
        "commits": Histogram().to_json(),
        "peers": Histogram().to_json(),
        "election_max_ns": 600 * NS_PER_MS,
        "leader_changes": 0,
        "sites": {A: {"late": Histogram().to_json()}},
    }
    found = Measurements()
    found.take("w1", old)
    assert delays_of(found) == ASSUMED


@pytest.mark.parametrize("links", [3, {"dc-b": "many"}, {"dc-b": {"total": 1, "longest_ns": 1, "counts": {"x": 1}}}])
def test_what_no_witness_says_of_links_is_refused(links):
    site = {"late": Histogram().to_json(), "links": links}
    with pytest.raises(BadValue):
        Measurements().take("w1", said(Measures(), sites={A: site}))


def test_each_that_is_worse_than_assumed_is_warned_of_with_both_numbers():
    found = Measurements()
    found.take("w1", said(measured(trips=5, trip_ms=70, links=5, link_ms=90), syncs=histogram(5, 30).to_json()))
    timers = judge(Wish(), 3_000).timers
    told = {one.name: (one.assumed, one.measured) for one in warnings(found, ASSUMED, timers)}
    assert told["dc-a: round trip (p99)"] == (50, 70)
    assert told["dc-a to dc-b: site link (p99)"] == (50, 90)
    assert told["journal sync (p99)"] == (ASSUMED_SYNC_NS / NS_PER_MS, 30)
    calm = Measurements()
    calm.take("w1", said(measured(trips=5, links=5), syncs=histogram(5, 1).to_json()))
    assert list(warnings(calm, ASSUMED, timers)) == []


def test_a_slow_site_link_is_held_against_the_renewal_interval():
    slow = Measurements()
    slow.take("w1", said(measured(links=SAMPLES_MIN, link_ms=400)))
    found = judge(Wish(), 2_000, delays_of(slow))
    (hold,) = [one for one in found.inequalities if one.name == "hold"]
    assert not hold.holds
    assert (hold.left_ms, hold.right_ms) == (850, found.timers.renew_ms)
    assert judge(Wish(), 2_000).sound


def test_the_command_uses_them(monkeypatch, tmp_path: Path, capsys):
    file = tmp_path / "measured.json"
    slow = said(measured(trips=SAMPLES_MIN, trip_ms=60), syncs=histogram(5, 1).to_json())
    file.write_text(json.dumps({"measured": {"w1": slow}}))
    monkeypatch.setattr(
        "sys.argv", ["witnessctl", "timing", "--wish", "takeover=15s", "--measured", str(file), "--json"]
    )
    assert ctl.run() == DRIFTED
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[-1])["delays"]["round_trip_ns"] == 120 * NS_PER_MS
    assert "dc-a: round trip (p99): assumed 50 ms, measured 60 ms" in told.err
