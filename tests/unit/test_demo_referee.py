"""The referee: intervals, overlaps, moves and alarms from signs alone, and its picture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from witness.demo.referee import ALARMS_MAX, LIVES_MAX, AlarmKind, Life, Referee, Sign, SignKind, moves, overlaps
from witness.demo.timeline import timeline

MS = 1_000_000


def sign(at_ms: int, instance: str, site: str = "dc-a", epoch: int = 1, kind: SignKind = SignKind.ALIVE) -> Sign:
    return Sign(at_ms * MS, kind, "key", instance, site, epoch)


def heard(*signs: Sign) -> Referee:
    referee = Referee()
    for one in signs:
        referee.hear(one)
    return referee


def activate(at_ms: int, instance: str, site: str, epoch: int) -> Sign:
    return sign(at_ms, instance, site, epoch, SignKind.ACTIVATE)


def deactivate(at_ms: int, instance: str, site: str, epoch: int) -> Sign:
    return sign(at_ms, instance, site, epoch, SignKind.DEACTIVATE)


def test_one_after_the_other_is_a_move_and_no_overlap():
    referee = heard(
        activate(0, "one", "dc-a", 1),
        sign(15, "one"),
        deactivate(30, "one", "dc-a", 1),
        activate(130, "two", "dc-b", 2),
        sign(145, "two", "dc-b", 2),
    )
    verdict = referee.verdict()
    assert verdict.activations == 2
    assert verdict.overlap_s == 0.0
    assert verdict.overlaps == ()
    assert verdict.alarms == ()
    [move] = verdict.moves
    assert (move.from_site, move.to_site, move.clean) == ("dc-a", "dc-b", True)
    assert move.seconds == 0.1


def test_an_unclean_move_is_told_apart():
    [move] = heard(activate(0, "one", "dc-a", 1), activate(500, "two", "dc-b", 2)).verdict().moves
    assert not move.clean


def test_two_alive_at_once_overlap_for_as_long_as_both_gave_signs():
    referee = heard(
        activate(0, "one", "dc-a", 1),
        activate(100, "two", "dc-b", 2),
        sign(130, "one"),
        sign(150, "two", "dc-b", 2),
        sign(160, "one"),
    )
    verdict = referee.verdict()
    assert verdict.overlap_s == 0.05
    [alarm] = verdict.alarms
    assert alarm.kind is AlarmKind.OVERLAP
    assert alarm.at_ns == 130 * MS, "told at the first sign that proves it, and once"


def test_a_platform_that_wakes_after_its_successor_started_is_an_overlap():
    """What a SIGCONT would show if the stopped platform were not dead: its interval reaches over the other's start."""
    referee = heard(activate(0, "one", "dc-a", 1), activate(3_000, "two", "dc-b", 2), sign(9_000, "one"))
    assert referee.verdict().overlap_s == 0.0, "the other gave one sign: the intervals touch in one instant"
    assert [alarm.kind for alarm in referee.alarms] == [AlarmKind.OVERLAP]
    referee.hear(sign(9_500, "two", "dc-b", 2))
    assert referee.verdict().overlap_s == 6.0


def test_two_instances_of_one_site_overlap_too():
    referee = heard(activate(0, "one", "dc-a", 1), activate(10, "two", "dc-a", 2), sign(20, "one"))
    assert [alarm.kind for alarm in referee.alarms] == [AlarmKind.OVERLAP]


def test_an_epoch_that_does_not_grow_is_an_alarm():
    referee = heard(activate(0, "one", "dc-a", 4), activate(100, "two", "dc-b", 4), activate(200, "three", "dc-a", 3))
    assert [alarm.kind for alarm in referee.alarms] == [AlarmKind.EPOCH, AlarmKind.EPOCH]


def test_signs_without_an_activation_are_counted_and_alarmed():
    referee = heard(sign(0, "ghost"), sign(15, "ghost"))
    assert referee.verdict().activations == 1
    assert [alarm.kind for alarm in referee.alarms] == [AlarmKind.UNKNOWN]


def test_a_sign_after_the_license_was_given_back_is_an_alarm():
    referee = heard(activate(0, "one", "dc-a", 1), deactivate(10, "one", "dc-a", 1), sign(20, "one"))
    assert [alarm.kind for alarm in referee.alarms] == [AlarmKind.UNKNOWN]
    assert not referee.lives[0].deactivated


