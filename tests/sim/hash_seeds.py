"""The same program in two processes that hash differently: what a seed tells must not depend on the order of a set."""

from __future__ import annotations

import os
import subprocess
import sys


def told_under_two_hash_seeds(*arguments: str) -> list[str]:
    """What Python prints with these arguments, once for each hash seed."""
    return [
        subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
