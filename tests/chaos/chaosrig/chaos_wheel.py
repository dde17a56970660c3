"""The product as it is shipped: a wheel of this checkout in an environment of its own, built once for each state of it.

The environment holds the wheel alone; what the product needs comes from the checkout's `.venv` by one path file, which
does not bring along the editable installation of the checkout (path files of an added directory are not read).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = ("proto", "witness", "agents")
BUILD_S = 120.0
KEPT_MAX = 3
"""Environments of earlier states; older ones are removed."""


def product() -> Path:
    """The directory of its programs. Raises CalledProcessError when the wheel cannot be built."""
    home = CHECKOUT / "build" / "chaos"
    made = home / _fingerprint()
    if not (made / "done").exists():
        home.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=home))
        try:
            _make(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(made, ignore_errors=True)
        part.rename(made)
        (made / "done").touch()
        _forget_old(home)
    os.utime(made)
    return made / "venv" / "bin"


def _fingerprint() -> str:
    state = hashlib.sha256(sys.version.encode())
    files = [CHECKOUT / "pyproject.toml", CHECKOUT / ".venv" / ".setup-stamp"]
    files += sorted(path for name in PACKAGES for path in (CHECKOUT / name).rglob("*.py"))
    for path in files:
        state.update(str(path.relative_to(CHECKOUT)).encode())
        state.update(path.read_bytes() if path.exists() else b"")
    return state.hexdigest()[:16]


def _make(part: Path) -> None:
    """A copy is built: setuptools leaves its own directories where it works."""
    source = part / "source"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    _run([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(part), str(source)])
    shutil.rmtree(source)
    venv = part / "venv"
    _run([sys.executable, "-m", "venv", "--without-pip", str(venv)])
    (wheel,) = part.glob("thirdsite-*.whl")
    _run([*pip, "--python", str(venv / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel)])
    (own,) = (venv / "lib").glob("python*/site-packages")
    (own / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    # Scripts name their interpreter by the path under which it was installed, and `part` is renamed.
    for program in ("witness", "witnessctl", "site-agent"):
        script = venv / "bin" / program
        first, _, rest = script.read_text(encoding="utf-8").partition("\n")
        final = part.parent / _fingerprint() / "venv" / "bin" / Path(first).name
        script.write_text(f"#!{final}\n{rest}", encoding="utf-8")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=BUILD_S)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()


def _forget_old(home: Path) -> None:
    made = sorted((path for path in home.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in made[:-KEPT_MAX]:
        shutil.rmtree(path, ignore_errors=True)
