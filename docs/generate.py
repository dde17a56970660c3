"""Writes docs/generated from the code: the diagrams of the transition tables, so that prose cannot drift.

make docs                   writes the pages
make docs ARGS=--check      names the stale ones and fails (tests/repo does the same)
make docs ARGS=--imports    prints the import graph of the packages, as Mermaid, for a look at the tree
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from agents.core.member_group import MEMBER_TRANSITIONS
from agents.core.plan_progress import STEP_TRANSITIONS
from agents.core.site import SITE_TRANSITIONS
from proto.decisions import REASON_TEXT, Reason
from proto.severity import MEANING, Severity
from witness.core.transitions import LEADS_TO, REFUSED, Phase
from witness.sim.scenario.__main__ import commands as scenario_commands
from witness.sim.scenario.script import parse

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "generated"
SCENARIOS = "tests/sim/scenarios"


def _node(state: Enum) -> str:
    return str(state.value).replace("-", "_")


def diagram(table: Iterable[tuple[Enum, Enum, Enum]], start: Enum) -> str:
    """A Mermaid state diagram; inputs that lead from one state to the same other share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, cause, after in table:
        arrows.setdefault((_node(state), _node(after)), []).append(str(cause.value))
    lines = ["stateDiagram-v2", f"    [*] --> {_node(start)}"]
    lines += [f"    {before} --> {after}: {', '.join(causes)}" for (before, after), causes in arrows.items()]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def lease_page() -> str:
    rows = [(phase, cause, after) for (phase, cause), after in LEADS_TO.items()]
    refused = "\n".join(
        f"| {phase.value} | {cause.value} | {reason.value} |" for (phase, cause), reason in REFUSED.items()
    )
    return _page(
        "The phases of a lease",
        "witness/core/transitions.py",
        diagram(rows, Phase.BARRED)
        + "\nRefused, and why:\n\n| phase | input | reason |\n|---|---|---|\n"
        + refused
        + "\n",
    )


def site_page() -> str:
    rows = [(state, cause, after) for (state, cause), after in SITE_TRANSITIONS.items()]
    return _page("The life cycle of a site", "agents/core/site.py", diagram(rows, rows[0][0]))


def steps_page() -> str:
    rows = [(state, cause, after) for (state, cause), after in STEP_TRANSITIONS.items()]
    return _page("A step of a plan, as its journal knows it", "agents/core/plan_progress.py", diagram(rows, rows[0][0]))


def member_page() -> str:
    rows = [(phase, cause, after) for (phase, cause), after in MEMBER_TRANSITIONS.items()]
    return _page("How a member stands with a group", "agents/core/member_group.py", diagram(rows, rows[0][0]))


def reasons_page() -> str:
    rows = "\n".join(f"| `{reason.value}` | {REASON_TEXT[reason]} |" for reason in Reason)
    return _page(
        "Reasons",
        "proto/decisions.py",
        "Codes are stable: programs may match on them. The words may change.\n\n| code | meaning |\n|---|---|\n"
        + rows
        + "\n",
    )


def events_page() -> str:
    lines = sorted(MEANING.items(), key=lambda item: (list(Severity).index(item[1].severity), item[0].value))
    rows = "".join(
        f"| `{kind.value}` | {meaning.severity.value} | {meaning.words} | "
        f"{', '.join(f'`{ended}`' for ended in sorted(one.value for one in meaning.ends))} |\n"
        for kind, meaning in lines
    )
    return _page(
        "Events",
        "proto/severity.py",
        "Every kind of event in the ledger, and how much it matters. Kinds are stable: programs may match on them.\n"
        "What ends another one is told with the weight of what it ends.\n\n"
        "| kind | severity | meaning | ends |\n|---|---|---|---|\n" + rows,
    )


def scenarios_page() -> str:
    stories = []
    for path in sorted((ROOT / SCENARIOS).glob("*.txt")):
        script = parse(path.read_text(encoding="utf-8"))
        link = f"[{path.stem}](../../{SCENARIOS}/{path.name})"
        stories.append(f"**{script.question}**\n{script.answer}\nThe whole trace: {link}.\n")
    commands = "".join(f"```text\n{usage}\n```\n{does}\n\n" for usage, does in scenario_commands())
    return _page(
        "What happens when ...",
        SCENARIOS,
        "Each answer is the trace of a simulation of the real cores, engine and guard rules; a test plays them all. "
        "Times are true milliseconds.\nTry your own, for example with your ttl:\n\n"
        "```sh\npython -m witness.sim.scenario "
        "-c 'cluster ttl=10s; wait active site-a; cut site-a witnesses 4s; run 20s; status'\n```\n\n"
        + "\n".join(stories)
        + "\n## Commands of a scenario\n\n"
        "Only `run`, `wait` and `settle` let time pass. A witness is named w1, `leader` or `follower`, a site site-a, "
        "`active` or `standby`, all of them `witnesses` and `sites`. Spans are written 500ms, 2.5s, 3min, 1h.\n\n"
        + commands.rstrip("\n")
        + "\n",
    )


def chaos_page() -> str:
    for folder in ("tests/chaos", "tests/sim"):  # there are no packages in tests/
        sys.path.insert(0, str(ROOT / folder))
    from chaosrig.chaos_kinds import catalogue  # needs the two folders above

    return _page("Real faults", "tests/chaos/chaosrig/chaos_kinds.py", "\n".join(catalogue()) + "\n")


def _page(title: str, source: str, body: str) -> str:
    return f"# {title}\n\nGenerated by `make docs` from [{source}](../../{source}); do not edit.\n\n{body}"


PAGES = {
    "lease-phases.md": lease_page,
    "site-life-cycle.md": site_page,
    "plan-steps.md": steps_page,
    "member-phases.md": member_page,
    "reasons.md": reasons_page,
    "events.md": events_page,
    "scenarios.md": scenarios_page,
    "chaos-kinds.md": chaos_page,
}


def stale_pages() -> list[str]:
    """The pages that differ from what the code says now."""
    return [
        name
        for name, make in PAGES.items()
        if not (OUT / name).is_file() or (OUT / name).read_text(encoding="utf-8") != make()
    ]


def write_pages() -> None:
    OUT.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (OUT / name).write_text(make(), encoding="utf-8")
        print(OUT.relative_to(ROOT) / name)


def import_map() -> str:
    """Packages (two levels) and who imports whom, from the same analysis that tests/repo uses."""
    sys.path.insert(0, str(ROOT / "tests" / "repo"))
    from repo_layers import import_graph
    from repo_tree import shipped_sources

    sources = shipped_sources()
    rooms = {source.module: _room(source.path) for source in sources}
    edges = {
        (rooms[module], rooms[other])
        for module, others in import_graph(sources).items()
        for other in others
        if rooms[module] != rooms[other]
    }
    return "graph LR\n" + "".join(f"    {one} --> {other}\n" for one, other in sorted(edges))


def _room(path: str) -> str:
    parts = path.split("/")[:-1]
    return ".".join(parts[:2])


def main() -> int:
    if "--imports" in sys.argv[1:]:
        print(import_map(), end="")
        return 0
    if "--check" in sys.argv[1:]:
        stale = stale_pages()
        for name in stale:
            print(f"docs/generated/{name} is stale: run make docs", file=sys.stderr)
        return 1 if stale else 0
    write_pages()
    return 0


if __name__ == "__main__":
    sys.exit(main())
