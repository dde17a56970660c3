"""What stands in deploy/systemd starts the programs by words that they take, and keeps what the promise rests on."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

from agents.runtime.exit_codes import EXIT_CONFIG, EXIT_USAGE

ROOT = Path(__file__).resolve().parents[2]


def unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string((ROOT / "deploy" / "systemd" / f"{name}.service").read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize(("name", "program"), [("witness", "witness"), ("site-agent", "site-agent")])
def test_a_unit_runs_the_program_with_the_file_of_the_pages_and_never_gives_up(name: str, program: str) -> None:
    found = unit(name)
    file = "witness" if program == "witness" else "agent"
    assert found["Service"]["ExecStart"] == f"/usr/local/bin/{program} run -c /etc/thirdsite/{file}.yaml"
    assert found["Service"]["Restart"] == "always"
    assert found["Service"]["RestartPreventExitStatus"].split() == [str(EXIT_USAGE), str(EXIT_CONFIG)], "but this"
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert found["Install"]["WantedBy"] == "multi-user.target"


def test_the_agents_unit_lets_its_guards_live_and_is_the_one_that_the_page_shows() -> None:
    service = unit("site-agent")["Service"]
    assert service["KillMode"] == "process"
    page = (ROOT / "docs" / "operating" / "upgrade.md").read_text(encoding="utf-8")
    assert [f"{key}={value}" for key, value in service.items() if f"\n{key}={value}\n" not in page] == []


def test_restarts_that_help_nothing_come_slower_and_never_so_late_that_a_lease_is_lost_for_it() -> None:
    """systemd never counts back by itself: the longest delay is also that of the first crash in a year."""
    service = unit("site-agent")["Service"]
    assert int(service["RestartSteps"]) >= 10, "a host that is slow to get its address is not punished for it"
    assert service["RestartMaxDelaySec"] == "1s"
    page = (ROOT / "docs" / "operating" / "upgrade.md").read_text(encoding="utf-8")
    assert "`systemctl reset-failed site-agent`" in page
    assert "254" in page
    for name in ("site-agent", "witness"):
        assert "RequiresMountsFor" not in unit(name)["Unit"], "only the host knows its mounts"
    assert "RequiresMountsFor=/etc/thirdsite" in page


def test_the_examples_name_the_files_that_the_units_do() -> None:
    example = yaml.safe_load((ROOT / "deploy" / "examples" / "witness.yaml").read_text(encoding="utf-8"))
    assert example["data_dir"] == "/var/lib/thirdsite/witness"
    assert "User" in unit("witness")["Service"]
    assert "User" not in unit("site-agent")["Service"], "the guard needs root"
