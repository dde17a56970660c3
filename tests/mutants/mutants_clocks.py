"""How a witness measures the rate of an agent's clock, and what the machine makes of it (docs/adr/0024)."""

from __future__ import annotations

from mutant import Mutant, rewritten

from witness.core import clock_rules, heartbeats, lease_rules
from witness.core.clock_rates import RateMeter

METER = "unit/test_clock_rates.py::"
RULES = "unit/test_clock_rules.py::"
WITHIN = "campaigns' clocks keep the bound, but for one witness's"


def _broken(name: str, rule: str, function, old: str, new: str, test: str) -> Mutant:
    return Mutant(name, rule, "clock rates", rewritten(function, old, new), tests=(test,), why=WITHIN)


MUTANTS = (
    _broken(
        "one-window-is-a-rate",
        "a step shows one window beyond the bound: three in a row count, by the weakest",
        RateMeter.bounds,
        "RateBounds(min(one.at_least_ppm for one in self._row), max(one.at_most_ppm for one in self._row))",
        "self._row[-1]",
        METER + "test_a_guest_that_stood_still_once_or_twice_is_not_slow",
    ),
    _broken(
        "ping-counts-from-its-second-time",
        "a ping that comes twice was heard when it came first",
        RateMeter.heard,
        "if ping.sent_ns <= self._newest_ns:",
        "if False:",
        METER + "test_a_ping_that_comes_twice_counts_from_the_first_time",
    ),
    _broken(
        "delays-are-not-allowed-for",
        "an agent's clock is known between a ping and its pong, not at an instant",
        RateMeter._echo,
        "sent_ns + echo.took_ns",
        "sent_ns",
        METER + "test_the_true_rate_lies_within_the_bounds_of_every_window",
    ),
    _broken(
        "long-gap-is-a-window",
        "of a window that took minutes too little is known of now",
        RateMeter._known,
        "instant.at - start.at > WINDOW_MAX_NS",
        "False",
        METER + "test_a_minute_without_an_answer_begins_the_row_anew",
    ),
    _broken(
        "one-witness-condemns-a-clock",
        "a clock is unfit when a majority of witnesses measured it so",
        clock_rules.judge,
        "if len(by_state.get(state, ())) >= needed:",
        "if len(by_state.get(state, ())) >= 1:",
        RULES + "test_one_witness_changes_nothing_and_the_second_one_does",
    ),
    _broken(
        "one-witness-clears-a-clock",
        "it is fit again when a majority measured it so",
        clock_rules.judge,
        "len(by_state.get(ClockState.FIT, ())) >= needed",
        "len(by_state.get(ClockState.FIT, ())) >= 1",
        RULES + "test_it_is_fit_again_only_when_a_majority_measured_it_so",
    ),
    _broken(
        "old-words-of-a-clock-count-on",
        "what a witness said before a clock was found fit makes no majority later",
        clock_rules._fit,
        "scope.state.agents[site].clock.clear()",
        "pass",
        RULES + "test_the_word_of_a_witness_that_is_away_makes_no_majority_with_a_later_one",
    ),
    _broken(
        "former-incarnation-clears-a-clock",
        "only what was measured of the incarnation that counts is taken",
        clock_rules.report,
        "agent.incarnation != command.incarnation",
        "False",
        RULES + "test_a_new_incarnation_keeps_what_is_known_until_it_was_measured_anew",
    ),
    _broken(
        "holder-judged-by-the-next-bound",
        "a holder's clock is judged by the drift bound of its lease, which the votes count by",
        clock_rules.drift_of,
        "if lease is not None and holds else",
        "if lease is not None and False else",
        RULES + "test_the_holder_is_judged_by_the_bound_of_its_lease_until_that_ends",
    ),
    _broken(
        "slow-clock-is-granted",
        "a site whose clock is not fit is granted nothing",
        clock_rules.against_grant,
        "None if record.clock is None else",
        "None if True else",
        RULES + "test_an_unfit_clock_is_granted_nothing_and_is_no_successor",
    ),
    _broken(
        "slow-clock-is-a-successor",
        "no handover is begun to a site that no grant could follow",
        lease_rules.revoke,
        "clock_rules.blockers(successor, command.successor)",
        "()",
        RULES + "test_an_unfit_clock_is_granted_nothing_and_is_no_successor",
    ),
    _broken(
        "slow-clock-renews",
        "no claim and no renewal of a site whose clock is too slow is accepted",
        heartbeats._claim_or_renew,
        "if clock_rules.too_slow(record):",
        "if False:",
        RULES + "test_a_holder_that_is_too_slow_is_refused_its_renewals_releases_and_the_other_site_is_granted",
    ),
    _broken(
        "slow-clock-holds-on",
        "a former holder whose clock is too slow is not told to go on by its holds",
        heartbeats._lease_part,
        "if clock_rules.too_slow(record):",
        "if False:",
        RULES + "test_a_former_holder_that_is_too_slow_is_not_told_to_go_on_by_its_holds",
    ),
)
