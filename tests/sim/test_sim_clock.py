"""True time of the simulation: what never lets it pass is a finding, not a hang."""

import pytest

from witness.sim.clock import AT_ONCE_MAX, AT_ONCE_NS, Events, TimeStandsStill


@pytest.mark.parametrize("wait_ns", [0, 1, 90])
def test_what_asks_to_be_woken_now_again_and_again_is_found(wait_ns: int):
    events = Events()

    def again() -> None:
        events.after(wait_ns, again)

    events.at(5, again)
    with pytest.raises(TimeStandsStill, match=f"more than {AT_ONCE_MAX} things within 10 ms, the last one: .*again"):
        events.run_until(AT_ONCE_NS)


def test_as_many_things_one_after_the_other_are_not():
    events, left = Events(), [3 * AT_ONCE_MAX]

    def later() -> None:
        left[0] -= 1
        if left[0]:
            events.after(AT_ONCE_NS // AT_ONCE_MAX + 1, later)

    events.at(0, later)
    events.run_until(4 * AT_ONCE_NS)
    assert (left, events.done) == ([0], 3 * AT_ONCE_MAX)
