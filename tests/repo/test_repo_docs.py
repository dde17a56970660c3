"""The pages hold together: one title each, and no link that leads nowhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
from repo_docs import anchors, check_links, check_title
from repo_tree import ROOT, all_files, report


def read(path: str) -> str | None:
    where = ROOT / path
    if where.is_dir():
        return ""
    return where.read_text(encoding="utf-8") if where.is_file() else None


def pages() -> list[str]:
    return [path for path in all_files() if path.endswith(".md")]


def test_each_page_has_one_title():
    broken = [violation for path in pages() for violation in check_title(path, read(path) or "")]
    assert not broken, report(broken)


def test_every_link_leads_somewhere():
    broken = [violation for path in pages() for violation in check_links(path, read(path) or "", read)]
    assert not broken, report(broken)


def test_generated_pages_are_fresh():
    """The diagrams are what the transition tables say; `make docs` writes them."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ["", "no title", "# One\n# Two", "## Second only", "```\n# fenced\n```"])
def test_a_page_without_exactly_one_title_is_caught(text):
    assert list(check_title("docs/x.md", text))


FILES = {"docs/x.md": "# X\n## A b, c!\n## A b, c!\n", "docs/adr/1.md": "# One\n", "docs/adr": "", "LICENSE": "text"}


@pytest.mark.parametrize("link", ["y.md", "../../x", "x.md#none", "#none", "/docs/x.md", "adr/1.md#two"])
def test_a_dead_link_is_caught(link):
    assert list(check_links("docs/x.md", FILES["docs/x.md"] + f"[see]({link})", FILES.get))


@pytest.mark.parametrize(
    "link", ["x.md", "adr/1.md", "./adr/1.md#one", "#a-b-c", "#a-b-c-1", "../LICENSE", "adr", "https://example.org/x#y"]
)
def test_a_live_link_passes(link):
    assert not [str(found) for found in check_links("docs/x.md", FILES["docs/x.md"] + f"[see]({link})", FILES.get)]


def test_anchors_follow_the_forges_rule():
    assert anchors("# P1: No `split-brain`\n## See [this](x.md)") == {"p1-no-split-brain", "see-this"}
