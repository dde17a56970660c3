"""What is delivered fits together: lock, licence, changelog, console scripts, verbs."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from repo_tree import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
VERBS = (
    "help",
    "setup",
    "demo",
    "test",
    "check",
    "sim",
    "fuzz",
    "fuzz-plain",
    "mutants",
    "crash",
    "fences",
    "members",
    "licenses",
    "chaos",
    "bench",
    "model",
    "docs",
)


def locked_versions() -> dict[str, str]:
    return {canonicalize_name(name): found for name, found in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}


def wanted() -> list[Requirement]:
    optional = [text for group in PROJECT["optional-dependencies"].values() for text in group]
    return [Requirement(text) for text in (*PROJECT["dependencies"], *optional, *PYPROJECT["build-system"]["requires"])]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_lock_satisfies_pyproject(requirement):
    found = locked_versions().get(canonicalize_name(requirement.name))
    assert found is not None, f"{requirement.name} is not locked; run .ci/lock"
    assert requirement.specifier.contains(Version(found)), f"{requirement} but {found} is locked; run .ci/lock"


def test_every_locked_file_has_a_hash():
    entries = re.split(r"(?m)^(?=[\w.-]+==)", LOCK)[1:]
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_address_and_no_path():
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    stray = re.compile(r"://|@ |^-|/")
    assert [line for line in lines if stray.search(line)] == []


def test_build_tools_are_locked_too():
    assert {"setuptools", "wheel"} <= locked_versions().keys()


def test_the_environment_is_the_locked_one():
    """A test run against other versions says little; `make setup ARGS=--force` puts the locked ones in."""
    differing = {
        name: (found, version(name))
        for name, found in locked_versions().items()
        if name not in {"setuptools", "wheel"} and version(name) != found
    }
    assert differing == {}


def test_the_licence_is_apache_2_unchanged():
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2_SHA256, "LICENSE is not the text of Apache 2.0, byte for byte"


def test_the_changelog_knows_this_version():
    titles = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert len(titles) == 1 or titles[1] == PROJECT["version"]


@pytest.mark.parametrize("script", sorted(PROJECT["scripts"]))
def test_console_scripts_can_be_imported(script):
    module, _, name = PROJECT["scripts"][script].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("package", ["witness", "agents", "proto"])
def test_packages_are_marked_as_typed(package):
    assert (ROOT / package / "py.typed").is_file()
    assert PYPROJECT["tool"]["setuptools"]["package-data"][package] == ["py.typed"]


def test_make_help_lists_every_verb():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    assert tuple(re.findall(r"(?m)^  make ([\w-]+) +\S", done.stdout)) == VERBS


@pytest.mark.parametrize("name", ["run", "setup", "lock", "system-packages"])
def test_ci_scripts_can_be_run(name):
    assert os.access(ROOT / ".ci" / name, os.X_OK)


def test_setup_says_what_to_do_about_an_old_python(tmp_path):
    """Run on a copy with only an old interpreter on PATH: refused, the remedy named, nothing created."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("dirname", "cat", "sha256sum", "rm", "sh"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    old = tools / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    (tmp_path / ".ci").mkdir()
    for name in (".ci/setup", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        ["/bin/sh", ".ci/setup"],
        cwd=tmp_path,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed, found: Python 3.9.2" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()
