"""systemd's files in systemd's order: fragments, drop-ins, masks, aliases, and everything that starts a unit."""

from __future__ import annotations

from pathlib import Path

import pytest
from units_rig import ETC, LIB, RUN, Root

from agents.units.names import drop_in_names
from agents.units.starters import Starters
from agents.units.text import assignments


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def read(text: str) -> list[tuple[str, str, str]]:
    return [(one.section, one.key, one.value) for one in assignments(text, "x")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[S]\nA = b \n", [("S", "A", "b")]),
        ("A=1\n[S]\nB=2\n", [("S", "B", "2")]),
        ("[S]\n# A=1\n; A=2\nA=3\n", [("S", "A", "3")]),
        ("[S]\nA=1 \\\n  2\nB=3\n", [("S", "A", "1  2"), ("S", "B", "3")]),
        ("[S]\nA=1\\\n# left out\n; and this\n 2\n", [("S", "A", "1 2")]),
        ("[S]\nA=c:\\\\\nB=1\n", [("S", "A", "c:\\\\"), ("S", "B", "1")]),
        ("[S]\nA=\n", [("S", "A", "")]),
        ("[S]\nA=x=y\nnonsense\n", [("S", "A", "x=y")]),
        ("[S]\nA=1\\", [("S", "A", "1")]),
    ],
)
def test_the_syntax_of_a_file(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert read(text) == expected


def test_drop_in_directories_from_the_most_specific_name() -> None:
    assert drop_in_names("foo-bar-baz.service") == [
        "foo-bar-baz.service",
        "foo-bar-.service",
        "foo-.service",
    ]
    assert drop_in_names("a@b.service") == ["a@b.service", "a@.service"]


def test_the_first_file_of_the_load_path_counts(root: Root) -> None:
    root.service("a.service", "ExecStart=/lib")
    assert root.load("a.service").fragment == f"/{LIB}/a.service"
    root.service("a.service", "ExecStart=/run", place=RUN)
    root.service("a.service", "ExecStart=/etc", place=ETC)
    unit = root.load("a.service")
    assert (unit.fragment, unit.values("Service", "ExecStart")) == (f"/{ETC}/a.service", ["/etc"])


def test_drop_ins_apply_by_their_names_wherever_they_are(root: Root) -> None:
    root.service("a-b.service", "X=fragment")
    root.file(f"{ETC}/a-b.service.d/10.conf", "[Service]\nX=etc-10\n")
    root.file(f"{LIB}/a-b.service.d/20.conf", "[Service]\nX=lib-20\n")
    root.file(f"{LIB}/a-b.service.d/10.conf", "[Service]\nX=lib-10\n")
    root.file(f"{LIB}/a-.service.d/30.conf", "[Service]\nX=prefix-30\n")
    root.file(f"{ETC}/service.d/05.conf", "[Service]\nX=all-05\n")
    root.file(f"{ETC}/service.d/30.conf", "[Service]\nX=all-30\n")
    root.file(f"{ETC}/a-b.service.d/99.txt", "[Service]\nX=no\n")
    assert root.load("a-b.service").values("Service", "X") == ["fragment", "all-05", "etc-10", "lib-20", "prefix-30"]
    root.link(f"{RUN}/a-b.service.d/20.conf", "/dev/null")
    assert "lib-20" not in root.load("a-b.service").values("Service", "X")


def test_an_empty_assignment_clears_a_list(root: Root) -> None:
    root.service("a.service", "ExecStart=/one", "Type=notify")
    root.file(f"{ETC}/a.service.d/o.conf", "[Service]\nExecStart=\nExecStart=/two\nType=\n")
    unit = root.load("a.service")
    assert unit.values("Service", "ExecStart") == ["/two"]
    assert unit.last("Service", "Type", "simple") == "simple"


@pytest.mark.parametrize("how", ["link", "empty"])
def test_a_masked_unit_is_known(root: Root, how: str) -> None:
    root.service("a.service", "ExecStart=/x")
    if how == "link":
        root.link(f"{ETC}/a.service", "/dev/null")
    else:
        root.file(f"{ETC}/a.service")
    unit = root.load("a.service")
    assert unit.masked
    assert unit.values("Service", "ExecStart") == []


def test_aliases_share_everything(root: Root) -> None:
    root.service("a.service", "X=1")
    root.link(f"{ETC}/b.service", f"/{LIB}/a.service")
    root.file(f"{ETC}/b.service.d/x.conf", "[Service]\nX=2\n")
    unit = root.load("b.service")
    assert (unit.name, unit.names) == ("a.service", ("a.service", "b.service"))
    assert unit.values("Service", "X") == ["1", "2"]


def test_instances_come_from_their_template(root: Root) -> None:
    root.service("a@.service", "X=template")
    root.file(f"{ETC}/a@.service.d/1.conf", "[Service]\nX=all\n")
    root.file(f"{ETC}/a@one.service.d/2.conf", "[Service]\nX=one\n")
    assert root.load("a@one.service").values("Service", "X") == ["template", "all", "one"]
    assert root.load("a@two.service").values("Service", "X") == ["template", "all"]
    assert root.tree.load("c@two.service") is None


def test_links_are_followed_inside_the_root(root: Root) -> None:
    root.file("opt/app/a.service", "[Service]\nX=linked\n")
    root.link(f"{ETC}/a.service", "/opt/app/a.service")
    assert root.load("a.service").values("Service", "X") == ["linked"]
    root.link(f"{ETC}/up.service", "../../../../../../etc/hostname")
    root.file("etc/hostname", "[Service]\nX=inside\n")
    assert root.tree.resolved(root.path / ETC / "up.service") == root.path / "etc/hostname"


# -- what starts a unit -------------------------------------------------------------------------------------


def ways(root: Root, name: str = "a.service") -> list[str]:
    return [f"{way.words}: {way.remedy}" for way in Starters(root.tree).of(root.load(name))]


def test_a_unit_that_nothing_starts(root: Root) -> None:
    root.service("a.service", "ExecStart=/x")
    root.service("b.service", "ExecStart=/x", unit="Wants=a.service")
    root.file(f"{LIB}/a.timer", "[Timer]\nOnBootSec=1\n")
    assert ways(root) == []


def test_enabled_at_boot(root: Root) -> None:
    root.service("a.service", "ExecStart=/x")
    root.enable("a.service")
    assert ways(root) == [
        f"multi-user.target starts (link /{ETC}/multi-user.target.wants/a.service): systemctl disable a.service"
    ]


def test_enabled_by_its_vendor_and_masked_again(root: Root) -> None:
    root.service("a.service", "ExecStart=/x")
    root.link(f"{LIB}/multi-user.target.wants/a.service", "../a.service")
    (way,) = ways(root)
    assert "ln -s /dev/null /etc/systemd/system/multi-user.target.wants/a.service" in way
    root.link(f"{ETC}/multi-user.target.wants/a.service", "/dev/null")
    assert ways(root) == []


@pytest.mark.parametrize("kind", ["wants", "requires", "upholds"])
def test_a_chain_of_units_up_to_the_boot(root: Root, kind: str) -> None:
    root.service("a.service", "ExecStart=/x")
    root.file(f"{LIB}/app.target", "[Unit]\n")
    root.link(f"{ETC}/app.target.{kind}/a.service", f"/{LIB}/a.service")
    assert ways(root) == []
    root.enable("app.target")
    (way,) = ways(root)
    assert way.startswith("app.target starts (link")
    assert "which multi-user.target starts" in way
    assert way.endswith("systemctl disable app.target")


@pytest.mark.parametrize("key", ["Wants", "Requires", "BindsTo", "Upholds", "OnFailure", "OnSuccess"])
def test_wanted_by_another_unit(root: Root, key: str) -> None:
    root.service("a.service", "ExecStart=/x")
    root.service("b.service", "ExecStart=/x", unit=f"{key}=c.service a.service")
    root.enable("b.service")
    (way,) = ways(root)
    assert f"b.service starts ({key}= of b.service)" in way


def test_order_alone_starts_nothing(root: Root) -> None:
    root.service("a.service", "ExecStart=/x")
    root.service("b.service", "ExecStart=/x", unit="After=a.service\nPartOf=a.service\nRequisite=a.service")
    root.enable("b.service")
    assert ways(root) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.timer", "[Timer]\nOnCalendar=daily\n"),
        ("other.timer", "[Timer]\nUnit=a.service\n"),
        ("a.socket", "[Socket]\nListenStream=80\n"),
        ("other.socket", "[Socket]\nService=a.service\n"),
        ("a.path", "[Path]\nPathExists=/x\n"),
    ],
)
def test_timers_sockets_and_paths_that_are_enabled(root: Root, name: str, text: str) -> None:
    root.service("a.service", "ExecStart=/x")
    root.file(f"{LIB}/{name}", text)
    root.enable(name, by="timers.target")
    (way,) = ways(root)
    assert way.startswith(f"{name} starts")
    assert way.endswith(f"systemctl disable {name}")
    root.link(f"{ETC}/{name}", "/dev/null")
    assert ways(root) == []


