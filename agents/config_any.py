"""A configuration file of either kind, for commands that take both: a member's is known by naming its member."""

from __future__ import annotations

from pathlib import Path

from agents.config import load_agent_config
from agents.config_member import load_member_config
from agents.settings import MemberProcessSettings, SiteSettings
from proto.edge.config_file import ConfigRefused


def load_any_config(path: Path) -> SiteSettings | MemberProcessSettings:
    """Raises ConfigRefused, in the words of the kind that it is."""
    try:
        return load_agent_config(path)
    except ConfigRefused as refused:
        if not any(problem.path == "member" for problem in refused.problems):
            raise
        return load_member_config(path)
