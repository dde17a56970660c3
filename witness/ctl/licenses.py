"""What `witnessctl license` does: the escrow's status, the ledger read whole and proved, evidence written and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proto.clock import SystemClock
from proto.edge.config_types import duration_words
from proto.errors import BadValue
from proto.events import Event
from proto.license import NOT_NAMED
from proto.units import GroupId
from witness.activity.evidence import Verdict, evidence, judge, read_event, read_evidence, verdict_fields
from witness.activity.intervals import Finding
from witness.ctl.changing import change
from witness.ctl.client import ClusterClient, group_path
from witness.ctl.errors import Misused, Refused, Unreachable
from witness.ctl.looking import all_groups, ask_all, print_json
from witness.ctl.render import Json, console, table

PAGE = 1_000
EVENTS_READ_MAX = 2_000_000
"""A ledger of so many entries has some 600 MB as JSON; a longer one is not read into one machine's memory."""
FILE_BYTES_MAX = 1 << 30


def show_status(client: ClusterClient, group: str | None, *, as_json: bool) -> None:
    found = [client.get(group_path(group))] if group else list(all_groups(client))
    seen = [{"group": one["group"], "holder": one["holder"], "licenses": one["licenses"]} for one in found]
    if as_json:
        print_json({"groups": seen})
        return
    shown = [one for one in seen if one["licenses"]]
    if not shown:
        console.print("no licenses are configured; add `licenses:` to the group: witnessctl apply -f FILE")
    wall_ms = SystemClock().read().wall_ms
    for one in shown:
        console.print(_group_lines(one, wall_ms))


def _group_lines(group: Json, wall_ms: int) -> RenderableType:
    holder = group["holder"] or "nobody"
    parts: list[RenderableType] = [Text(f"{group['group']}: active at {holder}", "bold")]
    for one in group["licenses"]:
        parts += [Text(_license_words(one, wall_ms)), _sites_table(one), *_license_notes(group["group"], one), Text("")]
    return Group(*parts)


