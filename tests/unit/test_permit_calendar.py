"""The calendar of the entries' wall clocks: never less than what passed, and more only in doubt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proto.permit import AFTER_MS_MAX, CALENDAR_SLACK_MS
from proto.units import WallMs, WitnessId
from witness.core import calendar as room
from witness.core.calendar import DOUBT_MS
from witness.core.state import Calendar

W1, W2, W3 = (WitnessId(f"w{number}") for number in (1, 2, 3))
T0 = 1_800_000_000_000


def counted(*entries: tuple[WitnessId, int]) -> int:
    calendar = Calendar()
    for proposer, wall_ms in entries:
        room.pass_time(calendar, proposer, WallMs(wall_ms))
    return calendar.counted_ms - AFTER_MS_MAX


def test_one_clock_is_simply_followed():
    assert counted((W1, T0)) == 0, "nothing is known of the time before the first entry"
    assert counted((W1, T0), (W1, T0 + 700), (W1, T0 + 900)) == 900


def test_a_constant_difference_between_two_clocks_adds_nothing_and_is_no_doubt():
    behind = 3_600_000
    beats = [(W1, T0), (W2, T0 + 1_000 + behind)]  # the first one of w2 is compared with the newest of all
    for step in range(2, 100, 2):
        beats += [(W1, T0 + step * 1_000), (W2, T0 + (step + 1) * 1_000 + behind)]
    assert counted(*beats) == counted(*beats[:2]) + 98_000


def test_a_clock_that_goes_back_counts_as_long():
    assert counted((W1, T0), (W1, T0 - CALENDAR_SLACK_MS)) == 0
    assert counted((W1, T0), (W1, T0 - CALENDAR_SLACK_MS - 1)) == DOUBT_MS
    assert counted((W1, T0), (W2, T0 - CALENDAR_SLACK_MS - 1)) == DOUBT_MS, "nobody knows the new one's clock"


def test_small_steps_back_add_up():
    steps = [(W1, T0 - 1_500 * number) for number in range(4)]
    assert counted(*steps) >= DOUBT_MS


def test_an_outage_shows_whoever_leads_after_it():
    before = [(W1, T0), (W2, T0 + 500)]
    for first in (W1, W2, W3):
        assert counted(*before, (first, T0 + 600_500)) >= 600_000


def test_a_clock_that_was_set_back_in_the_outage_is_shown_up_by_the_next_witness():
    before = [(W1, T0), (W2, T0)]
    assert counted(*before, (W1, T0 + 1_000)) == 1_000, "w1 leads, its clock lost the outage: this is what remains"
    assert counted(*before, (W1, T0 + 1_000), (W2, T0 + 601_000)) >= 600_000


@given(
    st.lists(st.tuples(st.sampled_from((W1, W2, W3)), st.integers(0, 100_000)), min_size=2, max_size=40),
    st.tuples(*[st.integers(-CALENDAR_SLACK_MS // 2, CALENDAR_SLACK_MS // 2)] * 3),
)
def test_it_never_counts_less_than_what_passed(beats, apart):
    """Clocks that are apart by no more than the slack, and run alike; what a newcomer's difference hides is bounded."""
    skew = dict(zip((W1, W2, W3), apart, strict=True))
    now, entries = 0, []
    for proposer, passed in beats:
        now += passed
        entries.append((proposer, T0 + now + skew[proposer]))
    passed_ms = now - beats[0][1]
    newcomers = len({proposer for proposer, _ in beats}) - 1
    found = counted(*entries)
    assert passed_ms - newcomers * CALENDAR_SLACK_MS <= found <= passed_ms + newcomers * CALENDAR_SLACK_MS
