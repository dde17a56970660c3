"""The `notify` section: what it becomes, and that every refusal names field, value, rule and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto.edge.config_file import ConfigRefused, parse_config
from witness.config import parse_witness_config
from witness.core.notify.settings import NotifySettings
from witness.notify.config import NotifyConfig
from witness.settings import from_json, to_json

WHOLE = """
targets:
  - name: on-call
    severity: critical
    apprise: {url_file: on-call.url}
  - name: team
    severity: info
    groups: [shop, mail-*]
    kinds_not: [site-restarted]
    quiet_hours: [night]
    remind: false
    webhook: {url: "https://hooks.example.net/thirdsite", secret_file: team.secret, ca: ca.pem}
    timeout: 5s
    retry_for: 1h
  - name: sms
    exec: {command: [/usr/local/bin/send-sms, "+4912345"]}
quiet_hours:
  - {name: night, begin: "22:00", end: "07:00", time_zone: UTC, days: [mon, sun]}
monitors:
  - {name: kuma, get: {url_file: kuma.url}, every: 30s, groups: [shop], standby: false}
  - {name: zabbix, exec: {command: [/usr/bin/zabbix_sender]}}
group_wait: 5s
remind_every: 1h
"""


def parse(text: str) -> NotifySettings:
    return parse_config(text, NotifyConfig, file="witness.yaml", base=Path("/etc/thirdsite")).settings()


def test_a_whole_section():
    made = parse(WHOLE)
    call, team, sms = made.targets
    assert (call.way.means, call.way.url_file, call.severity) == ("apprise", "/etc/thirdsite/on-call.url", "critical")
    assert (team.way.url, team.way.secret_file) == ("https://hooks.example.net/thirdsite", "/etc/thirdsite/team.secret")
    assert (team.way.ca, team.way.timeout_ms, team.retry_for_ms) == ("/etc/thirdsite/ca.pem", 5_000, 3_600_000)
    assert (team.groups, team.kinds_not, team.remind) == (("shop", "mail-*"), ("site-restarted",), False)
    assert sms.way.command == ("/usr/local/bin/send-sms", "+4912345")
    (night,) = made.quiet_hours
    assert (night.start_min, night.end_min, night.days) == (1_320, 420, (0, 6))
    assert [(one.way.means, one.every_ms, one.standby) for one in made.monitors] == [
        ("get", 30_000, False),
        ("exec", 60_000, True),
    ]
    assert (made.group_wait_ms, made.group_interval_ms, made.remind_every_ms) == (5_000, 60_000, 3_600_000)


def test_it_reaches_the_process_that_stays_as_it_was_checked():
    head = (
        "cluster: " + "a" * 32 + "\nwitness: w1\ndata_dir: d\nlisten: 127.0.0.1:7400\ntls: {ca: a, cert: b, key: c}\n"
    )
    section = "notify:\n" + "".join(f"  {line}\n" for line in WHOLE.splitlines())
    settings = parse_witness_config(head + section)
    assert settings.notify is not None
    assert from_json(to_json(settings)) == settings
    assert parse_witness_config(head).notify is None


TARGET = "targets: [{name: a, exec: {command: [/bin/true]}, %s}]"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("targets: [{name: a}]", "targets[0]", "exactly one of apprise, webhook, exec"),
        (TARGET % "apprise: {url_file: x}", "targets[0]", "here is apprise and exec"),
        (TARGET % "severity: urgent", "targets[0].severity", "is none of"),
        (TARGET % "kinds: [expird]", "targets[0].kinds[0]", "did you mean 'expired'?"),
        (TARGET % "groups: [Shop]", "targets[0].groups[0]", "write for example shop"),
        (TARGET % "timeout: 5", "targets[0].timeout", 'write "5s"'),
        (TARGET % "timeout: 5m", "targets[0].timeout", "must lie between 500ms and 1m"),
        (TARGET % "quiet_hours: [night]", "", "names quiet hours night that there are not"),
        (TARGET % "severty: info", "targets[0].severty", "did you mean 'severity'?"),
        ("targets: [{name: a, exec: {command: [true]}}]", "targets[0].exec.command[0]", "text is expected"),
        ('targets: [{name: a, exec: {command: ["send"]}}]', "targets[0].exec", "no absolute path"),
        ("targets: [{name: a, exec: {command: []}}]", "targets[0].exec.command", "at least 1"),
        ("targets: [{name: a, webhook: {url: 'https://x.example/'}}]", "targets[0].webhook.secret_file", "is required"),
        (
            "targets: [{name: a, webhook: {url: 'ftp://x', secret_file: s}}]",
            "targets[0].webhook.url",
            "begins with https://",
        ),
        (
            "targets: [{name: a, webhook: {url: 'https://u:p@x/', secret_file: s}}]",
            "targets[0].webhook.url",
            "url_file",
        ),
        ("targets: [{name: a, webhook: {secret_file: s}}]", "targets[0].webhook", "exactly one of url and url_file"),
        (
            "targets: [{name: a, exec: {command: [/x]}}, {name: a, exec: {command: [/x]}}]",
            "",
            "name a more than once",
        ),
        (
            'quiet_hours: [{name: n, begin: "22", end: "07:00", time_zone: UTC}]',
            "quiet_hours[0].begin",
            'write for example "22:00"',
        ),
        (
            'quiet_hours: [{name: n, begin: "22:00", end: "07:00", time_zone: Mars/Base}]',
            "quiet_hours[0].time_zone",
            "Europe/Berlin",
        ),
        ("monitors: [{name: m, every: 1m}]", "monitors[0]", "exactly one of get, post, exec"),
        (
            "monitors: [{name: m, get: {url: 'https://x/'}, every: 10s, timeout: 20s}]",
            "monitors[0]",
            "longer than every",
        ),
        ("remind_every: 1s", "remind_every", "must lie between 1m and 7d"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_remedy(text, path, words):
    with pytest.raises(ConfigRefused) as refused:
        parse(text)
    (problem,) = refused.value.problems
    assert problem.path == path
    assert words in f"{problem.rule}; {problem.remedy}"
    assert problem.remedy
    assert "u:p@" not in str(refused.value)


def test_a_password_in_an_address_is_not_repeated():
    with pytest.raises(ConfigRefused) as refused:
        parse("targets: [{name: a, webhook: {url: 'https://ann:hunter2@x.example/', secret_file: s}}]")
    assert "hunter2" not in str(refused.value)
