"""`witness pki`: makes the cluster's CA and issues certificates; prints where they went and what goes where.

The library that makes certificates is loaded by the commands, not by this module: `witness run` mounts it and
must start without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from proto.errors import BadValue
from witness.pki.break_glass_cli import app as break_glass_app

app = typer.Typer(
    no_args_is_help=True,
    help="The cluster's private certificate authority. Run it on a machine that is neither witness nor site.",
)
issue_app = typer.Typer(no_args_is_help=True, help="Issue the certificate of one witness, agent, member or operator.")
app.add_typer(issue_app, name="issue")
app.add_typer(break_glass_app, name="break-glass")

Dir = Annotated[Path, typer.Option("--dir", "-d", help="Directory of the CA.")]
Hosts = Annotated[list[str] | None, typer.Option("--host", help="DNS name it is called by; repeatable.")]
Ips = Annotated[list[str] | None, typer.Option("--ip", help="Address it is called by; repeatable.")]
Days = Annotated[int, typer.Option("--days", help="How long it is valid.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Name = Annotated[str, typer.Argument(help="Its id, as the configuration names it.")]
PKI_DIR = Path("pki")
ARGUMENTS = dict.fromkeys(("name", "witness", "site", "member", "operator"), "NAME")
ARGUMENTS |= {name: f"--{name.replace('_', '-')}" for name in ("host", "groups", "role", "days", "cluster_name")}


@app.command("init")
def init(
    directory: Dir = PKI_DIR,
    cluster_name: Annotated[str, typer.Option("--cluster-name", help="Shown to people only.")] = "cluster",
    days: Days = 3_650,
    force: Force = False,
) -> None:
    """Create the CA of a new cluster, with a new cluster id."""
    from witness.pki import store  # noqa: PLC0415 - cryptography is loaded only when it is used

    with _said_on_the_command_line():
        made = store.create_ca(directory, cluster_name=cluster_name, days=days, force=force)
    typer.echo(f"cluster id   {made.cluster_id}")
    typer.echo(f"CA           {made.cert}")
    typer.echo(f"CA key       {made.key}   keep it here, back it up offline, copy it to no witness and no site")
    typer.echo(f"next         witness pki issue witness w1 --dir {directory} --ip ADDRESS   (and w2, w3)")
    typer.echo(f"             witness pki issue agent dc-a --dir {directory} --groups GROUP")


@issue_app.command("witness")
def issue_witness(
    name: Name,
    directory: Dir = PKI_DIR,
    host: Hosts = None,
    ip: Ips = None,
    days: Days = 365,
    force: Force = False,
) -> None:
    """For a witness node; --host and --ip are how agents, operators and other witnesses call it."""
    _issue("witness", name, directory, hosts=[*(host or ()), *(ip or ())], days=days, force=force)


@issue_app.command("agent")
def issue_agent(
    name: Name,
    groups: Annotated[list[str], typer.Option("--groups", help="Groups it may serve, 'a,b' or '*'; repeatable.")],
    directory: Dir = PKI_DIR,
    host: Hosts = None,
    ip: Ips = None,
    days: Days = 365,
    force: Force = False,
) -> None:
    """For the agent of a site; --host and --ip are how others call it."""
    named = [group for text in groups for group in text.split(",") if group]
    _issue("agent", name, directory, hosts=[*(host or ()), *(ip or ())], groups=named, days=days, force=force)


@issue_app.command("member")
def issue_member(
    name: Annotated[str, typer.Argument(help="HOST.SITE, for example db1.dc-a.")],
    groups: Annotated[list[str], typer.Option("--groups", help="Groups it may serve, 'a,b' or '*'; repeatable.")],
    directory: Dir = PKI_DIR,
    days: Days = 365,
    force: Force = False,
) -> None:
    """For a further host of a site, which obeys the site's agent."""
    named = [group for text in groups for group in text.split(",") if group]
    _issue("member", name, directory, groups=named, days=days, force=force)


@issue_app.command("operator")
def issue_operator(
    name: Name,
    role: Annotated[str, typer.Option("--role", help="viewer, operator or admin.")],
    directory: Dir = PKI_DIR,
    days: Days = 365,
    force: Force = False,
) -> None:
    """For a person or a tool that uses witnessctl or the operator API."""
    _issue("operator", name, directory, role=role, days=days, force=force)


def _issue(
    kind: str,
    name: str,
    directory: Path,
    *,
    hosts: list[str] | None = None,
    groups: list[str] | None = None,
    role: str | None = None,
    days: int,
    force: bool,
) -> None:
    from witness.pki import store  # noqa: PLC0415 - cryptography is loaded only when it is used

    with _said_on_the_command_line():
        made = store.issue(
            directory, kind, name, hosts=hosts or (), groups=groups or (), role=role, days=days, force=force
        )
    typer.echo(f"issued       {made.identity}, until {made.not_after:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"files        {made.ca.name} {made.cert.name} {made.key.name} in {made.directory}")
    place = "the operator's own machine" if kind == "operator" else f"the machine of {kind} {name}"
    typer.echo(f"copy         all three to {place}, readable by its user alone (key mode 0600)")
    typer.echo("configure    tls: {ca: ca.pem, cert: cert.pem, key: key.pem}")


@contextlib.contextmanager
def _said_on_the_command_line() -> Iterator[None]:
    """A wrong value of an argument is wrong usage, by the argument's own name; what is wrong on the disk is not."""
    try:
        yield
    except BadValue as error:
        argument = ARGUMENTS.get(error.field)
        if argument is None:
            raise
        raise BadValue(argument, error.value, error.rule, error.remedy) from error


@app.command("show")
def show(file: Annotated[Path, typer.Argument(help="A certificate, for example ca.pem or cert.pem.")]) -> None:
    """Say whose a certificate is, where it is valid and for how long."""
    from witness.pki.describe import describe_file  # noqa: PLC0415 - cryptography is loaded only when it is used

    for label, text in describe_file(file):
        typer.echo(f"{label:<12} {text}")
