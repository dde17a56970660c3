"""The drop-in that brings a service under the lease: what it says, what is refused, and how it is undone."""

from __future__ import annotations

from pathlib import Path

import pytest
from units_rig import ETC, LIB, Root

from agents.units import command
from agents.units.command import Request, WrapRefused
from agents.units.drop_in import DROP_IN, Front, effective_problems, make_drop_in, unit_group
from agents.units.exec_line import commands, words, wrap, wrapped_group
from proto.errors import BadValue, LocalFault

FRONT = Front("/usr/bin/site-agent", "shop")
PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n"
EXEC = "/usr/bin/site-agent exec --group shop"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path)
    made.file("etc/passwd", PASSWD)
    return made


@pytest.mark.parametrize(
    ("line", "elevate", "expected"),
    [
        ("/bin/a b", False, f"{EXEC} -- /bin/a b"),
        ("-/bin/a", False, f"-{EXEC} -- /bin/a"),
        ("@/bin/a shown -x", False, f"{EXEC} --argv0 shown -- /bin/a -x"),
        ("-@/bin/a 'two words' -x", False, f"-{EXEC} --argv0 'two words' -- /bin/a -x"),
        ("+/bin/a", True, f"+{EXEC} -- /bin/a"),
        ("!/bin/a", False, f"!{EXEC} -- /bin/a"),
        ("!!/bin/a", True, f"!{EXEC} -- setpriv /bin/a"),
        ("/bin/a", True, f"!{EXEC} -- setpriv /bin/a"),
        ('"/opt/my app/run" "$X" ${Y}', False, f'{EXEC} -- "/opt/my app/run" "$X" ${{Y}}'),
        ("/opt/$odd/run", False, f"{EXEC} -- /opt/$$odd/run"),
        (":/opt/$odd/run $x", False, f":{EXEC} -- /opt/$odd/run $x"),
    ],
)
def test_a_command_moves_behind_exec_as_it_is_written(line: str, elevate: bool, expected: str) -> None:
    (found,) = commands(line)
    by_prefix = "+" in found.prefixes or found.prefixes == "!"
    assert wrap(found, EXEC, elevate=elevate, before="setpriv" if elevate and not by_prefix else "") == expected


def test_several_commands_of_one_line() -> None:
    found = commands(r'/bin/a "x ; y" \; z ; -/bin/b ; /bin/c ";"')
    assert [one.text for one in found] == [r'/bin/a "x ; y" \; z', "-/bin/b", '/bin/c ";"']


@pytest.mark.parametrize(
    ("line", "group"),
    [
        (f"{EXEC} -- /bin/a", "shop"),
        ("!/usr/bin/site-agent exec --group=shop -- /bin/a", "shop"),
        ("/usr/bin/site-agent exec --socket /x -- /bin/a --group other", None),
        ("/bin/a -- exec --group shop", None),
        ("/usr/bin/site-agent run -c x --", None),
    ],
)
def test_a_wrapped_command_is_known(line: str, group: str | None) -> None:
    assert wrapped_group(commands(line)[0]) == group


def lines(root: Root, name: str = "a.service") -> list[str]:
    made = make_drop_in(root.load(name), FRONT, PASSWD)
    assert made.refusals == ()
    return made.text.splitlines()


def test_a_service_stays_what_it_is(root: Root) -> None:
    root.service(
        "a.service",
        "ExecStartPre=-/bin/mkdir /run/a",
        "ExecStart=/bin/a --x \\",
        "  --y",
        "ExecStartPost=/bin/ready",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
    )
    assert lines(root)[1:] == [
        "[Service]",
        "KillMode=mixed",
        "SendSIGKILL=yes",
        "RestartPreventExitStatus=69 75 78 SIGKILL",
        "ExecStartPre=",
        f"ExecStartPre=-{EXEC} -- /bin/mkdir /run/a",
        "ExecStart=",
        f"ExecStart={EXEC} -- /bin/a --x  --y",
        "ExecStartPost=",
        f"ExecStartPost={EXEC} -- /bin/ready",
    ]


