"""Evidence for an auditor: the ledger's entries as JSON and back, their chain proved anew, intervals drawn from them.

A file holds every entry of the cluster's ledger, because each hash covers the one before: with single entries left out
nobody could prove the rest. Whoever reads it trusts nothing in it but the hash of the newest entry, which the witnesses
tell at any time (`witnessctl license verify GROUP`) and which is noted where no operator of them can write.
Rejected: signatures of the witnesses (whoever holds their keys could sign another story; three of them that tell the
same hash to someone who asks is what there is, and a hash that was noted outside is better than both).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from proto.errors import BadValue
from proto.events import GENESIS_HASH, Event, EventKind
from proto.permit import CALENDAR_SLACK_MS
from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs
from witness.activity.intervals import Activity, End, Finding, Interval, Mark, activity_of
from witness.core.ledger import verify

FORMAT: Final = "thirdsite-license-evidence-1"
CLOCK_UNCERTAINTY_MS: Final = CALENDAR_SLACK_MS
"""Assumed of every witness's wall clock; what contradicts it in the ledger is shown instead."""
_CHAIN_CHARS = 64


def event_fields(event: Event) -> dict[str, Any]:
    """One entry as the operators' API and the evidence have it."""
    return {
        "seq": event.seq,
        "at": wall_words(event.wall_ms),
        "kind": event.kind.value,
        "group": event.group,
        "site": event.site,
        "epoch": event.epoch,
        "author": event.author,
        "text": event.text,
        "index": event.index,
        "chain": event.chain.hex(),
    }


def read_event(raw: Mapping[str, Any]) -> Event:
    """Raises BadValue for what is not an entry; whether it belongs where it stands is for the chain to say."""
    field = f"events.{raw.get('seq')!r:.20}" if isinstance(raw, Mapping) else "events"
    try:
        wall = datetime.fromisoformat(raw["at"])
        return Event(
            seq=_number(raw["seq"]),
            index=LogIndex(_number(raw["index"])),
            kind=EventKind(raw["kind"]),
            group=None if raw["group"] is None else GroupId(_text(raw["group"])),
            site=None if raw["site"] is None else SiteId(_text(raw["site"])),
            epoch=Epoch(_number(raw["epoch"])),
            author=_text(raw["author"]),
            text=_text(raw["text"]),
            wall_ms=WallMs(round(wall.timestamp() * 1_000)),
            chain=bytes.fromhex(_text(raw["chain"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        rule = f"an entry of the ledger was expected ({type(error).__name__}: {error!s:.60})"
        raise BadValue(field, raw, rule, "export it again with this version, or a newer one") from error


def _number(value: Any) -> int:
    if type(value) is not int or not -1 <= value < 1 << 62:
        raise ValueError(f"a number, not {value!r:.40}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text, not {value!r:.40}")
    return value


def wall_words(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="milliseconds")


# -- judging ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a ledger proves of one group's activity."""

    activity: Activity
    findings: tuple[Finding, ...]
    """Empty: no two intervals overlap, and no entry was changed, left out or put in between."""
    first_seq: int
    head_seq: int
    head_chain: str

    @property
    def proven(self) -> bool:
        return not self.findings

    @property
    def complete(self) -> bool:
        """From the first entry of the cluster on, and from the group's creation."""
        return self.first_seq == 1 and (self.activity.whole or self.activity.since is None)


def judge(events: Sequence[Event], group: GroupId) -> Verdict:
    """Proves the chain, then draws the intervals. A ledger that begins later is proved from its first entry on."""
    findings = broken_chain(events)
    activity = activity_of(events, group)
    first, last = (events[0], events[-1]) if events else (None, None)
    return Verdict(
        activity,
        (*findings, *activity.findings),
        0 if first is None else first.seq,
        0 if last is None else last.seq,
        "" if last is None else last.chain.hex(),
    )


def broken_chain(events: Sequence[Event]) -> tuple[Finding, ...]:
    """The first entry that does not follow from the one before; none when all do."""
    if not events:
        return (Finding(0, "there are no entries"),)
    rest, before = (events, GENESIS_HASH) if events[0].seq == 1 else (events[1:], events[0].chain)
    bad = verify(rest, before)
    if bad is None and rest and rest[0].seq not in (1, events[0].seq + 1):
        bad = rest[0]
    if bad is None:
        return ()
    return (Finding(bad.seq, f"entry {bad.seq} does not follow from the one before it: the ledger was changed there"),)


# -- as JSON ------------------------------------------------------------------------------------------------


def interval_fields(one: Interval, uncertainty_ms: int) -> dict[str, Any]:
    """`not_before` and `not_after` bound the true activity, with wall clocks that are off by the uncertainty."""
    return {
        "site": one.site,
        "by": one.by.value,
        "cause": one.cause,
        "epochs": list(one.epochs),
        "begin": _mark_fields(one.begin),
        "claimed": None if one.claimed is None else _mark_fields(one.claimed),
        "end": one.end.value,
        "ended": None if one.ended is None else _mark_fields(one.ended),
        "not_before": wall_words(one.begin.wall_ms - uncertainty_ms),
        "not_after": None if one.ended is None else wall_words(one.ended.wall_ms + uncertainty_ms),
        "authority": one.end is not End.UNCLAIMED,
    }


def _mark_fields(mark: Mark) -> dict[str, Any]:
    return {"entry": mark.seq, "at": wall_words(mark.wall_ms)}


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    uncertainty_ms = max(CLOCK_UNCERTAINTY_MS, verdict.activity.clocks_apart_ms)
    return {
        "group": verdict.activity.group,
        "ok": verdict.proven,
        "complete": verdict.complete,
        "first_entry": verdict.first_seq,
        "head_entry": verdict.head_seq,
        "head_chain": verdict.head_chain,
        "clock_uncertainty_ms": uncertainty_ms,
        "clocks_apart_ms": verdict.activity.clocks_apart_ms,
        "intervals": [interval_fields(one, uncertainty_ms) for one in verdict.activity.intervals],
        "findings": [{"entry": one.seq, "words": one.words} for one in verdict.findings],
    }


def evidence(
    verdict: Verdict, events: Iterable[Event], *, cluster: str, exported_ms: int, anchors: Mapping[str, str]
) -> dict[str, Any]:
    """`anchors`: by witness, the hash of the newest entry as each of them told it itself."""
    return {
        "format": FORMAT,
        "cluster": cluster,
        "exported_at": wall_words(exported_ms),
        "anchors": dict(anchors),
        **verdict_fields(verdict),
        "events": [event_fields(event) for event in events],
    }


def read_evidence(raw: Any) -> tuple[GroupId, list[Event]]:
    """What of a file counts: its group and its entries. Everything else in it is drawn anew. Raises BadValue."""
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        shown = raw.get("format") if isinstance(raw, dict) else raw
        raise BadValue("format", shown, f"must be {FORMAT!r}", "give a file that `witnessctl license export` wrote")
    group, events = raw.get("group"), raw.get("events")
    if not isinstance(group, str) or not isinstance(events, list):
        raise BadValue("events", events, "a group and a list of entries were expected", "export it again")
    return GroupId(group), [read_event(one) for one in events]
