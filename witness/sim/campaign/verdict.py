"""What a campaign came to: the JSON object, the text, and whether it succeeded."""

from __future__ import annotations

import os

from witness.sim.campaign.catalogue import counters_of, never_hit, table
from witness.sim.campaign.engine import Plan
from witness.sim.campaign.kit import Kit
from witness.sim.campaign.total import FIRE, QUIET, Pace, Total, seconds_of

CHOSEN = "kinds of faults were chosen"
FAILURES_TOLD = 40


class Verdict:
    """`chosen`: not the seeds' own kinds, so that the catalogue cannot be asked of it."""

    def __init__(self, kit: Kit, total: Total, plan: Plan, *, chosen: bool, interrupted: bool) -> None:
        self._kit = kit
        self._total = total
        self._plan = plan
        self._interrupted = interrupted
        judged = total.schedules >= kit.judged_from and not chosen
        self.never_hit = never_hit(kit.catalogue, total.faults_hit) if judged else []

    @property
    def success(self) -> bool:
        if self._kit.must_find:
            return bool(self._total.failed)
        return not self._total.failed and not self.never_hit

    @property
    def violated(self) -> int:
        unsafe = self._kit.unsafe
        return self._total.violated if unsafe is None else self._total.broke(unsafe)

    def summary(self) -> dict[str, object]:
        total, plan, kit = self._total, self._plan, self._kit
        hits = total.faults_hit
        return {
            "schedules": total.schedules,
            "events": total.events,
            "simulated_s": seconds_of(total.simulated_ns),
            "violations": self.violated,
            **kit.more(total.broke),
            "stuck": total.stuck,
            "faults_hit": {name: hits[name] for name in sorted({*hits, *counters_of(kit.catalogue)})},
            "never_hit": self.never_hit,
            "upper_bound_95": total.upper_bound_95(),
            "by_kind": total.by_kind(),
            "failures": [
                {"what": words, "schedules": each.schedules, "replay": each.seed}
                for words, each in total.distinct()[:FAILURES_TOLD]
            ],
            **{name: total.figures[name] for name in sorted(total.figures)},
            **{name: total.peaks[name] for name in sorted(total.peaks)},
            "wall_s": seconds_of(total.wall_ns),
            "schedules_per_s": round(total.schedules * 1e9 / max(1, total.wall_ns), 2),
            "simulated_per_wall_s_per_core": {QUIET: total.quiet.per_wall(), FIRE: total.fire.per_wall()},
            "simulated_per_cpu_s": {QUIET: total.quiet.per_cpu(), FIRE: total.fire.per_cpu()},
            "cores": os.cpu_count(),
            "workers": plan.workers,
            "interrupted": self._interrupted,
            "options": kit.options,
        }

    def lines(self) -> list[str]:
        total, kit = self._total, self._kit
        figures = "".join(f", {total.figures[name]} {name}" for name in sorted(total.figures))
        figures += "".join(f", {name} {total.peaks[name]}" for name in sorted(total.peaks))
        lines = [
            *table(kit.catalogue, total.faults_hit, total.drawn),
            f"{total.schedules} schedules, {total.events} events{figures}: {total.failed} failed, {total.stuck} stuck",
            self._pace_in_words(),
        ]
        for words, each in total.distinct()[:FAILURES_TOLD]:
            lines.append(f"  {each.schedules} x {words} (--replay {each.seed})")
        lines += [f"NEVER HIT: {name}" for name in self.never_hit]
        if self._interrupted:
            lines.append("ended by a signal: this is what was done until then")
        return [*lines, bound_in_words(total)]

    def _pace_in_words(self) -> str:
        total = self._total
        return (
            f"{seconds_of(total.simulated_ns):.0f} simulated seconds in {seconds_of(total.wall_ns)} s "
            f"by {self._plan.workers} workers; a second of one worker is {_pace(total.quiet)} simulated "
            f"without faults, {_pace(total.fire)} under faults"
        )


def _pace(pace: Pace) -> str:
    per_wall = pace.per_wall()
    return "-" if per_wall is None else f"{per_wall:.0f} s"


def bound_in_words(total: Total) -> str:
    bound = total.upper_bound_95()
    if bound is None:
        return f"{total.failed} of {total.schedules} schedules failed"
    per = max(1, round(1 / bound))
    return (
        f"no schedule of {total.schedules} failed: with 95 % confidence fewer than 1 in {per} such schedules does "
        f"(3/{total.schedules} = {bound:.2g})"
    )
