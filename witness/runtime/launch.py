"""`witness run`: checks the configuration, then becomes the process that stays.

The checker's libraries (YAML, pydantic, typer, rich) take some 15 MB that a witness would carry for months. The
settings go over in a memory file; the process id stays, so a supervisor sees one process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from witness.config import load_witness_config
from witness.settings import to_json


def launch(config: Path) -> NoReturn:
    """Raises ConfigRefused; otherwise it does not return."""
    settings = load_witness_config(config)
    fd = os.memfd_create("thirdsite-settings", 0)
    with os.fdopen(os.dup(fd), "w", encoding="utf-8") as stream:
        stream.write(to_json(settings))
    os.lseek(fd, 0, os.SEEK_SET)
    command = [sys.executable, "-P", "-m", "witness.runtime", "--settings-fd", str(fd), str(config)]
    os.execv(sys.executable, command)  # noqa: S606  # no shell is wanted, and the program is this interpreter
