"""Tables and lines for people: readable on 80 columns, coloured only on a terminal, the same words everywhere.

Folded for a terminal only: what is piped has one line a row, for grep and awk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from proto.commands import QuarantineCause
from proto.decisions import DecisionKind, Reason
from proto.edge.config_types import duration_words
from proto.groups import Mode
from proto.health import SiteState
from proto.units import PPM
from witness.ctl.as_written import key_of, value_of
from witness.ctl.changes import Action, GroupChange

PIPE_COLUMNS = 10_000
console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

_PHASE_STYLE = {"held": "green", "revoking": "yellow", "overdue": "yellow", "granted": "yellow", "vacant": "red"}
_STATE_STYLE = {"active": "green", "standby": "", "activating": "yellow", "deactivating": "yellow", "fencing": "red"}
Json = Mapping[str, Any]


def table(*columns: str) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def seconds(ms: int | None) -> str:
    return "never" if ms is None else f"{ms / 1_000:.1f} s ago"


def heard(site: Json) -> str:
    """A witness knows from before its start what a site said, and not when."""
    return "not since it started" if site["state"] and site["heard_ms_ago"] is None else seconds(site["heard_ms_ago"])


# -- status -----------------------------------------------------------------------------------------------


def witnesses_table(rows: Iterable[tuple[str, Json | str]]) -> Table:
    """Each witness by its own word, or why it gave none."""
    made = table("WITNESS", "ADDRESS", "PLACE", "QUORUM", "APPLIED", "GROUPS", "LEVEL")
    for address, said in rows:
        if isinstance(said, str):
            made.add_row("?", address, Text(said, "red"), "", "", "", "")
            continue
        place = _place(said)
        quorum = Text("yes", "green") if said["has_quorum"] else Text("no", "red")
        if said["has_quorum"] and not said["caught_up"]:
            quorum = Text("catching up", "yellow")
        counts = str(said["applied_index"]), str(said["groups"])
        made.add_row(said["witness"], address, place, quorum, *counts, _level(said))
    return made


def witnesses_notes(witnesses: Iterable[Json | str]) -> list[Text]:
    """What each witness waits for, and which other ones it does not reach or refuses, by its own word."""
    notes: list[Text] = []
    for said in witnesses:
        if isinstance(said, str):
            continue
        if said.get("readmission"):
            notes.append(Text(f"{said['witness']} counts for nothing yet: {said['readmission']}", "yellow"))
        refused_by = said.get("refused_by") or {}
        for peer, why in refused_by.items():
            notes.append(Text(f"{said['witness']} is refused by {peer}: {why}", "red"))
        for peer, why in (said.get("unconnected") or {}).items():
            if peer in refused_by:
                continue
            notes.append(Text(f"{said['witness']} has no connection with {peer}: {why}", "yellow"))
    return notes


def _place(said: Json) -> Text:
    """One that others refuse, and that is in no majority, follows nobody, whatever it believes of itself."""
    if said.get("refused_by") and not said["has_quorum"]:
        return Text("refused", "red")
    if said.get("standing") == "learner":
        return Text("learner", "yellow")
    return Text("leader" if said["leading"] else "follower")


def _level(said: Json) -> Text:
    """The feature level that the cluster works at, and what this witness could work at."""
    level, able = said["feature_level"], said["features"][said["witness"]]
    return Text(f"{level}") if able == level else Text(f"{level} (can {able})", "yellow")


def groups_table(groups: Iterable[Json]) -> Table:
    made = table("GROUP", "MODE", "LEASE", "HOLDER", "EPOCH", "SITES")
    for group in groups:
        phase = str(group["phase"])
        lines = [_site_line(site, _ttl_ms(group)) for site in group["sites"]]
        if standby_notes(group):
            lines.append(Text("no site could take over", "red"))
        sites = Text("\n").join(lines)
        mode = str(group["mode"])
        made.add_row(
            group["group"],
            mode if mode == "automatic" else Text(mode, "yellow"),
            Text(phase, _PHASE_STYLE.get(phase, "")),
            group["holder"] or "-",
            str(group["epoch"]),
            sites,
        )
    return made


def _state(site: Json, ttl_ms: int) -> Text:
    """A site that was not heard for a whole lease has no known state: by their last reports two would be active."""
    state = str(site["state"] or "unknown")
    if site["state"] and (site["heard_ms_ago"] is None or site["heard_ms_ago"] > ttl_ms):
        return Text(f"silent (was {state})", "red")
    if state == SiteState.FENCED.value:
        return Text(f"{state} (dormant)")  # how its last epoch ended; it is down, and as fit as one in standby
    return Text(state, _STATE_STYLE.get(state, "yellow"))


def _site_line(site: Json, ttl_ms: int) -> Text:
    line = Text(f"{site['site']} ") + _state(site, ttl_ms)
    if site["maintenance"]:
        line += Text(" maintenance", "yellow")
    if site["quarantine"]:
        line += Text(" quarantine", "red")
    if site["heard_ms_ago"] is None or site["heard_ms_ago"] > ttl_ms:
        line += Text(f" heard {heard(site)}", "red")
    return line


def group_detail(group: Json) -> RenderableType:
    constants = group["constants"]
    lease = f"{group['phase']}, epoch {group['epoch']}"
    if group["holder"]:
        lease += f", held by {group['holder']}, renewal {group['renewal']}"
    if group.get("bar_left_ms") is not None:
        lease += f", nothing is granted for another {group['bar_left_ms'] / 1_000:.0f} s"
    if group["successor"]:
        lease += f", goes to {group['successor']}"
    facts = table("", "")
    facts.show_header = False
    facts.add_row("group", Text(str(group["group"]), "bold"))
    facts.add_row("mode", str(group["mode"]))
    facts.add_row("lease", lease)
    facts.add_row("timing", _timing(constants))
    coming = {field: (group.get("config") or constants)[field] for field in constants}
    if coming != constants:
        facts.add_row("", f"with the next epoch: {_timing(coming)}")
    facts.add_row("takeover", _takeover(group))
    facts.add_row("decision", _decision(group))
    would = group.get("would_have")
    if would and (would["count"] or would["needed"]):
        facts.add_row("would have", f"moved {would['count']} times: witnessctl would-have {group['group']}")
    sites = group["sites"]
    return Group(facts, Text(""), _sites_table(sites, _ttl_ms(group)), *_clocks(sites), *_notes(group))


def would_have_table(counts: Iterable[Json]) -> Table:
    made = table("GROUP", "MODE", "RUNS AT", "WOULD HAVE MOVED", "NOW")
    for one in counts:
        now = Text("-")
        if one["needed"]:
            now = Text(f"would be at {one['to']}" if one["to"] else "no site could take over", "yellow")
        made.add_row(one["group"], one["mode"], one["active"] or "?", f"{one['count']} times", now)
    return made


def _takeover(group: Json) -> str:
    """In every other mode nobody may read a time into it after which the service is back."""
    if group["mode"] != Mode.AUTOMATIC.value:
        return f"none by itself: the mode is {group['mode']}"
    permits = group.get("permits") or {}
    if permits.get("disputed"):
        return f"none now: {_disputed(group)}"
    if permits.get("under_permit"):
        return f"none now: {', '.join(permits['under_permit'])} is active under a break-glass permit"
    if permits.get("away"):
        return f"none now: {', '.join(permits['away'])} may be active under a break-glass permit"
    if permits.get("session_ms"):
        return f"none now: an operator vouched; {duration_words(permits['session_ms'])} of lock delay pass first"
    return f"within {group['takeover_max_ms'] / 1_000:.1f} s of a site's death, plus its activation"


def _timing(constants: Json) -> str:
    words = f"ttl {duration_words(constants['ttl_ms'])}, clocks may drift {constants['drift_max_ppm'] / 10_000:g}%"
    if constants["lock_delay_ms"]:
        words += f", lock delay {duration_words(constants['lock_delay_ms'])}"
    return words


def _decision(group: Json) -> str:
    decision = group["decision"]
    waits = _unheard_holder(group) if decision.get("reason") == Reason.HOLDER_ACTIVE.value else ""
    waits = _disputed(group) if decision.get("reason") == Reason.NOT_HOLDER.value else waits
    words = f"no move: {waits}" if waits else str(decision["words"]).split(";")[0]
    if decision["retry_in_ms"]:
        words += f" (looks again in {decision['retry_in_ms'] / 1_000:.1f} s)"
    return words


def _unheard_holder(group: Json) -> str:
    """What is waited for while the lease of a site counts down that nobody hears; else empty."""
    holder = next((site for site in group["sites"] if site["site"] == group["holder"]), None)
    if holder is None or (holder["heard_ms_ago"] is not None and holder["heard_ms_ago"] <= _ttl_ms(group)):
        return ""
    since = "was not heard since this witness started"
    if holder["heard_ms_ago"] is not None:
        since = f"was heard {seconds(holder['heard_ms_ago'])}"
    left_ms = group.get("lease_left_ms")
    ends = "ends" if left_ms is None else f"ends in {left_ms / 1_000:.1f} s"
    return f"{holder['site']} {since}; its lease {ends} unless it renews"


def _disputed(group: Json) -> str:
    """Why nothing is adopted where a site no longer says what it said; empty where no permit is disputed."""
    sites = ", ".join((group.get("permits") or {}).get("disputed", ()))
    return f"the permit of {sites} is disputed" if sites else ""


def _ttl_ms(group: Json) -> int:
    return int(group["constants"]["ttl_ms"])


def _sites_table(sites: Iterable[Json], ttl_ms: int) -> Table:
    made = table("SITE", "STATE", "HEARD", "READY", "HEALTHY", "LAG", "AGENT")
    for site in sites:
        lag = "-" if site["lag_ms"] is None else f"{site['lag_ms']} ms"
        name = f"{site['site']} *" if site.get("preferred") else str(site["site"])
        made.add_row(
            name,
            _state(site, ttl_ms),
            heard(site),
            _yes(site["ready"]),
            _yes(site["healthy"]) if site["state"] == "active" else "-",
            lag,
            f"{site.get('agent_version') or '-'}{'' if site.get('enforce') in (True, None) else ' (watches only)'}",
        )
    return made


def _clocks(sites: Iterable[Json]) -> Iterable[Text]:
    """Rates beside the asked witness's clock, from .. to, in millionths; who is judged unfit is in the notes."""
    known = [(site["site"], (site.get("clock") or {}).get("rate_ppm")) for site in sites]
    words = [f"{name} {rate[0] - PPM:+,} .. {rate[1] - PPM:+,} ppm" for name, rate in known if rate is not None]
    if words:
        yield Text(f"clocks beside the witness's: {', '.join(words)}", "dim")


