"""Cron tables, rc.local and at jobs that name the platform: found by words, so a person has to look.

Words: the units, containers and programs that components and activation steps name. What everybody uses (shells,
env, systemctl) is no word of the platform.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.settings import GroupSpec

FILES = ("etc/crontab", "etc/anacrontab", "etc/rc.local")
DIRECTORIES = (
    *("etc/cron.d", "etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly"),
    *("var/spool/cron", "var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron/atjobs"),
)
COMMON = frozenset({"sh", "bash", "dash", "env", "systemctl", "docker", "podman", "service", "sleep", "test", "true"})


def platform_words(group: GroupSpec) -> set[str]:
    found: set[str] = set()
    for one in group.components:
        found |= {one.unit, one.unit.removesuffix(".service"), one.container}
    for step in group.activation.steps:
        if step.argv[0].rpartition("/")[2] not in COMMON and step.argv[0].startswith("/"):
            found.add(step.argv[0])
    return {word for word in found if len(word) > 2}


def check_cron(host: Host) -> Iterator[Finding]:
    for place, text in _tables(host):
        for group in host.enforced():
            for number, line in enumerate(text.splitlines(), start=1):
                word = _named(line, platform_words(group))
                if word:
                    yield Finding(
                        Severity.WARNING,
                        f"/{place}:{number}",
                        f"names {word}: {' '.join(line.split())[:120]}",
                        Promise.NO_SPLIT_BRAIN,
                        "if it starts the platform it does so without the lease",
                        "remove the line, or put `site-agent exec --group` before its command",
                        group.group,
                    )


def _named(line: str, words: set[str]) -> str:
    line = line.strip()
    if not line or line.startswith("#") or "site-agent exec" in line:
        return ""
    found = [word for word in words if re.search(rf"(?<![\w.@/-]){re.escape(word)}(?![\w@/-])", line)]
    return max(found, key=len, default="")


def _tables(host: Host) -> Iterator[tuple[str, str]]:
    places = [*FILES]
    for directory in DIRECTORIES:
        places += [f"{directory}/{entry.name}" for entry in host.entries(directory) or () if entry.is_file()]
    for place in places:
        text = host.text(place)
        if text is not None:
            yield place, text
