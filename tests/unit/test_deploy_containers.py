"""The examples for containers say what the programs understand, and a guard runs from its few files alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.components.container import runs_exec
from agents.fencing import exec_options, guard_main
from agents.fencing.exec_options import RUNTIME_DIR

PLACE = Path(__file__).resolve().parents[2] / "deploy" / "container"


def pod() -> dict[str, Any]:
    made = yaml.safe_load((PLACE / "pod.yaml").read_text())
    spec: dict[str, Any] = made["spec"]["template"]["spec"]
    return spec


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text())
    return made


def entrypoint() -> list[str]:
    """Of the platform's image."""
    lines = (PLACE / "Containerfile.platform").read_text().splitlines()
    said = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines if line.startswith(("ENTRYPOINT", "CMD"))}
    return [*yaml.safe_load(said["ENTRYPOINT"]), *yaml.safe_load(said["CMD"])]


def of_pod() -> list[str]:
    (platform,) = (one for one in pod()["containers"] if one["name"] == "shop")
    return [*platform["command"], *platform["args"]]


@pytest.mark.parametrize("command", [entrypoint(), of_pod()], ids=["image", "pod"])
def test_the_platform_is_started_by_a_guard(command: list[str]) -> None:
    assert runs_exec(tuple(command))
    options = exec_options.parse(command[2:])
    assert (options.group, options.again, options.command[0]) == ("shop", True, "java")
    assert Path(options.socket_path).parent == Path(RUNTIME_DIR)


def test_the_runtime_directory_is_shared_and_the_state_is_kept() -> None:
    for one in pod()["containers"]:
        assert {"name": "runtime", "mountPath": RUNTIME_DIR} in one["volumeMounts"]
    (runtime,) = (one for one in pod()["volumes"] if one["name"] == "runtime")
    assert runtime["emptyDir"]["medium"] == "Memory"
    made = compose()
    for service in made["services"].values():
        assert f"runtime:{RUNTIME_DIR}" in service["volumes"]
    assert made["volumes"]["agent-state"] is None, "a volume that outlives its container"
    assert made["volumes"]["runtime"]["driver_opts"]["type"] == "tmpfs"


def test_a_guard_runs_from_its_few_files(tmp_path: Path) -> None:
    """As Containerfile.platform copies them: no package, no library."""
    shutil.copytree(
        Path(guard_main.__file__).parent, tmp_path / "fencing", ignore=shutil.ignore_patterns("__pycache__")
    )
    script = (PLACE / "site-agent").read_text().splitlines()[-1]
    assert script == 'exec python3 -I -S /opt/thirdsite/fencing/guard_main.py "$@"'
    argv = [sys.executable, "-I", "-S", str(tmp_path / "fencing" / "guard_main.py"), "exec"]
    helped = subprocess.run([*argv, "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert (helped.returncode, "--again" in helped.stdout) == (0, True)
    alone = subprocess.run(
        [*argv, "--group", "g", "--socket", str(tmp_path / "no.sock"), "--wait", "0", "--", "true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert alone.returncode == 69, alone.stderr
