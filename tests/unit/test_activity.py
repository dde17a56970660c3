"""Intervals of activity from a real machine's ledger, and that a changed ledger is refused, naming the entry."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, G, Rig, W, config, report, token
from escrow_rig import EscrowRig, licensed
from restore_rig import restored, unbarred
from test_replicated_rules import Walk

from proto.commands import Cause, ConfigureGroup, DeleteGroup, RaiseFeatureLevel, SetQuarantine
from proto.decisions import Reason
from proto.errors import BadValue
from proto.events import Event, EventKind
from proto.groups import WitnessLoss
from proto.health import SiteState
from proto.holds import NO_CHAIN, HoldMark
from proto.permit import PermitMark
from proto.units import Epoch, GroupId, SiteId, WallMs
from witness.activity.evidence import event_fields, evidence, judge, read_event, read_evidence, verdict_fields
from witness.activity.intervals import Activity, By, End, activity_of

Row = tuple[str, str, str, list[int]]


def rows(events: list[Event] | Rig) -> list[Row]:
    told = events.machine.state.ledger.recent if isinstance(events, Rig) else events
    found = activity_of(told, G)
    assert not found.findings, found.findings
    return [(one.site, one.by.value, one.end.value, [int(epoch) for epoch in one.epochs]) for one in found.intervals]


def findings(rig: Rig) -> list[str]:
    return [one.words for one in activity_of(rig.machine.state.ledger.recent, G).findings]


# -- stories of the real machine ------------------------------------------------------------------------------


def test_a_handover_and_a_takeover_are_two_intervals_and_the_next_one_is_open():
    rig = Rig()
    rig.hold(A)
    assert rig.one(rig.release_command()).ok
    assert rig.one(rig.grant_command(B, cause=Cause.TAKEOVER)).ok
    rig.beat(B, epoch=3, claim=token("b"), said=report(epoch_bound=Epoch(3)))
    rig.expire()
    rig.beat(A, said=report(epoch_bound=Epoch(3), finished_epoch=Epoch(3)))
    assert rig.one(rig.grant_command(A)).ok
    assert rows(rig) == [
        (A, "lease", "released", [2]),
        (B, "lease", "expired", [3]),
        (A, "lease", "open", [4]),
    ]
    found = activity_of(rig.machine.state.ledger.recent, G)
    assert (found.whole, found.intervals[1].cause, found.intervals[2].claimed) == (True, "takeover", None)
    assert found.intervals[0].ended.seq < found.intervals[1].begin.seq < found.intervals[1].claimed.seq


def test_a_grant_that_nobody_claimed_gave_no_authority():
    rig = Rig()
    rig.beat(A)
    rig.one(rig.grant_command(A))
    rig.expire()
    assert rows(rig) == [(A, "lease", "never-claimed", [2])]
    fields = verdict_fields(judge(rig.machine.state.ledger.recent, G))
    assert [one["authority"] for one in fields["intervals"]] == [False]


class Held(Rig):
    """A goes on by holds after its lease ran out."""

    def __init__(self) -> None:
        super().__init__()
        assert self.one(RaiseFeatureLevel(2)).ok
        assert self.one(ConfigureGroup(config(witness_loss=WitnessLoss.HOLD), 1, AUTHOR)).ok
        for site in (A, B):
            self.beat(site, said=report(group_version=2))
        assert self.one(self.grant_command(A)).ok
        self.active(2)
        self.expire()
        self.active(2, HoldMark(Epoch(2), 4, NO_CHAIN))

    def active(self, epoch: int, holding: HoldMark | None = None) -> None:
        said = report(state=SiteState.ACTIVE, epoch_bound=Epoch(epoch), holding=holding, group_version=2)
        self.beat(A, epoch=epoch, claim=token("claim"), said=said)


def test_a_lease_that_ran_out_while_its_holder_went_on_by_holds_is_one_interval_until_it_is_down():
    rig = Held()
    assert rows(rig) == [(A, "holds", "open", [2])]
    assert rig.one(rig.grant_command(A, cause=Cause.REGRANT, reason=Reason.HOLDS_UNBROKEN)).ok
    assert rows(rig) == [(A, "holds", "open", [2, 3])]
    rig.active(3)
    assert rows(rig) == [(A, "lease", "open", [2, 3])]
    assert rig.one(rig.release_command()).ok
    assert rows(rig) == [(A, "lease", "released", [2, 3])]


def test_a_holder_by_holds_that_says_that_it_is_down_ended_then():
    rig = Held()
    rig.beat(A, said=report(state=SiteState.FENCED, epoch_bound=Epoch(2), finished_epoch=Epoch(2), group_version=2))
    assert rows(rig) == [(A, "holds", "verified-down", [2])]


def test_a_holder_by_holds_that_is_not_heard_again_ended_when_the_next_was_granted():
    rig = Held()
    assert rig.one(rig.grant_command(B)).ok
    assert rows(rig) == [(A, "holds", "holds-over", [2]), (B, "lease", "open", [3])]


def test_a_permit_is_an_interval_from_when_it_was_told_of_and_goes_on_by_the_adopted_lease():
    rig = EscrowRig()
    mark = PermitMark(Epoch(1 << 21), token("permit"))
    rig.expire()
    rig.say(A)
    rig.say(B, licensed(), state=SiteState.ACTIVE, permit=mark, epoch_bound=mark.epoch)
    assert rows(rig)[-1] == (B, "permit", "open", [1 << 21])
    adopted = rig.grant_command(B, cause=Cause.ADOPTED, epoch=Epoch(mark.epoch + 1))
    assert rig.one(adopted).ok
    rig.say(B, licensed(), epoch=rig.epoch, permit=mark)
    rig.say(B, licensed(), epoch=rig.epoch)
    assert rows(rig)[-1] == (B, "lease", "open", [1 << 21, (1 << 21) + 1])
    rig.end(B)
    assert [row[2] for row in rows(rig)] == ["expired", "released"]


def test_a_permit_that_ends_before_it_was_adopted_ends_its_interval():
    rig = EscrowRig()
    rig.expire()
    mark = PermitMark(Epoch(1 << 21), token("permit"))
    rig.say(B, licensed(), state=SiteState.ACTIVE, permit=mark)
    rig.say(B, licensed(), state=SiteState.ACTIVE)
    assert rows(rig)[-1] == (B, "permit", "permit-ended", [1 << 21])
    rig.say(A, licensed(), state=SiteState.ACTIVE, permit=replace(mark, permit=token("other")))
    rig.say(A, licensed())
    assert rows(rig)[-1] == (A, "permit", "verified-down", [1 << 21])


def test_a_restore_cuts_an_interval_off_and_its_bound_is_the_end_of_the_wait():
    rig = Rig()
    rig.hold(A)
    kept = list(rig.machine.state.ledger.recent)
    rig = restored(rig)
    assert rows(rig) == [(A, "lease", "witnesses-restored", [2])]
    before = activity_of(rig.machine.state.ledger.recent, G).intervals[0].ended
    unbarred(rig)
    after = activity_of(rig.machine.state.ledger.recent, G).intervals[0].ended
    assert before.seq < after.seq
    assert len(kept) < before.seq


def test_a_group_that_is_made_again_goes_on_in_the_same_story():
    rig = Rig()
    rig.hold(A)
    assert rig.one(rig.release_command()).ok
    assert rig.one(DeleteGroup(G, AUTHOR)).ok
    assert rig.one(ConfigureGroup(config(), 0, AUTHOR)).ok
    for witness in W[:2]:
        rig.vote(witness, epoch=rig.group.epoch)
    rig.hold(B)
    assert [row[:3] for row in rows(rig)] == [(A, "lease", "released"), (B, "lease", "open")]


@pytest.mark.parametrize("level", [1, 2])
def test_no_two_intervals_of_a_long_random_log_overlap(level, monkeypatch):
    """The real machine's rules under honest and absurd agents: whatever it grants, the story holds."""
    walk = Walk(level)
    events, run = list(walk.rig.machine.state.ledger.recent), walk.rig.run

    def kept(*commands):
        outcomes = run(*commands)
        events.extend(walk.rig.last.events)
        return outcomes

    monkeypatch.setattr(walk.rig, "run", kept)
    for _ in range(1_500):
        walk.step()
    found = judge(events, G).activity
    assert found.findings == []
    assert len(found.intervals) > 10
    assert {one.end for one in found.intervals} >= {End.RELEASED, End.EXPIRED, End.UNCLAIMED}


