"""`python -m witness.sim.scenario FILE...`: plays scenarios and compares; exit code 1 when one went otherwise.

`-c 'cluster; run 9s; ...'` plays one line and tells everything; `--rewrite` writes what really was told into the files.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from witness.sim.scenario.play import VERBS, Played, play, play_line
from witness.sim.scenario.script import ScenarioError, Script, parse, render


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m witness.sim.scenario", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("-c", dest="line", metavar="COMMANDS", help="play these, parted by ';', and tell everything")
    parser.add_argument("--rewrite", action="store_true", help="write what was told into the files")
    parser.add_argument("--commands", action="store_true", help="list the commands")
    found = parser.parse_args(argv)
    if not found.commands and bool(found.files) == (found.line is not None):
        parser.error("name files, or give commands with -c")
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def differences(name: str, script: Script, played: Played) -> list[str]:
    """A unified diff of what was expected and what was told; empty when they agree."""
    expected, told = (render(script.head, blocks).splitlines() for blocks in (script.blocks, played.blocks))
    return list(difflib.unified_diff(expected, told, f"{name} expected", f"{name} told", lineterm=""))


def _play_file(path: Path, *, rewrite: bool) -> bool:
    script = parse(path.read_text(encoding="utf-8"))
    played = play(script)
    differ = differences(str(path), script, played)
    if rewrite and differ:
        path.write_text(render(script.head, played.blocks), encoding="utf-8")
    for line in differ:
        _say(line)
    for violation in played.violations:
        _say(f"{path}: VIOLATION {violation}")
    return not played.violations and (rewrite or not differ)


def _play_line(text: str) -> bool:
    played = play_line(text)
    for block in played.blocks:
        _say(f"> {block.asks[0]}")
        for line in block.told:
            _say(line)
    for violation in played.violations:
        _say(f"VIOLATION {violation}")
    return not played.violations


def commands() -> list[tuple[str, str]]:
    """How each command is written, and what it does."""
    return [(verb.usage, verb.does) for verb in VERBS.values()]


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    if arguments.commands:
        for usage, does in commands():
            _say(f"{usage}\n    {does}")
        return 0
    try:
        if arguments.line is not None:
            return 0 if _play_line(arguments.line) else 1
        results = [_play_file(path, rewrite=arguments.rewrite) for path in arguments.files]
    except ScenarioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
