"""What is piped is folded nowhere: one line a row, for grep and awk, however long it is."""

from __future__ import annotations

import os
import subprocess
import sys

from rich.console import Console

from agents.cli import PIPE_COLUMNS
from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.show import findings_view

LONG = "a reason that goes on, " * 40
PROGRAM = """
import sys
from rich.text import Text
from witness.ctl import render
event = {"at": "2026-11-29T03:12:07.000+00:00", "group": "shop", "site": "dc-b", "epoch": 3, "author": "witness",
         "seq": 7, "kind": "no-standby", "alarm": True, "text": sys.argv[1]}
render.console.print(render.event_line(event))
made = render.table("SITE", "WHY")
made.add_row("dc-b", sys.argv[1])
render.console.print(made)
"""


def test_a_pipe_of_witnessctl_has_no_width():
    environment = {**os.environ, "COLUMNS": "80"}
    argv = [sys.executable, "-c", PROGRAM, LONG]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    event, heading, row = done.stdout.splitlines()
    assert event.endswith(LONG)
    assert heading.split() == ["SITE", "WHY"]
    assert row.split(maxsplit=1)[1].strip() == LONG.strip()


def test_a_finding_of_the_doctor_is_one_line():
    found = [Finding(Severity.WARNING, "unit", LONG, Promise.COMES_BACK, LONG, LONG)] * 2
    console = Console(width=PIPE_COLUMNS)
    with console.capture() as capture:
        console.print(findings_view(found))
    assert len(capture.get().splitlines()) == len(found) + 2
