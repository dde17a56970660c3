"""Unsafe timing is told with both numbers, the rule and the remedy; the remedy is right."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto import limits
from proto.lease import LeaseConstants
from proto.takeover import takeover_max_ns
from proto.timing import (
    SiteBudgets,
    check_constants,
    check_site,
    default_budgets,
    local_deadlines,
    renew_interval_ms,
)
from proto.units import NS_PER_MS, InstantNs

GOOD = LeaseConstants(1_000, 10_000, 0)


@given(st.integers(limits.TTL_MS_MIN, limits.TTL_MS_MAX))
def test_the_default_budgets_fit_every_allowed_ttl(ttl_ms):
    assert list(check_site(LeaseConstants(ttl_ms, 10_000, 0), default_budgets(ttl_ms))) == []


@pytest.mark.parametrize(
    ("constants", "field"),
    [
        (LeaseConstants(limits.TTL_MS_MIN - 1, 10_000, 0), "ttl_ms"),
        (LeaseConstants(limits.TTL_MS_MAX + 1, 10_000, 0), "ttl_ms"),
        (LeaseConstants(1_000, 99, 0), "drift_max_ppm"),
        (LeaseConstants(1_000, limits.DRIFT_MAX_PPM_MAX + 1, 0), "drift_max_ppm"),
        (LeaseConstants(1_000, 10_000, -1), "lock_delay_ms"),
        (LeaseConstants(1_000, 10_000, limits.LOCK_DELAY_MS_MAX + 1), "lock_delay_ms"),
    ],
)
def test_each_bound_of_the_constants_is_checked(constants, field):
    assert list(check_constants(GOOD)) == []
    violations = list(check_constants(constants))
    assert [violation.field for violation in violations] == [field]
    assert violations[0].value == str(getattr(constants, field))


@pytest.mark.parametrize(
    ("budgets", "field", "numbers"),
    [
        (SiteBudgets(250, 99), "kill_budget", {"50", "100"}),
        (SiteBudgets(100, 100), "stop_budget", {"100"}),
        (SiteBudgets(600, 100), "stop_budget", {"333", "100", "600", "1033", "1000", "567"}),
    ],
)
def test_a_site_that_does_not_fit_is_told_with_its_numbers(budgets, field, numbers):
    violations = list(check_site(GOOD, budgets))
    assert field in [violation.field for violation in violations]
    said = " ".join(f"{violation.rule} {violation.remedy}" for violation in violations)
    assert numbers <= set(re.findall(r"\d+", said))


@given(st.integers(limits.TTL_MS_MIN, 20_000), st.integers(0, 20_000), st.integers(0, 2_000))
def test_following_the_remedy_for_the_stop_makes_it_fit(ttl_ms, stop_ms, kill_ms):
    constants = LeaseConstants(ttl_ms, 10_000, 0)
    for violation in check_site(constants, SiteBudgets(stop_ms, kill_ms)):
        most = re.search(r"at most (\d+)", violation.remedy)
        if most is not None:
            again = SiteBudgets(int(most.group(1)), kill_ms)
            assert "must fit into" not in " ".join(v.rule for v in check_site(constants, again))


def test_the_rungs_are_counted_back_from_the_deadline():
    rungs = local_deadlines(InstantNs(10_000 * NS_PER_MS), SiteBudgets(300, 100))
    assert (rungs.stop_at, rungs.kill_at, rungs.deadline) == (
        9_700 * NS_PER_MS,
        9_900 * NS_PER_MS,
        10_000 * NS_PER_MS,
    )


def test_three_renewals_fit_a_lease_and_the_takeover_bound_holds_all_parts():
    assert renew_interval_ms(1_000) * limits.RENEWALS_PER_TTL <= 1_000
    base = takeover_max_ns(GOOD, 0)
    more = takeover_max_ns(GOOD, 500) - base
    assert 500 * NS_PER_MS <= more <= 506 * NS_PER_MS  # on a clock that is 1 % slow
    assert takeover_max_ns(LeaseConstants(1_000, 10_000, 250), 0) > base + 250 * NS_PER_MS