def _notes(group: Json) -> Iterable[Text]:
    """What stands against each site, a line each: the decision's blockers, then what the agent itself says."""
    waits = waits_for_operator(group)
    if waits:
        yield Text(waits, "red")
    missing = standby_notes(group)
    for number, line in enumerate(missing):
        yield Text(line, "yellow" if number else "red")
    for blocker in group["decision"]["blockers"]:
        said_better = blocker.get("reason") == Reason.NOT_HOLDER.value and _disputed(group)
        if blocker["words"] not in missing and not said_better:
            yield Text(str(blocker["words"]), "yellow")
    for line in _permit_notes(group):
        yield Text(line, "red")
    for site in group["sites"]:
        notes = [f"quarantine: {note['cause']}, epoch {note['epoch']}: {note['text']}" for note in site["quarantine"]]
        notes += ["maintenance"] if site["maintenance"] else []
        unfit = (site.get("clock") or {}).get("unfit_words")
        notes += [f"{unfit}: mend its clock, or raise drift_max"] if unfit else []
        notes += [f"its agent says: {blocker}" for blocker in site["blockers"]]
        for note in notes:
            yield Text(f"{site['site']}: {note}", "yellow")
        if site["quarantine"]:
            yield Text(f"  {_ends_of_quarantine(group, site)}", "dim")


