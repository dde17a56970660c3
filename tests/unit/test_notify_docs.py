"""What the pages show works: the worked example is taken, the check of a webhook's signature says yes and no."""

from __future__ import annotations

import re
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from proto.edge.config_file import parse_config
from witness.notify.config import NotifyConfig
from witness.notify.webhook import signed_headers

DOCS = Path(__file__).parents[2] / "docs"


def test_the_worked_example_is_taken():
    page = (DOCS / "operating/notifications.md").read_text(encoding="utf-8")
    found = re.search(r"\n( +)notify:\n((?:\1  .*\n)+)", page)
    assert found is not None
    made = parse_config(textwrap.dedent(found[2]), NotifyConfig, file="page", base=Path("/etc/thirdsite")).settings()
    assert [target.name for target in made.targets] == ["oncall", "team"]
    assert made.monitors[0].way.url_file == "/etc/thirdsite/notify/kuma.url"


@pytest.fixture
def check() -> Any:
    page = (DOCS / "reference/notifications.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names["check"]


def test_the_pages_check_of_a_signature_says_yes_and_no(check):
    now, body, secret = int(time.time()), b'{"version":1}', b"a secret of some length"
    headers = signed_headers("id-1", now, body, secret)
    assert check(headers, body, secret)
    assert not check(headers, body + b" ", secret)
    assert not check(headers, body, b"another")
    assert not check({**headers, "webhook-id": "id-2"}, body, secret)
    assert not check(signed_headers("id-1", now - 1_000, body, secret), body, secret), "too old"
    assert check({**headers, "webhook-signature": "v1,bm8= " + headers["webhook-signature"]}, body, secret)


def test_every_field_of_the_section_is_on_its_page():
    page = (DOCS / "reference/notifications.md").read_text(encoding="utf-8")
    schema = NotifyConfig.model_json_schema()
    names = {name for part in [schema, *schema["$defs"].values()] for name in part.get("properties", ())}
    assert not [name for name in sorted(names) if f"`{name}`" not in page]
