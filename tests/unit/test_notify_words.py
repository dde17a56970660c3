"""Reminders, and what letters say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from notify_rig import settings, target
from test_notify_lanes import event

from proto.events import EventKind
from proto.units import ClusterId, Epoch, GroupId, SiteId, WallMs, WitnessId
from witness.core.notify.desk import Tell
from witness.core.notify.lanes import told_of
from witness.core.notify.reminders import Remind, Reminders
from witness.core.notify.state import OpenAlarm
from witness.notify.letter import REPEATED, TITLE_CHARS_MAX, Sender, of_events, of_ping, of_reminder, of_test

CLUSTER, PERIOD_MS = ClusterId("c" * 32), 1_800_000
SENDER = Sender(CLUSTER, WitnessId("w1"))
BEGAN = WallMs(1_800_000_000_000)


def alarm(**changes) -> OpenAlarm:
    return replace(OpenAlarm(EventKind.EXPIRED, GroupId("shop"), SiteId("dc-a"), Epoch(7), BEGAN, 12), **changes)


def reminders(*targets) -> Reminders:
    made = Reminders(settings(*targets), CLUSTER)
    made.step({}, BEGAN)
    return made


def test_an_alarm_is_said_again_each_period_until_somebody_looks_after_it():
    made, open_alarm = reminders(), alarm()
    due = [made.step({12: open_alarm}, WallMs(BEGAN + at * 60_000)) for at in range(1, 91)]
    assert [minute for minute, found in enumerate(due, start=1) if found] == [30, 60, 90]
    assert len({found[0].key for found in due if found}) == 3
    open_alarm.acknowledged = "ann"
    assert made.step({12: open_alarm}, WallMs(BEGAN + 8 * PERIOD_MS)) == []


def test_a_new_leader_goes_on_where_the_old_one_was():
    first, second = reminders(), Reminders(settings(), CLUSTER)
    open_alarm = alarm()
    assert first.step({12: open_alarm}, WallMs(BEGAN + PERIOD_MS + 5))
    assert second.step({12: open_alarm}, WallMs(BEGAN + PERIOD_MS + 10)) == [], "it begins to look now"
    (again,) = second.step({12: open_alarm}, WallMs(BEGAN + 2 * PERIOD_MS))
    (same,) = first.step({12: open_alarm}, WallMs(BEGAN + 2 * PERIOD_MS))
    assert again.key == same.key


def test_who_lost_its_place_reminds_of_nothing_that_fell_due_meanwhile():
    made = reminders()
    made.lead(leading=False)
    assert made.step({12: alarm()}, WallMs(BEGAN + 5 * PERIOD_MS)) == []


@pytest.mark.parametrize(
    "rules", [{"remind": False}, {"groups": ("mail",)}, {"kinds": ("quarantined",)}, {"kinds_not": ("expired",)}]
)
def test_only_who_was_told_is_reminded(rules):
    made = reminders(target(**rules), target("boss"))
    (remind,) = made.step({12: alarm()}, WallMs(BEGAN + PERIOD_MS))
    assert remind.target.name == "boss"


def test_what_is_due_together_is_said_together():
    made = reminders()
    (remind,) = made.step({12: alarm(), 15: alarm(group=GroupId("mail"))}, WallMs(BEGAN + PERIOD_MS))
    assert [number for number, _ in remind.alarms] == [12, 15]


def tell(*found, repeated: bool = False, attempt: int = 1) -> Tell:
    return Tell("ops.urgent", target(), "k" * 32, tuple(found), repeated, attempt)


def test_a_letter_says_the_weightiest_first_and_every_event():
    lost, barred = event(EventKind.EXPIRED, text="renewal 12 ran out"), event(EventKind.QUARANTINED)
    made = of_events(SENDER, tell(told_of(barred, ()), told_of(lost, ())))
    assert made.title == "[CRITICAL] shop dc-a: the active site was lost: its lease ran out (and 1 more)"
    assert len(made.text.splitlines()) == 2
    assert "renewal 12 ran out" in made.text
    assert f"#{lost.seq} expired" in made.text
    fields = json.loads(json.dumps(made.to_json()))
    assert [one["kind"] for one in fields["events"]] == ["quarantined", "expired"]
    assert (fields["id"], fields["type"], fields["repeated"]) == ("k" * 32, "events", False)


def test_an_end_says_what_is_over():
    lost, back = event(EventKind.EXPIRED), event(EventKind.CLAIMED, site="dc-b")
    made = of_events(SENDER, tell(told_of(back, [lost])))
    assert made.over
    assert made.title.startswith("[OVER] shop dc-b")
    assert "over: expired" in made.text
    assert made.fields["events"][0]["ends"] == lost.seq


def test_only_what_may_have_been_told_before_says_so():
    lost = told_of(event(EventKind.EXPIRED), ())
    assert REPEATED in of_events(SENDER, tell(lost, repeated=True)).text
    assert REPEATED not in of_events(SENDER, tell(lost, repeated=True, attempt=2)).text, "the same witness tries again"
    assert REPEATED not in of_events(SENDER, tell(lost)).text


def test_titles_fit_a_telephone():
    long = event(EventKind.HOLDS_BEGAN, group="g" * 63, site="s" * 63)
    assert len(of_events(SENDER, tell(told_of(long, ()))).title) <= TITLE_CHARS_MAX


def test_a_reminder_names_the_command_that_ends_it():
    made = of_reminder(SENDER, Remind(target(), "k", ((12, alarm()),)))
    assert "witnessctl notify ack" in made.text
    assert made.title.startswith("[REMINDER] shop dc-a")
    assert made.fields["alarms"][0]["alarm"] == 12


def test_tests_and_pings_have_a_form_of_their_own():
    assert of_test(SENDER, "ops", "k", "ann").to_json()["type"] == "test"
    ping = of_ping(SENDER, "kuma", "k", [f"g{number:03}" for number in range(300)])
    assert ping.to_json()["type"] == "ping"
    assert len(ping.fields["groups"]) == 100