# -- contradictions -------------------------------------------------------------------------------------------


def test_a_grant_while_another_site_is_active_is_named_by_its_entry(monkeypatch):
    rig = Rig()
    rig.hold(A)
    monkeypatch.setattr("witness.core.lease_rules.refusal", lambda phase, cause: None)
    monkeypatch.setattr("witness.core.lease_rules.next_phase", lambda phase, cause: phase)
    assert rig.one(rig.grant_command(B)).ok
    (found,) = activity_of(rig.machine.state.ledger.recent, G).findings
    assert found.words == "granted at dc-b overlaps: dc-a since entry " + str(found.seq - 2) + " has not ended"
    assert not judge(rig.machine.state.ledger.recent, G).proven


def without(rig: Rig, *kinds: EventKind) -> Activity:
    return activity_of([event for event in rig.machine.state.ledger.recent if event.kind not in kinds], G)


def test_what_is_missing_in_a_story_is_found_also_without_the_chain():
    rig = Rig()
    rig.hold(A)
    assert rig.one(rig.release_command()).ok
    rig.hold(B, claim="b")
    assert "overlaps" in without(rig, EventKind.RELEASED).findings[0].words
    assert "without a grant" in without(rig, EventKind.GRANTED).findings[0].words
    assert "before the wait" in without(rig, EventKind.UNBARRED).findings[0].words


