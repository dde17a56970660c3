"""True time of the simulation: what never lets it pass is a finding, not a hang."""

import pytest

from witness.sim.clock import AT_ONCE_MAX, Events, TimeStandsStill


def test_what_asks_to_be_woken_now_again_and_again_is_found():
    events = Events()

    def again() -> None:
        events.after(0, again)

    events.at(5, again)
    with pytest.raises(TimeStandsStill, match=f"more than {AT_ONCE_MAX} things at one instant, the last one: .*again"):
        events.run_until(10)
    assert events.now_ns == 5


def test_as_many_things_one_after_the_other_are_not():
    events, left = Events(), [3 * AT_ONCE_MAX]

    def later() -> None:
        left[0] -= 1
        if left[0]:
            events.after(1, later)

    events.at(0, later)
    events.run_until(4 * AT_ONCE_MAX)
    assert (left, events.done) == ([0], 3 * AT_ONCE_MAX)