def test_a_socket_that_accepts_starts_instances(root: Root) -> None:
    root.service("a@.service", "ExecStart=/x")
    root.service("a.service", "ExecStart=/x")
    root.file(f"{LIB}/a.socket", "[Socket]\nAccept=yes\n")
    root.enable("a.socket", by="sockets.target")
    assert ways(root, "a@.service") != []
    assert ways(root) == []


def test_messages_and_devices(root: Root) -> None:
    root.service("a.service", "ExecStart=/x")
    root.file(
        "usr/share/dbus-1/system-services/org.a.service", "[D-BUS Service]\nName=org.a\nSystemdService=a.service\n"
    )
    (way,) = ways(root)
    assert "D-Bus" in way
    root.file("etc/udev/rules.d/9.rules", 'ACTION=="add", TAG+="systemd", ENV{SYSTEMD_WANTS}+="a.service"\n')
    assert any("udev" in way for way in ways(root))


def test_an_alias_is_a_way_in(root: Root) -> None:
    root.service("a.service", "ExecStart=/x")
    root.link(f"{ETC}/web.service", f"/{LIB}/a.service")
    root.link(f"{ETC}/multi-user.target.wants/web.service", f"/{LIB}/a.service")
    assert len(ways(root)) == 1


def test_a_circle_of_units_ends(root: Root) -> None:
    root.service("a.service", "ExecStart=/x", unit="Wants=b.service")
    root.service("b.service", "ExecStart=/x", unit="Wants=a.service")
    assert ways(root) == []