def test_a_regrant_after_a_release_or_at_another_site_is_a_contradiction():
    rig = Held()
    assert rig.one(rig.grant_command(A, cause=Cause.REGRANT, reason=Reason.HOLDS_UNBROKEN)).ok
    events = rig.machine.state.ledger.recent
    moved = [dataclasses.replace(e, site=B) if e.kind is EventKind.REGRANTED else e for e in events]
    assert "regranted at dc-b overlaps: dc-a since entry" in activity_of(moved, G).findings[0].words
    assert "has not ended" in activity_of(moved, G).findings[0].words


def test_a_license_that_was_seen_active_twice_is_no_proof_of_one():
    rig = EscrowRig()
    rig.say(B, licensed(active=True))
    (words,) = findings(rig)
    assert words == "both-active at dc-b: fingerprint: its probe sees it activated, while dc-a is granted"


def test_a_story_that_begins_later_is_told_from_there_and_said_to_be_a_part():
    rig = Rig()
    rig.hold(A)
    assert rig.one(rig.release_command()).ok
    verdict = judge(rig.machine.state.ledger.recent[-2:], G)
    assert (verdict.proven, verdict.complete, verdict.first_seq > 1) == (True, False, True)
    nothing = judge(rig.machine.state.ledger.recent, GroupId("mail"))
    assert (nothing.proven, nothing.complete, nothing.activity.intervals) == (True, True, [])


def test_wall_clocks_decide_nothing_and_what_they_contradict_is_shown():
    rig = Rig()
    rig.hold(A)
    events = list(rig.machine.state.ledger.recent)
    apart = [dataclasses.replace(event, wall_ms=WallMs(9_000 - 1_000 * (at % 5))) for at, event in enumerate(events)]
    assert activity_of(apart, G).clocks_apart_ms == 4_000
    fields = verdict_fields(dataclasses.replace(judge(events, G), activity=activity_of(apart, G)))
    assert (fields["clock_uncertainty_ms"], fields["clocks_apart_ms"], fields["ok"]) == (4_000, 4_000, True)


# -- the chain, and evidence in a file ------------------------------------------------------------------------


@pytest.fixture
def story() -> list[Event]:
    rig = Rig()
    rig.hold(A)
    assert rig.one(rig.release_command()).ok
    assert rig.one(SetQuarantine(G, A, True, (), AUTHOR)).ok
    rig.hold(B, claim="b")
    return list(rig.machine.state.ledger.recent)


def test_events_come_back_from_json_as_they_were(story):
    assert [read_event(json.loads(json.dumps(event_fields(event)))) for event in story] == story