def _license_words(one: Json, wall_ms: int) -> str:
    if one["escrow"] == NOT_NAMED:
        return f"{one['license']}: the group does not name it, so nothing is kept of it: witnessctl apply -f FILE"
    words = f"{one['license']}: escrow {one['escrow']}, newest {one['newest']}"
    if one["stored"] is None:
        return f"{words}, nothing stored"
    age = duration_words(max(0, wall_ms - one["put_ms"]) // 1_000 * 1_000)
    return f"{words}, stored {one['stored']} of {one['sealed_by']}, {age} ago, sealed with key {one['sealing_key']}"


def _sites_table(one: Json) -> Table:
    made = table("SITE", "HOLDS", "CURRENT", "ACTIVATED", "PROBLEM")
    for site in one["sites"]:
        active = {None: "not asked", True: "yes", False: "no"}[site["activated"]]
        made.add_row(
            site["site"],
            site["held"] if site["configured"] else Text("not configured", "yellow"),
            "yes" if site["current"] else Text("no", "yellow"),
            Text(active, "red" if site["both_active"] else ""),
            Text(site["problem"] or "-", "yellow" if site["problem"] else ""),
        )
    return made


def _license_notes(group: str, one: Json) -> list[Text]:
    notes = [
        Text(f"{site['site']}: both active: it is activated there without a right to it", "bold red")
        for site in one["sites"]
        if site["both_active"]
    ]
    notes += [Text(f"{site['site']}: {site['blocked']}", "yellow") for site in one["sites"] if site["blocked"]]
    if one["waived"] is not None:
        text = f"{one['license']}: an operator gave versions up to {one['waived']} up, until a site has been activated"
        notes.append(Text(text, "yellow"))
    elif any(site["blocked"] for site in one["sites"]):
        command = f"witnessctl license waive {group} {one['license']} --newest {one['newest']} --reason ..."
        notes.append(Text(f"for the last resort: {command}", "dim"))
    return notes


def waive(client: ClusterClient, group: str, name: str, newest: str, reason: str, *, as_json: bool) -> None:
    body = {"license": name, "newest": newest, "reason": reason}
    done = f"{group}: {name} {newest} is given up; a site without it may be activated once"
    change(client, group_path(group, "/waive"), body, done, as_json=as_json)


# -- the proof ----------------------------------------------------------------------------------------------


def verify(client: ClusterClient, group: str, *, as_json: bool) -> None:
    """Raises Refused, naming the entry, when something is wrong."""
    verdict, _, anchors = _judged(client, group)
    _tell(verdict, anchors, as_json=as_json)


def verify_file(file: Path, group: str, *, as_json: bool) -> None:
    verdict = _read(file, group)
    _tell(verdict, {}, as_json=as_json)


def export(client: ClusterClient, group: str, out: Path, *, as_json: bool) -> None:
    """Writes it also when the proof fails: then it is what there is to look into."""
    if out.exists():
        raise Misused(f"--out {out} is there already: name a new file, evidence is not written over")
    verdict, events, anchors = _judged(client, group)
    wall_ms = SystemClock().read().wall_ms
    cluster = str(client.get("/v1/status")["cluster"])
    made = evidence(verdict, events, cluster=cluster, exported_ms=wall_ms, anchors=anchors)
    try:
        with out.open("x", encoding="utf-8") as file:
            json.dump(made, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise Misused(f"--out {out} cannot be written: {error.strerror or error}") from error
    if not as_json:
        console.print(f"{out}: {len(events)} entries; note this hash elsewhere: {verdict.head_chain}")
    _tell(verdict, anchors, as_json=as_json)


def _judged(client: ClusterClient, group: str) -> tuple[Verdict, list[Event], dict[str, str]]:
    """The ledger of the witness that knows most, proved, and compared with what every other one tells."""
    said = ask_all(client)
    client.get(group_path(group))  # a name that nobody knows is refused here
    events = read_ledger(client)
    verdict = judge(events, GroupId(group))
    anchors = _anchors(client, said, verdict.head_seq)
    other = [name for name, chain in anchors.items() if chain and chain != verdict.head_chain]
    found = [Finding(verdict.head_seq, f"{name} tells another hash of entry {verdict.head_seq}") for name in other]
    joined = (*verdict.findings, *found)
    whole = Verdict(verdict.activity, joined, verdict.first_seq, verdict.head_seq, verdict.head_chain)
    return whole, events, anchors


def read_ledger(client: ClusterClient) -> list[Event]:
    """From its first entry to the one that is the newest now."""
    events: list[Event] = []
    after, head = 0, None
    while head is None or after < head:
        page = client.get(f"/v1/events?after={after}&limit={PAGE}")
        head = int(page["head"]) if head is None else head
        read = [read_event(one) for one in page["events"] if int(one["seq"]) <= head]
        if not read:
            break
        events += read
        after = read[-1].seq
        if len(events) > EVENTS_READ_MAX:
            raise Refused(f"the ledger has more than {EVENTS_READ_MAX} entries: it is not read as a whole")
    return events


def _anchors(client: ClusterClient, said: Json, head: int) -> dict[str, str]:
    """By witness its own hash of that entry, '' when it does not have it (yet) or did not answer."""
    anchors: dict[str, str] = {}
    for address in client.witnesses:
        body = said[str(address)]
        name = str(address) if isinstance(body, str) else str(body["witness"])
        try:
            page = client.ask_one(address, f"/v1/events?after={head - 1}&limit=1")
        except Unreachable:
            anchors[name] = ""
            continue
        events = page.body.get("events", []) if page.ok else []
        anchors[name] = str(events[0]["chain"]) if events and events[0]["seq"] == head else ""
    return anchors


def _read(file: Path, group: str) -> Verdict:
    try:
        size = file.stat().st_size
        if size > FILE_BYTES_MAX:
            raise BadValue("--file", str(file), f"at most {FILE_BYTES_MAX >> 20} MB are read", "export it again")
        raw: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadValue("--file", str(file), f"cannot be read: {error.strerror or error}", "name another") from error
    except (ValueError, RecursionError) as error:
        raise BadValue("--file", str(file), f"is not JSON: {error!s:.80}", "export it again") from error
    named, events = read_evidence(raw)
    if named != group:
        raise BadValue("GROUP", group, f"the file is of {named}", "name that group, or another file")
    return judge(events, named)


# -- what is told -------------------------------------------------------------------------------------------


def _tell(verdict: Verdict, anchors: dict[str, str], *, as_json: bool) -> None:
    fields = {**verdict_fields(verdict), "anchors": anchors}
    if as_json:
        print_json(fields)
    else:
        console.print(_intervals_table(fields))
        for line in _proof_lines(fields):
            console.print(line)
    if not verdict.proven:
        first = min(verdict.findings, key=lambda one: one.seq)
        raise Refused(f"not proven: entry {first.seq}: {first.words}")


def _intervals_table(fields: Json) -> Table:
    made = table("SITE", "BY", "EPOCHS", "BEGIN", "END", "ENTRIES")
    for one in fields["intervals"]:
        ended = one["ended"]
        until = f"{ended['at'][:19]} {one['end']}" if ended else str(one["end"])
        entries = f"{one['begin']['entry']} to {ended['entry'] if ended else '...'}"
        epochs = ", ".join(str(epoch) for epoch in one["epochs"])
        made.add_row(one["site"], one["by"], epochs, one["begin"]["at"][:19], until, entries)
    return made


def _proof_lines(fields: Json) -> list[Text]:
    lines = [Text(f"entry {one['entry']}: {one['words']}", "red") for one in fields["findings"]]
    told = [name for name, chain in fields["anchors"].items() if chain == fields["head_chain"]]
    by = f", as {', '.join(told)} tell it" if told else ""
    lines.append(Text(f"entries {fields['first_entry']} to {fields['head_entry']}, newest {fields['head_chain']}{by}"))
    if not fields["complete"]:
        lines.append(
            Text("the ledger does not reach back to the group's creation: earlier activity is not shown", "yellow")
        )
    apart = fields["clocks_apart_ms"]
    seen = f"; they were seen {apart / 1_000:.1f} s apart" if apart > 0 else ""
    words = f"wall times are within {fields['clock_uncertainty_ms'] / 1_000:.1f} s; the order rests on no clock{seen}"
    lines.append(Text(words, "dim"))
    if fields["ok"]:
        lines.append(Text(f"{len(fields['intervals'])} intervals, no two overlap", "green"))
    return lines
