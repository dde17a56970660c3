"""`witnessctl timing`: a wish or a group's lease against what was assumed or measured, and where its figures come from.

Without a cluster (`--measured assumed`, the default without a GROUP) it is arithmetic alone; `live` asks every witness
that answers, FILE reads what `--json` wrote under "measured".
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proto.errors import BadValue
from proto.lease import LeaseConstants
from proto.takeover import ASSUMED
from witness.ctl.client import ClusterClient, group_path
from witness.ctl.errors import Drifted, Misconfigured, Misused, Refused, Unreachable
from witness.ctl.looking import print_json
from witness.ctl.render import console
from witness.ctl.timing_view import draw
from witness.timing.compiler import Compiled, Refusal, compile_wish, judge
from witness.timing.estimate import FalseTakeover, estimate
from witness.timing.measurements import Measurements, delays_of
from witness.timing.reality import Warned, warnings
from witness.timing.wish import Wish, parse_wish

ASSUMED_WORD, LIVE_WORD = "assumed", "live"
FILE_BYTES_MAX = 16 * 1024 * 1024
Raw = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What is shown and what `--json` says."""

    source: str
    compiled: Compiled | None
    refusal: Refusal | None
    current: LeaseConstants | None
    """Of the group that was named."""
    false_takeovers: tuple[FalseTakeover, ...]
    warnings: tuple[Warned, ...]
    measured: Raw

    @property
    def ok(self) -> bool:
        return self.compiled is not None and self.compiled.sound


def show_timing(
    connect: Callable[[], ClusterClient], group: str | None, wish: Wish, source: str | None, *, as_json: bool
) -> None:
    """Raises Refused for what is not sound or cannot be met, Drifted for what is sound by assumptions that do not hold.

    `wish` without a takeover and a silence means: only judge the group's lease.
    """
    source = source or (ASSUMED_WORD if group is None else LIVE_WORD)
    wanted = wish.takeover_ms is not None or wish.silence_ms is not None
    if group is None and not wanted:
        raise Misused("name a GROUP, or say what you want: --wish 'takeover=10s silence=2s'")
    client = connect() if group is not None or source == LIVE_WORD else None
    current = None if client is None or group is None else _constants(client, group)
    raw = _measured(client, source)
    report = report_of(wish, current, raw, source, wanted=wanted)
    if as_json:
        print_json(as_plain(report))
    else:
        console.print(draw(report))
    if report.refusal is not None:
        raise Refused(report.refusal.words())
    if not report.ok and report.compiled is not None:
        broken = [one.words() for one in report.compiled.inequalities if not one.holds]
        raise Refused("not sound: " + "; ".join(broken))
    if report.warnings:
        raise Drifted("; ".join(one.words() for one in report.warnings))


def report_of(wish: Wish, current: LeaseConstants | None, raw: Raw, source: str, *, wanted: bool) -> Report:
    """Pure. Raises BadValue for measurements that no witness wrote."""
    measured = Measurements()
    for witness, said in raw.items():
        measured.take(witness, said)
    delays = delays_of(measured if raw else None)
    if current is not None:
        wish = dataclasses.replace(wish, drift_max_ppm=current.drift_max_ppm, lock_delay_ms=current.lock_delay_ms)
    found = compile_wish(wish, delays) if wanted or current is None else judge(wish, current.ttl_ms, delays)
    if isinstance(found, Refusal):
        return Report(source, None, found, current, (), (), raw)
    late = sorted(measured.late.items())
    estimates = tuple(estimate(site, seen, found.timers, delays) for site, seen in late if seen.total)
    warned = tuple(warnings(measured, ASSUMED, found.timers)) if raw else ()
    return Report(source, found, None, current, estimates, warned, raw)


def _constants(client: ClusterClient, group: str) -> LeaseConstants:
    """As configured: what the next epoch will have."""
    config = client.get(group_path(group))["config"]
    return LeaseConstants(config["ttl_ms"], config["drift_max_ppm"], config["lock_delay_ms"])


def _measured(client: ClusterClient | None, source: str) -> Raw:
    if source == ASSUMED_WORD:
        return {}
    if source != LIVE_WORD:
        return _read(Path(source))
    if client is None:
        raise Misused("--measured live needs a cluster")
    found: Raw = {}
    said: list[str] = []
    for address in client.witnesses:
        try:
            answer = client.ask_one(address, "/v1/timing")
        except Unreachable as error:
            said.append(f"{address}: {error}")
            continue
        if answer.ok:
            found[str(answer.body.get("witness", address))] = answer.body
        else:
            said.append(f"{address}: {answer.body.get('words', answer.status)}")
    if not found:
        raise Unreachable("no witness says what it measured:\n  " + "\n  ".join(said))
    return found


def _read(path: Path) -> Raw:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Misconfigured(f"{path}: more than {FILE_BYTES_MAX} bytes; give what --json wrote")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{path}: {error}; give a file that `witnessctl timing --json` wrote") from error
    measured = raw.get("measured") if isinstance(raw, dict) else None
    if not isinstance(measured, dict):
        raise Misconfigured(f'{path}: has no "measured"; give a file that `witnessctl timing --json` wrote')
    return measured


def as_plain(report: Report) -> Raw:
    compiled, refusal = report.compiled, report.refusal
    plain: Raw = {"ok": report.ok, "source": report.source, "refusal": None, "measured": report.measured}
    if refusal is not None:
        plain["refusal"] = {
            "words": refusal.words(),
            "least_ttl_ms": refusal.least_ttl_ms,
            "most_ttl_ms": refusal.most_ttl_ms,
            "broken": [one.words() for one in refusal.broken],
            "nearest": [one.words() for one in refusal.nearest],
        }
    if compiled is not None:
        plain["wish"] = compiled.wish.words()
        plain["timers"] = dataclasses.asdict(compiled.timers)
        plain["takeover_max_ms"] = compiled.takeover_max_ms
        plain["phases"] = [dataclasses.asdict(phase) for phase in compiled.phases]
        plain["inequalities"] = [{**dataclasses.asdict(one), "holds": one.holds} for one in compiled.inequalities]
        plain["delays"] = dataclasses.asdict(compiled.delays)
    plain["false_takeovers"] = [dataclasses.asdict(one) for one in report.false_takeovers]
    plain["warnings"] = [dataclasses.asdict(one) for one in report.warnings]
    return plain


def wish_of(text: str | None, takeover: str | None, silence: str | None, activation: str | None) -> Wish:
    """The options of the command as one wish. Raises BadValue."""
    words = [] if text is None else [text]
    pairs = (("takeover", takeover), ("silence", silence), ("activation", activation))
    words += [f"{name}={value}" for name, value in pairs if value is not None]
    try:
        return parse_wish(" ".join(words))
    except BadValue as error:
        raise Misused(str(error)) from error