def standby_notes(group: Json) -> list[str]:
    """That no site could take over now, and why; of an older witness nothing is known."""
    standby = group.get("standby") or {}
    return [standby["missing"], *standby["against"]] if standby.get("missing") else []


def _permit_notes(group: Json) -> Iterable[str]:
    """Break-glass: what is active without the witnesses, and what holds grants back."""
    permits = group.get("permits") or {}
    for site in sorted({*permits.get("under_permit", ())} - {*permits.get("disputed", ())}):
        yield f"{site}: active under a break-glass permit; it is adopted in place, until then nothing else is granted"
    for site in permits.get("disputed", ()):
        yield (
            f"{site}: disputed: another agent speaks for it than the one that took the permit. Look there and end what "
            f"ran, then say so: witnessctl reconcile {group['group']} --reason ..."
        )
    others = {site["site"] for site in group["sites"] if _another_store(site)}
    for site in sorted({*permits.get("away", ())} & others):
        yield (
            f"{site}: only an agent with another store speaks there, so a break-glass permit may be in use; nothing is "
            "granted until you looked and lift that quarantine"
        )
    heard = {site["site"] for site in group["sites"] if _heard_now(group, site)} - others
    for site in sorted(({*permits.get("away", ())} & heard) - {*permits.get("under_permit", ())}):
        yield (
            f"{site}: its agent is heard and does not say yet that it was answered, so it counts as away and nothing "
            "is granted: it started a moment ago, or answers do not reach it. Look at `site-agent status` there"
        )
    away = [site for site in permits.get("away", ()) if site not in others | heard]
    if away:
        yield (
            f"{', '.join(away)}: away for so long that a break-glass permit may be in use there; nothing is "
            f"granted until it is heard, or you looked and say: witnessctl reconcile {group['group']} --reason ..."
        )


