"""Errors of configuration files say place, value, rule and remedy, all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from proto.edge.config_file import (
    CONFIG_BYTES_MAX,
    ConfigModel,
    ConfigRefused,
    config_schema,
    load_config,
    parse_config,
    path_words,
)
from proto.edge.config_types import (
    Address,
    ConfigAddress,
    ConfigPath,
    DurationMs,
    SiteName,
    duration_between,
    duration_words,
)
from proto.groups import Mode


class Tls(ConfigModel):
    ca: ConfigPath = Field(examples=["pki/ca.pem"])


class Peer(ConfigModel):
    id: SiteName
    address: ConfigAddress


class Sample(ConfigModel):
    name: str
    tls: Tls
    peers: tuple[Peer, ...] = ()
    ttl: Annotated[DurationMs, duration_between(1_000, 9_000)] = Field(default="3s")
    mode: Mode = Mode.AUTOMATIC
    password: str = ""
    count: int = Field(default=3, ge=1)


GOOD = "name: a\ntls: {ca: pki/ca.pem}\n"


def parse(text: str) -> Sample:
    return parse_config(text, Sample, file="f.yaml", base=Path("/etc/thirdsite"))


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigRefused) as caught:
        parse(text)
    return str(caught.value).splitlines()


def test_a_good_file_is_read_with_defaults_and_paths_from_its_own_directory() -> None:
    sample = parse(GOOD + "peers: [{id: dc-a, address: '[::1]:7400'}]\n")
    assert sample.tls.ca == Path("/etc/thirdsite/pki/ca.pem")
    assert sample.ttl == 3_000
    assert sample.peers[0].address == Address("::1", 7400)
    assert str(sample.peers[0].address) == "[::1]:7400"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nme: b\n", "f.yaml:3: nme: unknown key; did you mean 'name'?"),
        ("zzz: b\n", "f.yaml:3: zzz: unknown key; known are: count, mode, name, password, peers, tls, ttl"),
        (
            "ttl: 3\n",
            (
                "f.yaml:3: ttl: 3: a duration is a number with a unit: ms, s, m, h or d; "
                'write "3s" or "3ms", whichever you mean'
            ),
        ),
        ("ttl: 1ms\n", "f.yaml:3: ttl: '1ms': must lie between 1s and 9s; choose a duration in that range"),
        ("ttl: 1.0001s\n", "f.yaml:3: ttl: '1.0001s': a duration is a whole number of milliseconds; round it"),
        (
            "mode: manul\n",
            ("f.yaml:3: mode: 'manul': is none of: automatic, manual, observe or paused; did you mean 'manual'?"),
        ),
        ("count: 0\n", "f.yaml:3: count: 0: must be at least 1; change it"),
        (
            "count: '4'\n",
            ("f.yaml:3: count: '4': a whole number is expected; write the number without quotes and without a unit"),
        ),
        ("password: 12\n", "f.yaml:3: password: (hidden): text is expected; put it in quotes"),
        (
            "peers:\n  - id: DC\n    address: 'h:1'\n",
            (
                "f.yaml:4: peers[0].id: 'DC': 1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'; "
                "choose a short lower-case name, for example 'dc-a'"
            ),
        ),
        (
            "peers:\n  - id: dc\n    address: 'h:70000'\n",
            "f.yaml:5: peers[0].address: 'h:70000': a port lies between 1 and 65535; choose a free port in that range",
        ),
        ("peers:\n  - id: dc\n", "f.yaml:4: peers[0].address: is required; add it"),
        ("name: c\n", "f.yaml:3: the key 'name' stands here and in line 1; remove one of the two"),
        ("mode: &a x\ncount: *a\n", "f.yaml:4: aliases are not taken; write the value out"),
        ("count: .nan\n", "f.yaml:3: is not a finite number; write a number"),
        ("1: x\n", "f.yaml:3: the key 1 is not text; put it in quotes"),
        (
            "mode: !!python/name:os.system\n",
            "f.yaml:3: the tag tag:yaml.org,2002:python/name:os.system is not taken; write a plain value",
        ),
    ],
)
def test_each_error_is_exact(text: str, error: str) -> None:
    assert refused(GOOD + text) == [error]


def test_yaml_booleans_in_text_are_explained() -> None:
    assert refused("name: off\ntls: {ca: x}\n") == [
        ("f.yaml:1: name: False: text is expected; YAML reads on, off, yes and no as true or false: put it in quotes")
    ]


def test_all_errors_are_told_at_once_in_the_order_of_lines() -> None:
    assert refused("tls: {cax: y}\nmode: x\n") == [
        "f.yaml: name: is required; add it",
        "f.yaml:1: tls.ca: is required; add it, for example `ca: pki/ca.pem`",
        "f.yaml:1: tls.cax: unknown key; did you mean 'ca'?",
        "f.yaml:2: mode: 'x': is none of: automatic, manual, observe or paused; use one of these",
    ]


def test_an_empty_file_lacks_what_is_required() -> None:
    assert refused("")[0] == "f.yaml: name: is required; add it"


def test_what_is_not_yaml_says_where() -> None:
    assert refused("name: [\nx")[0].startswith("f.yaml:2: is not YAML: ")
    assert refused("- 1")[0] == "f.yaml: [1]: a mapping is expected; change it"


def test_depth_and_size_are_bounded(tmp_path: Path) -> None:
    assert refused("name: " + "[" * 200 + "]" * 200) == ["f.yaml:1: nested deeper than 24; is this the right file?"]
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(ConfigRefused, match="is larger than 4194304 bytes"):
        load_config(large, Sample)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match=r"none.yaml: cannot be read \(No such file or directory\); give"):
        load_config(tmp_path / "none.yaml", Sample)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(ConfigRefused, match=r"is not UTF-8 \(byte 6\)"):
        load_config(tmp_path / "latin.yaml", Sample)


@pytest.mark.parametrize(
    ("value_ms", "words"), [(3_000, "3s"), (500, "500ms"), (90_000, "90s"), (3_600_000, "1h"), (0, "0ms")]
)
def test_durations_are_written_shortest(value_ms: int, words: str) -> None:
    assert duration_words(value_ms) == words


def test_the_schema_is_closed_and_knows_units() -> None:
    schema = config_schema(Sample)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["ttl"]["type"] == "string"


def test_path_words() -> None:
    assert path_words(("peers", 1, "id")) == "peers[1].id"


def test_loopback_is_judged_by_address() -> None:
    assert Address("127.0.0.9", 1).loopback
    assert Address("localhost", 1).loopback
    assert not Address("10.0.0.1", 1).loopback
    assert not Address("example", 1).loopback
