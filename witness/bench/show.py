"""What a bench run says to people: one table a part, and the floors and aims that it is judged by."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from witness.bench.figures import AIMS, FLOORS, Json


def judge(figures: Json) -> Json:
    """The figures that floors and aims name, by their keys."""
    one, put = figures.get("commit_1") or {}, figures.get("put_1") or {}
    raw, raw_put = _of(figures, "raft", "1"), _of(figures, "raft_etcd", "1")
    agent, beats = figures.get("agent") or {}, figures.get("heartbeats") or {}
    fast = _of(figures, "outage", "fast", "kill", "thirdsite")
    return {
        "commit_p50_ms": one.get("p50_ms"),
        "commit_over_etcd": _ratio(one, put),
        "raft_over_etcd": _ratio(raw, raw_put),
        "heartbeats_per_s": beats.get("per_s"),
        "agent_and_guard_mb": agent.get("agent_and_guard_mb"),
        "first_heartbeat_s": agent.get("median_s"),
        "outage_fast_kill_ms": fast.get("max_ms"),
    }


def _of(figures: Json, *path: str) -> Json:
    found: Json = figures
    for key in path:
        found = found.get(key) or {}
    return found


def _ratio(ours: Json, other: Json) -> float | None:
    return round(ours["p50_ms"] / other["p50_ms"], 2) if ours.get("p50_ms") and other.get("p50_ms") else None


def show(console: Console, figures: Json, judged: Json) -> None:
    clients = str(figures["clients"])
    rows = [
        ("commit of one group's heartbeat", "1", _of(figures, "commit_1")),
        ("the same", clients, _of(figures, "commit_many")),
        ("etcd put, gRPC, no TLS", "1", _of(figures, "put_1")),
        ("the same", clients, _of(figures, "put_many")),
    ]
    rows += [("Raft alone, no TLS, no API", count, row) for count, row in _of(figures, "raft").items()]
    rows += [("etcd put beside it", count, row) for count, row in _of(figures, "raft_etcd").items()]
    _show_commits(console, [row for row in rows if row[2]])
    if "heartbeats" in figures:
        beats = figures["heartbeats"]
        console.print(
            f"heartbeats   {beats['per_s']}/s of single groups, {beats['groups_a_message']} groups a message, "
            f"{beats['groups']} groups, {beats['in_flight']} messages in flight, half of them renewals; "
            f"answer p50 {beats['answer_p50_ms']} ms, p99 {beats['answer_p99_ms']} ms; CPU {_cpu(beats)}"
        )
        console.print(f"memory       witness {_all(figures['witness_idle_mb'])} MB idle, ", end="")
        console.print(f"{_all(figures['witness_loaded_mb'])} MB after the load (resident)")
    if "agent" in figures:
        agent = figures["agent"]
        console.print(f"memory       {_all(agent['memory_mb'])} MB (resident)")
        console.print(f"start        {agent['median_s']} s to the first committed heartbeat (of {agent['all_s']})")
    _show_guard(console, figures.get("guard") or {})
    _show_outages(console, figures.get("outage") or {})
    _show_floors(console, judged)


def _show_commits(console: Console, rows: list[tuple[str, str, Json]]) -> None:
    if not rows:
        return
    table = Table("", "in flight", "per second", "p50 ms", "p99 ms", "CPU per process (cores)", title="Commits")
    for words, clients, row in rows:
        table.add_row(words, clients, *(str(row[name]) for name in ("per_s", "p50_ms", "p99_ms")), _cpu(row))
    console.print(table)


def _show_guard(console: Console, figures: Json) -> None:
    if not figures:
        return
    idle = figures["idle"]
    console.print(f"guard        {idle['guard_mb']} MB, its init {idle['init_mb']} MB (resident); ", end="")
    console.print(f"{idle['guard_wakes_per_s']} and {idle['init_wakes_per_s']} wake-ups a second while armed")
    table = Table("load", "trials", "last sign of life", "proven", title="A deadline's lateness, ms: median and worst")
    for load in ("plain", "cpu", "memory"):
        row = figures[load]
        if "not_measured" in row:
            table.add_row(load, "-", row["not_measured"], "")
            continue
        cells = [f"{row[key].get('median_ms')}, {row[key].get('max_ms')}" for key in ("last_stamp", "proof")]
        table.add_row(load, str(row["trials"]), *cells)
    console.print(table)


def _show_outages(console: Console, outage: Json) -> None:
    if not outage:
        return
    table = Table("timers", "the leader is", "", "runs", "min ms", "median ms", "max ms", title="Write outage")
    for profile, figures in outage.items():
        timers = figures["timers"]
        words = f"{profile} ({timers['append_period_ms']}/{timers['election_min_ms']} ms)"
        for way, done in (("kill", "killed"), ("stop", "stopped")):
            for whose, row in figures.get(way, {}).items():
                cells = [str(row[key]) for key in ("runs", "min_ms", "median_ms", "max_ms")]
                table.add_row(words, done, whose, *cells)
    console.print(table)


def _show_floors(console: Console, judged: Json) -> None:
    table = Table("", "measured", "wanted", "", title="Floors and aims")
    for kind, floors in (("floor", FLOORS), ("aim", AIMS)):
        for floor in floors:
            value, verdict = judged[floor.key], floor.holds(judged[floor.key])
            word = {True: "[green]held[/green]", False: "[bold red]MISSED[/bold red]", None: "not measured"}[verdict]
            sign = ">=" if floor.at_least else "<="
            wanted = f"{sign} {floor.limit:g} {floor.unit}"
            table.add_row(f"{kind}: {floor.words}", "-" if value is None else f"{value:g}", wanted, word)
    console.print(table)


def _cpu(row: Json) -> str:
    return _all(row["cpu_per_process"])


def _all(values: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