def _heard_now(group: Json, site: Json) -> bool:
    return site["heard_ms_ago"] is not None and site["heard_ms_ago"] <= _ttl_ms(group)


def _another_store(site: Json) -> bool:
    return QuarantineCause.STORE_CHANGED.value in [note["cause"] for note in site["quarantine"]]


def _ends_of_quarantine(group: Json, site: Json) -> str:
    """Only the mark of an unclean end lifts by itself; any other stays until somebody says so, and for itself alone."""
    lasting = [note["cause"] for note in site["quarantine"] if note["cause"] != QuarantineCause.UNCLEAN_END.value]
    by_hand = f"witnessctl quarantine clear {group['group']} {site['site']}"
    if lasting:
        named = "".join(f" --cause {cause}" for cause in lasting)
        return f"{', '.join(lasting)}: only you lift it: {by_hand}{named} --reason ..."
    by_hand += f" --cause {QuarantineCause.UNCLEAN_END.value} --reason ..."
    return f"it lifts when the site is proven down and its data probes pass; without such probes: {by_hand}"


def waits_for_operator(group: Json) -> str:
    """In manual mode, when the service stands still, or is about to, until somebody asks for its start; else empty.

    A handover that the cluster began goes on after `manual` was set, as its site is stopping already; but to start the
    other one is a move too.
    """
    name, decision = group["group"], group["decision"]
    if group["mode"] != Mode.MANUAL.value:
        return ""
    if decision["would"] == DecisionKind.GRANT.value:
        return f"nothing is active, and only you change that: {_switchover(name, decision['site'])}"
    if group.get("handover_reason") in (None, Reason.OPERATOR_ASKED.value):
        return ""
    to = group["successor"]
    return (
        f"the cluster began a handover to {to} before the mode was manual; when {group['holder']} has stopped, nothing "
        f"is active until you say: {_switchover(name, to)}, or witnessctl mode {name} automatic --reason ..."
    )


def _switchover(group: str, to: str) -> str:
    return f"witnessctl switchover {group} --to {to} --reason ..."


def _yes(value: object) -> str:
    return "-" if value is None else "yes" if value else "no"


# -- events and changes -----------------------------------------------------------------------------------


def event_line(event: Json) -> Text:
    at = str(event["at"])[11:23]
    where = " ".join(str(event[part]) for part in ("group", "site") if event[part])
    epoch = f" epoch {event['epoch']}" if event["epoch"] else ""
    by = "" if event["author"] == "witness" else f" [{event['author']}]"
    line = Text(f"{event['seq']:>6} {at} ", "dim") + Text(f"{event['kind']:<18} ", "red" if event["alarm"] else "bold")
    return line + Text(f"{where}{epoch}{by}  {event['text']}")


def _permits(values: Mapping[str, Any]) -> bool:
    """Without a key the time stands for nothing, and in no file."""
    return bool(values.get("break_glass_key"))


def change_lines(change: GroupChange) -> Iterable[Text]:
    style = {Action.CREATE: "green", Action.CHANGE: "yellow", Action.NOTHING: "dim"}[change.action]
    yield Text(f"{change.group}: {change.action.value}", style)
    values = {field.field: field.after for field in change.fields}
    for field in change.fields:
        absent = field.after in (None, "", {}, []) or (field.field == "break_glass_after_ms" and not _permits(values))
        if change.action is Action.CREATE and absent:
            continue
        before = "" if change.action is Action.CREATE else f"{value_of(field.field, field.before)} -> "
        note = f"   ({field.note})" if field.note and change.action is not Action.CREATE else ""
        yield Text(f"  {key_of(field.field)}: {before}{value_of(field.field, field.after)}{note}")