def test_every_command_of_a_oneshot_is_wrapped(root: Root) -> None:
    root.service("a.service", "Type=oneshot", "ExecStart=/bin/a ; /bin/b", "ExecStart=/bin/c")
    assert [line for line in lines(root) if line.startswith("ExecStart=")] == [
        "ExecStart=",
        *(f"ExecStart={EXEC} -- /bin/{name}" for name in "abc"),
    ]


def test_a_forking_service_is_held_until_its_namespace_is_empty(root: Root) -> None:
    root.service("a.service", "Type=forking", "PIDFile=/run/a.pid", "ExecStart=/bin/a -D", "ExecStop=/bin/stop-a")
    said = lines(root)
    assert f"ExecStart={EXEC} --forking -- /bin/a -D" in said
    assert {"Type=exec", "PIDFile=", "ExecStop="} <= set(said)


def test_messages_of_the_program_are_taken_from_the_namespace(root: Root) -> None:
    root.service("a.service", "Type=notify", "ExecStart=/bin/a")
    assert "NotifyAccess=all" in lines(root)
    root.service("b.service", "WatchdogSec=5", "ExecStart=/bin/a")
    assert "NotifyAccess=all" in lines(root, "b.service")


@pytest.mark.parametrize(
    ("settings", "front"),
    [
        (["User=app"], "--reuid=app --regid=1001 --init-groups"),
        (["User=1000"], "--reuid=1000 --regid=1001 --init-groups"),
        (["User=ldap", "Group=staff"], "--reuid=ldap --regid=staff --init-groups"),
        (
            ["User=app", "AmbientCapabilities=CAP_KILL"],
            "--reuid=app --regid=1001 --init-groups --inh-caps=+kill --ambient-caps=+kill",
        ),
    ],
)
def test_the_guard_keeps_root_and_the_program_its_user(root: Root, settings: list[str], front: str) -> None:
    root.service("a.service", "ExecStart=/bin/a", *settings)
    assert f"ExecStart=!{EXEC} -- /usr/bin/setpriv {front} /bin/a" in lines(root)
    root.service("b.service", "ExecStart=+/bin/a", *settings)
    assert f"ExecStart=+{EXEC} -- /bin/a" in lines(root, "b.service")


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("ProtectSystem=strict", "ReadWritePaths=-/run/thirdsite"),
        ("RestrictNamespaces=yes", "RestrictNamespaces=pid mnt"),
        ("MemoryDenyWriteExecute=yes", "MemoryDenyWriteExecute=no"),
        ("ProcSubset=pid", "ProcSubset=all"),
        ("PrivateUsers=yes", "PrivateUsers=no"),
        ("CapabilityBoundingSet=CAP_CHOWN", "CapabilityBoundingSet=CAP_SYS_ADMIN"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@mount"),
    ],
)
def test_a_sandbox_is_widened_by_what_a_guard_needs_and_that_is_said(root: Root, setting: str, line: str) -> None:
    root.service("a.service", "ExecStart=/bin/a")
    bare = make_drop_in(root.load("a.service"), FRONT, PASSWD)
    root.service("a.service", "ExecStart=/bin/a", setting)
    made = make_drop_in(root.load("a.service"), FRONT, PASSWD)
    assert any(one.startswith(line) for one in made.text.splitlines())
    assert line.partition("=")[0] not in bare.text
    assert len(made.notes) == len(bare.notes) + 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["ExecStart="], "it has no ExecStart="),
        (["ExecStart=/bin/a", "RootDirectory=/srv/x"], "RootDirectory=: site-agent is not in there"),
        (["ExecStart=/bin/a", "DynamicUser=yes"], "set User= and DynamicUser=no"),
        (["ExecStart=/bin/a", "KillSignal=SIGRTMIN+3"], "KillSignal=SIGRTMIN+3 is not handed on"),
        (["ExecStart=/bin/a", "User=nobody-here"], "set Group= beside it"),
        ([f"ExecStart={EXEC} -- /bin/a"], "runs site-agent exec already"),
    ],
)
def test_what_a_guard_cannot_live_with_is_refused(root: Root, settings: list[str], expected: str) -> None:
    root.service("a.service", *settings)
    assert any(expected in reason for reason in make_drop_in(root.load("a.service"), FRONT, PASSWD).refusals)


