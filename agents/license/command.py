"""`site-agent license`: sealing keys are made and rotated, and what a site keeps of its licenses is shown and tried.

Rule: no command shows a key, of a vendor or for sealing; what is shown are versions, names of sealing keys, sizes and
words. Only `accept`, `new-key` and `rotate-key` write.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from proto.errors import BadValue, LocalFault

EXIT_FAILED = 1

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make sealing keys; try and show this site's licenses.\n\nNo command shows a key.",
)


@app.callback()
def _answers_people() -> None:
    from proto.edge.logs import no_logging  # noqa: PLC0415 - loaded for this alone

    no_logging()


Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's YAML file.")]
KeyPath = Annotated[Path, typer.Argument(metavar="FILE", help="The sealing keys, as key_file names it.")]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP")]
LicenseArgument = Annotated[str, typer.Argument(metavar="LICENSE")]


@app.command("new-key")
def new_key(path: KeyPath) -> None:
    """Make the first sealing key of a group's sites.

    Once, on one site; then copy the file to every other site of the group, and a copy to a safe place. Never bring it
    to a witness or its backups: whoever has both can read the license keys.
    """
    from agents.license.key_file import KeyRing, draw_key, save_ring  # noqa: PLC0415 - loaded for this alone

    if path.exists():
        raise BadValue("FILE", str(path), "is there already", "use rotate-key for a new key, or choose another name")
    ring = KeyRing((draw_key(),))
    save_ring(path, ring)
    typer.echo(f"made        {path}: sealing key {ring.newest.key_id}, mode 0600")
    typer.echo("next        copy it to the same path on every site of the group: scp -p; then site-agent license test")


@app.command("rotate-key")
def rotate_key(
    path: KeyPath,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Remove what nothing is sealed with any more.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The agent's YAML file; needed for --drop-old.")
    ] = None,
) -> None:
    """Put a new sealing key in front; all keys go on opening.

    Run it on a dormant site, copy the file to the other dormant sites, and to the active one last: from then on that
    one seals with the new key, within a watch interval and without a restart. When `site-agent license status` shows
    the new key on every site, run it with --drop-old on each.
    """
    from agents.license.key_file import load_ring, rotated, save_ring, without_old  # noqa: PLC0415 - see above

    ring = load_ring(path)
    if not drop_old:
        more = rotated(ring)
        save_ring(path, more)
        typer.echo(f"made        sealing key {more.newest.key_id} in front of {len(ring.keys)} in {path}")
        typer.echo("next        copy the file to the other sites, the active one last")
        return
    if config is None:
        raise BadValue("--drop-old", "no --config", "what is sealed with the old keys must be looked at", "name it")
    kept = without_old(ring, _needed(config, path))
    dropped = [one.key_id for one in ring.keys if one not in kept.keys]
    if dropped:
        save_ring(path, kept)
    typer.echo(f"dropped     {', '.join(dropped) or 'nothing: each key still opens something here'}")


def _needed(config: Path, path: Path) -> frozenset[str]:
    """The sealing keys without which something that this site keeps would not open any more."""
    return frozenset(
        sealed.key_id
        for keeper in _keepers(config)
        if keeper.spec.key_file == path.absolute()
        for sealed in filter(None, (keeper.escrow.newest,))
    )


def _keepers(config: Path, group: str = "", name: str = "") -> list[Any]:
    from agents.config import load_agent_config  # noqa: PLC0415 - see above
    from agents.license.keeper import LicenseKeeper  # noqa: PLC0415 - see above

    settings = load_agent_config(config)
    known = [(one.group, spec) for one in settings.groups for spec in one.licenses]
    if not known:
        raise BadValue("licenses", str(config), "no group of this file has one", "add it there, or leave it be")
    found = [
        LicenseKeeper(settings.cluster, of, spec, settings.state_dir)
        for of, spec in known
        if group in ("", of) and name in ("", spec.name)
    ]
    if not found:
        remedy = f"say one of: {', '.join(f'{of} {spec.name}' for of, spec in known)}"
        field, which = ("GROUP LICENSE", f"{group} {name}") if name else ("GROUP", group)
        raise BadValue(field, which, "is no license of this file", remedy)
    return found


@app.command("status")
def status(config: Config, as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False) -> None:
    """Show what this site keeps of each license; never a key.

    Versions, names of sealing keys, and what the running agent says of them.
    """
    from agents.license.shown import license_rows, rows_text  # noqa: PLC0415 - see above

    rows = license_rows(_keepers(config), _said(config))
    typer.echo(json.dumps({"licenses": rows}, indent=2) if as_json else rows_text(rows))


def _said(config: Path) -> dict[str, Any] | None:
    """What the running agent says, None without one."""
    from agents.config import load_agent_config  # noqa: PLC0415 - see above
    from agents.local.client import AgentUnreachable, agent_status  # noqa: PLC0415 - see above

    try:
        return agent_status(load_agent_config(config).status_socket)
    except AgentUnreachable:
        return None


@app.command("test")
def try_all(
    config: Config,
    group: Annotated[str, typer.Argument(metavar="[GROUP]")] = "",
    name: Annotated[str, typer.Argument(metavar="[LICENSE]")] = "",
) -> None:
    """Try each license: read, judge, seal and open its key.

    The key is read where its source says. Nothing is written, and no key is shown.

    Exit codes: 0 all is well, 1 something is not: see the lines; 64 no such license, 78 the file names none, or cannot
    be used.
    """
    import asyncio  # noqa: PLC0415 - see above

    from agents.config import load_agent_config  # noqa: PLC0415 - see above
    from agents.license.no_dump import no_core_dump  # noqa: PLC0415 - see above
    from agents.license.trial import try_license  # noqa: PLC0415 - see above

    no_core_dump()
    site = load_agent_config(config).site
    well = True
    for keeper in _keepers(config, group, name):
        for line in asyncio.run(try_license(keeper, site)):
            well = well and line.well
            typer.echo(f"{'ok' if line.well else 'NOT':<4} {line.text}")
    if not well:
        raise typer.Exit(EXIT_FAILED)


@app.command("accept")
def accept(
    config: Config,
    group: GroupArgument,
    name: LicenseArgument,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The answer, for scripts: the license's name.")
    ] = None,
) -> None:
    """Say that the key in place here is the right one.

    The next activation of this site keeps it. For the day on which an activation was refused because it does not know
    the key in place: after the vendor said which key is valid, or gave a new one. It holds for that very key, until the
    site has sealed it.

    Exit codes: 0 accepted, 1 given up at the question, 64 no such license, 78 not confirmed, or the key or the file
    cannot be used.
    """
    import asyncio  # noqa: PLC0415 - see above

    from agents.config import load_agent_config  # noqa: PLC0415 - see above
    from agents.license.trial import accept_key  # noqa: PLC0415 - see above

    (keeper,) = _keepers(config, group, name)
    if (_asked(group, name) if confirm is None else confirm) != name:
        raise LocalFault(f"not confirmed: nothing was changed. Type {name!r}, or give --confirm {name}")
    typer.echo(asyncio.run(accept_key(keeper, load_agent_config(config).site)))


def _asked(group: str, name: str) -> str:
    question = f"A dead key costs the license. Type {name!r} to accept the key in place for {group}"
    try:
        return str(typer.prompt(question))
    except typer.Abort:
        typer.echo(f"\nsite-agent: no answer: nothing was changed; without a terminal use --confirm {name}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