def test_a_whole_ledger_is_proven_and_an_empty_one_is_not(story):
    verdict = judge(story, G)
    assert (verdict.proven, verdict.complete, verdict.first_seq) == (True, True, 1)
    assert verdict.head_chain == story[-1].chain.hex()
    assert judge([], G).findings[0].words == "there are no entries"


CHANGES = {
    "text": lambda event: dataclasses.replace(event, text=event.text + "!"),
    "site": lambda event: dataclasses.replace(event, site=SiteId("dc-z")),
    "wall": lambda event: dataclasses.replace(event, wall_ms=WallMs(event.wall_ms + 1)),
    "epoch": lambda event: dataclasses.replace(event, epoch=Epoch(event.epoch + 1)),
    "index": lambda event: dataclasses.replace(event, index=event.index + 1),
    "chain": lambda event: dataclasses.replace(event, chain=bytes(32)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at", [0, 4, -1])
def test_any_change_of_an_entry_is_refused_and_the_entry_is_named(story, change, at):
    changed = CHANGES[change](story[at])
    bad = [changed if event is story[at] else event for event in story]
    verdict = judge(bad, G)
    assert not verdict.proven
    assert verdict.findings[0].seq == story[at].seq
    assert "the ledger was changed there" in verdict.findings[0].words


@pytest.mark.parametrize("at", [1, 5, 8])
def test_an_entry_that_is_left_out_or_put_in_twice_is_refused_where_it_was(story, at):
    gone = judge(story[:at] + story[at + 1 :], G)
    assert gone.findings[0].seq == story[at + 1].seq
    assert judge([*story[:at], story[at], *story[at:]], G).findings[0].seq == story[at].seq
    swapped = [*story[:at], story[at + 1], story[at], *story[at + 2 :]]
    assert not judge(swapped, G).proven


def test_evidence_is_read_back_and_everything_in_it_but_the_entries_is_drawn_anew(story):
    verdict = judge(story, G)
    made = evidence(verdict, story, cluster="c" * 32, exported_ms=5_000, anchors={"w1": verdict.head_chain})
    read = json.loads(json.dumps(made))
    assert (read["format"], read["ok"], read["complete"], read["anchors"]["w1"]) == (
        "thirdsite-license-evidence-1",
        True,
        True,
        story[-1].chain.hex(),
    )
    first = read["intervals"][0]
    assert (first["site"], first["not_before"], first["not_after"]) == (
        A,
        "1969-12-31T23:59:59.000+00:00",
        "1970-01-01T00:00:03.000+00:00",
    )
    read["intervals"], read["ok"] = [], False
    group, events = read_evidence(read)
    assert (group, events) == (G, story)
    assert verdict_fields(judge(events, group)) == verdict_fields(verdict)


def test_a_renamed_kind_in_a_file_is_found(story):
    read = json.loads(json.dumps(evidence(judge(story, G), story, cluster="c", exported_ms=0, anchors={})))
    at = next(number for number, event in enumerate(story) if event.kind is EventKind.RELEASED)
    read["events"][at]["kind"] = "mode"
    verdict = judge(read_evidence(read)[1], G)
    assert verdict.findings[0].seq == story[at].seq


@pytest.mark.parametrize(
    "raw",
    [
        [],
        {"format": "other"},
        {"format": "thirdsite-license-evidence-1", "group": 7, "events": []},
        {"format": "thirdsite-license-evidence-1", "group": "g", "events": [{}]},
        {"format": "thirdsite-license-evidence-1", "group": "g", "events": [7]},
        {"format": "thirdsite-license-evidence-1", "group": "g"},
    ],
)
def test_what_is_no_evidence_is_refused_with_a_remedy(raw):
    with pytest.raises(BadValue, match=r"export|licens"):
        read_evidence(raw)


def test_words_for_how_an_activity_was_held_and_how_it_ended_are_stable():
    assert {one.value for one in By} == {"lease", "holds", "permit"}
    assert {one.value for one in End} == {
        "open", "released", "expired", "never-claimed", "verified-down", "holds-over", "permit-ended",
        "witnesses-restored",
    }  # fmt: skip