def test_a_drop_in_that_is_read_later_is_refused(root: Root) -> None:
    root.service("a.service", "ExecStart=/bin/a")
    root.file(f"{ETC}/a.service.d/zzz.conf", "[Service]\nExecStart=\nExecStart=/bin/b\n")
    (reason,) = make_drop_in(root.load("a.service"), FRONT, PASSWD).refusals
    assert "zzz.conf is read after" in reason


# -- the command --------------------------------------------------------------------------------------------


def run(root: Root, *names: str, group: str = "shop", write: bool = False, undo: bool = False) -> str:
    request = Request(group=group, write=write, undo=undo, config=None, root=root.path)
    return "\n".join(command.run(names, request))


def test_it_shows_writes_and_undoes(root: Root) -> None:
    root.service("a.service", "ExecStart=/bin/a", "User=app")
    root.service("b.service", "ExecStart=/bin/b")
    place = root.path / ETC / "a.service.d" / DROP_IN
    said = run(root, "a.service", "b.service")
    assert "ExecStart=!" in said
    assert "say --write" in said
    assert "systemctl start a.service b.service" in said
    assert not place.exists()

    assert f"wrote /{ETC}/a.service.d/{DROP_IN}" in run(root, "a.service", "b.service", write=True)
    assert place.stat().st_mode & 0o777 == 0o644
    unit = root.load("a.service")
    assert unit_group(unit) == "shop"
    assert effective_problems(unit, "shop") == ()
    assert effective_problems(unit, "other") != ()
    (start,) = (one for value in unit.values("Service", "ExecStart") for one in commands(value))
    assert words(start)[-1] == "/bin/a"

    again = run(root, "a.service", write=True)
    assert again.count("site-agent exec") == 1 + again.count("`site-agent exec"), "wrapping twice wraps once"

    assert f"removed /{ETC}/a.service.d/{DROP_IN}" in run(root, "a.service", undo=True)
    assert not place.parent.exists()
    assert "is not wrapped" in run(root, "a.service", undo=True)
    assert effective_problems(root.load("a.service"), "shop") != ()


def test_nothing_is_written_while_one_is_refused(root: Root) -> None:
    root.service("a.service", "ExecStart=/bin/a")
    root.service("b.service", "ExecStart=/bin/b")
    root.enable("b.service")
    with pytest.raises(WrapRefused) as caught:
        run(root, "a.service", "b.service", "c.service", write=True)
    assert "systemctl disable b.service" in str(caught.value)
    assert "c.service: no service of that name" in str(caught.value)
    assert not (root.path / ETC / "a.service.d").exists()


def test_a_drop_in_of_somebody_else_is_left_alone(root: Root) -> None:
    root.service("a.service", "ExecStart=/bin/a")
    theirs = root.file(f"{ETC}/a.service.d/{DROP_IN}", "[Service]\nNice=1\n")
    with pytest.raises(LocalFault):
        run(root, "a.service", undo=True)
    assert theirs.exists()


def test_an_alias_is_wrapped_by_its_own_name(root: Root) -> None:
    root.service("a.service", "ExecStart=/bin/a")
    root.link(f"{ETC}/alias.service", f"/{LIB}/a.service")
    run(root, "alias.service", write=True)
    assert unit_group(root.load("a.service")) == "shop"


def test_the_group_must_be_named(root: Root) -> None:
    root.service("a.service", "ExecStart=/bin/a")
    with pytest.raises(BadValue):
        run(root, "a.service", group="")
