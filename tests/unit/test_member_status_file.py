"""`site-agent status -c FILE` on a member's host: the file is the member's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.cli import _status_socket
from proto.edge.config_file import ConfigRefused

EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "examples"


@pytest.mark.parametrize("name", ["agent.yaml", "member.yaml"])
def test_the_socket_is_found_in_either_file(tmp_path: Path, name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    file = tmp_path / name
    file.write_text(text.replace("runtime_dir: /run/thirdsite", "runtime_dir: /run/elsewhere"), encoding="utf-8")
    assert _status_socket(file).parent == Path("/run/elsewhere")


def test_a_broken_file_of_a_member_is_judged_as_a_members(tmp_path: Path) -> None:
    file = tmp_path / "member.yaml"
    file.write_text((EXAMPLES / "member.yaml").read_text(encoding="utf-8").replace("lead:", "leed:"), encoding="utf-8")
    with pytest.raises(ConfigRefused, match="leed: unknown key; did you mean 'lead'") as caught:
        _status_socket(file)
    assert "witnesses" not in str(caught.value)