def test_the_longest_silence_is_kept():
    referee = heard(activate(0, "one", "dc-a", 1), sign(15, "one"), sign(515, "one"), sign(530, "one"))
    assert referee.lives[0].silent_max_ns == 500 * MS
    assert referee.lives[0].signs == 4


def test_memory_is_bounded_and_says_so():
    referee = Referee()
    for number in range(LIVES_MAX + 5):
        referee.hear(activate(number * 10, f"i{number}", "dc-a", number + 1))
    assert len(referee.lives) == LIVES_MAX
    assert any("are remembered" in alarm.text for alarm in referee.alarms)
    assert len(referee.alarms) <= ALARMS_MAX


intervals = st.lists(
    st.tuples(st.integers(0, 1_000), st.integers(0, 300), st.sampled_from(("dc-a", "dc-b"))), min_size=1, max_size=6
)


@given(intervals)
def test_overlaps_agree_with_a_count_of_every_millisecond(found: list[tuple[int, int, str]]):
    lives = [Life(f"i{at}", site, at, start, start + long) for at, (start, long, site) in enumerate(found)]
    slow = sum(
        1
        for one in range(len(lives))
        for other in range(one + 1, len(lives))
        for at in range(1_301)
        if lives[one].first_ns <= at < lives[one].last_ns and lives[other].first_ns <= at < lives[other].last_ns
    )
    assert sum(both.until_ns - both.from_ns for both in overlaps(lives)) == slow


@given(intervals)
def test_alarms_and_overlaps_say_the_same(found: list[tuple[int, int, str]]):
    """The alarm while it happens and the sum at the end are two ways to one verdict."""
    ends = [
        (at, number, kind, site)
        for number, (start, long, site) in enumerate(found)
        for at, kind in ((start, SignKind.ACTIVATE), (start + long, SignKind.ALIVE))
    ]
    order = {SignKind.ACTIVATE: 0, SignKind.ALIVE: 1}
    referee = heard(
        *(
            sign(at, f"i{number}", site, number + 1, kind)
            for at, number, kind, site in sorted(ends, key=lambda one: (one[0], order[one[2]], one[1]))
        )
    )
    alarmed = sum(1 for alarm in referee.alarms if alarm.kind is AlarmKind.OVERLAP)
    assert alarmed == len(overlaps(referee.lives))


def test_moves_are_in_the_order_of_the_first_signs():
    lives = [Life("b", "dc-b", 2, 300, 400), Life("a", "dc-a", 1, 0, 200)]
    [move] = moves(lives)
    assert (move.from_site, move.to_site) == ("dc-a", "dc-b")


def test_the_picture_shows_who_was_active_and_where_marks_fell():
    lives = [Life("one", "dc-a", 1, 1_000 * MS, 4_000 * MS), Life("two", "dc-b", 2, 6_000 * MS, 9_999 * MS)]
    lines = timeline(lives, [(4_000 * MS, "b")], start_ns=0, end_ns=10_000 * MS, width=46)
    assert lines[0] == "dc-a  " + "." * 4 + "#" * 13 + "." * 23
    assert lines[1] == "dc-b  " + "." * 24 + "#" * 16
    assert lines[2].index("b") == 6 + 16
    assert all(len(line) <= 46 for line in lines)
    assert "!" not in "".join(lines)


def test_the_picture_marks_only_true_overlaps():
    lives = [Life("one", "dc-a", 1, 0, 5_000 * MS), Life("two", "dc-b", 2, 4_000 * MS, 9_000 * MS)]
    lines = timeline(lives, [], start_ns=0, end_ns=10_000 * MS, width=46)
    assert "!" in lines[0]
    assert "!" in lines[1]
    close = [Life("one", "dc-a", 1, 0, 5_000 * MS), Life("two", "dc-b", 2, 5_001 * MS, 9_000 * MS)]
    assert "!" not in "".join(timeline(close, [], start_ns=0, end_ns=10_000 * MS, width=46))


def test_marks_that_fall_together_stand_beside_each_other():
    lines = timeline([Life("one", "dc-a", 1, 0, 9)], [(5, "b"), (5, "c")], start_ns=0, end_ns=10, width=30)
    assert "bc" in lines[1]
