"""`witness pki break-glass`: the key that is kept off the machines, a permit signed with it, and what a permit says."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proto.errors import BadValue
from proto.permit import AFTER_MS_DEFAULT, LIFETIME_MS_MAX
from proto.units import Epoch, GroupId, SiteId, WallMs

if TYPE_CHECKING:
    from proto.permit import Permit

EXIT_CODES = (
    "Exit codes: 0 done; 1 given up at a question, or `show --key` found another signature; 64 wrong usage; "
    "78 refused: the reason and the remedy are printed, and nothing was made."
)
app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Permits for the day on which all witnesses are lost for good: an offline key lets one site go on without "
        "them. Keep its directory off every machine of the cluster, on a medium that is locked away."
    ),
    epilog=EXIT_CODES,
)

Dir = Annotated[Path, typer.Option("--dir", "-d", help="Directory of the key, for example on a USB stick.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Read the passphrase from its first line; else it is asked."),
]
Json = Annotated[bool, typer.Option("--json", help="The last line of stdout is one JSON object.")]
DIRECTORY = Path("break-glass")
PASSPHRASE_BYTES_MAX = 1_024


@app.command("init", epilog=EXIT_CODES)
def init(
    cluster: Annotated[str, typer.Option("--cluster", help="The cluster's id; `witness pki show ca.pem` prints it.")],
    directory: Dir = DIRECTORY,
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the key in clear: whoever copies it can start a second site.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a key that is there; its permits end.")] = False,
    as_json: Json = False,
) -> None:
    """Make the offline key; print the public half, which goes into the groups that shall take permits.

    Example: witness pki break-glass init --cluster ID --dir /media/stick/break-glass
    """
    from proto.edge.config_types import duration_words  # noqa: PLC0415 - pydantic, too
    from witness.pki import break_glass  # noqa: PLC0415 - cryptography is loaded only when it is used

    if no_passphrase and passphrase_file is not None:
        rule = "--passphrase-file and --no-passphrase exclude each other"
        raise BadValue("--no-passphrase", "", rule, "leave one out")
    passphrase = None if no_passphrase else _passphrase(passphrase_file, twice=True)
    place = break_glass.create_key(directory, cluster, passphrase, force=force)
    if as_json:
        typer.echo(json.dumps({"cluster": place.cluster, "key": place.public, "private_key": str(place.key)}))
        return
    typer.echo(f"key          {place.key}   {'encrypted' if place.encrypted else 'IN CLEAR: no passphrase'}")
    typer.echo(f"public       {place.public}")
    typer.echo("keep         this directory off all witnesses and sites, in two places that burn apart, with the")
    typer.echo("             passphrase in a third: whoever has both can make a second site active")
    typer.echo(f"configure    break_glass: {{key: {place.public}, after: {duration_words(AFTER_MS_DEFAULT)}}}")
    typer.echo("             in groups.yaml, for each group that shall take permits; then `witnessctl apply`")


@app.command("permit", epilog=EXIT_CODES)
def permit(
    group: Annotated[str, typer.Option("--group", help="The group that it is for.")],
    site: Annotated[str, typer.Option("--site", help="The one site that may use it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The permit's file; nothing is overwritten.")],
    epoch_above: Annotated[
        int | None,
        typer.Option("--epoch-above", help="The highest epoch that any site's status or your notes show.", min=0),
    ] = None,
    epoch: Annotated[int | None, typer.Option("--epoch", help="Exactly this epoch, instead.", min=1)] = None,
    valid_for: Annotated[str | None, typer.Option("--valid-for", help="Use it within: 8h, 90m. Default 8h.")] = None,
    use_by: Annotated[
        str | None, typer.Option("--use-by", help="Use it until then, instead: 2026-11-29T06:00Z.")
    ] = None,
    directory: Dir = DIRECTORY,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Sign a permit: one group, one site, one use, until a time. On a machine that is neither witness nor site.

    Its epoch leaps far above --epoch-above, past any grant that nobody saw. Carry the file to the site and use it with
    `site-agent break-glass GROUP FILE`; docs/operating/break-glass.md is the checklist.

    Example: witness pki break-glass permit --group shop --site dc-b --epoch-above 17 --out shop-dc-b.permit
    """
    from witness.pki import break_glass  # noqa: PLC0415 - see init

    if (epoch is None) is (epoch_above is None):
        rule = "exactly one of --epoch-above and --epoch is needed"
        raise BadValue(
            "--epoch-above", "" if epoch is None else epoch, rule, "take --epoch-above with what status shows"
        )
    if out.exists():
        raise BadValue("--out", str(out), "exists already", "choose another file: each permit is used once")
    wish = break_glass.Wish(
        GroupId(group),
        SiteId(site),
        Epoch(epoch_above if epoch is None else epoch),  # type: ignore[arg-type]  # one of them, see above
        leap=epoch is None,
        use_by_ms=_use_by(valid_for, use_by),
    )
    place = break_glass.find_key(directory)
    passphrase = _passphrase(passphrase_file, twice=False) if place.encrypted else None
    made, text = break_glass.issue_permit(place, passphrase, wish)
    _write_new(out, text)
    if as_json:
        typer.echo(json.dumps({"file": str(out), **_fields(made)}))
        return
    typer.echo(f"permit       {out}")
    for label, words in _lines(made):
        typer.echo(f"{label:<12} {words}")
    typer.echo("before use   every other site of the group must be stopped and stay stopped: no program checks that")
    typer.echo(f"use          on the agent's host of {made.site}: site-agent break-glass {made.group} {out.name}")


@app.command("show", epilog=EXIT_CODES)
def show(
    file: Annotated[Path, typer.Argument(help="A permit.")],
    key: Annotated[str | None, typer.Option("--key", help="Check its signature with this public key, in hex.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", "-d", help="Check its signature with the key of this directory.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a permit is for and until when; without --key or --dir its signature is NOT checked."""
    from proto.edge import permit_file  # noqa: PLC0415 - see init
    from witness.pki import break_glass  # noqa: PLC0415 - see init

    text = permit_file.load_permit_text(file)
    made = permit_file.read_permit(text)
    public = break_glass.find_key(directory).public if directory is not None else key
    signed = None
    if public is not None:
        try:
            permit_file.verify_permit(text, public, "--key")
            signed = True
        except BadValue as error:
            if error.field == "--key":
                raise
            signed = False
    if as_json:
        typer.echo(json.dumps({**_fields(made), "signed": signed}))
    else:
        said = {
            None: "not checked: name --key or --dir",
            True: "by this key",
            False: "NOT BY THIS KEY, or changed",
        }
        for label, words in (*_lines(made), ("signed", said[signed])):
            typer.echo(f"{label:<12} {words}")
    if signed is False:
        raise typer.Exit(1)


def _fields(made: Permit) -> dict[str, Any]:
    return {
        "cluster": made.cluster,
        "group": made.group,
        "site": made.site,
        "permit": made.permit.hex(),
        "epoch": made.epoch,
        "made_at": _time(made.made_at_ms),
        "use_by": _time(made.use_by_ms),
    }


def _lines(made: Permit) -> list[tuple[str, str]]:
    return [
        ("group", f"{made.group}   at {made.site}, and nowhere else"),
        ("epoch", str(made.epoch)),
        ("use by", f"{_time(made.use_by_ms)}   once; made {_time(made.made_at_ms)}"),
        ("id", made.permit.hex()),
        ("cluster id", made.cluster),
    ]


def _time(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _use_by(valid_for: str | None, use_by: str | None) -> WallMs:
    from proto.edge.config_types import duration_words, parse_duration_ms  # noqa: PLC0415 - see init

    now = datetime.now(UTC)
    if use_by is not None:
        if valid_for is not None:
            raise BadValue("--use-by", use_by, "--valid-for and --use-by exclude each other", "leave one out")
        try:
            ends = datetime.fromisoformat(use_by)
        except ValueError:
            raise BadValue("--use-by", use_by, "is no time", "write for example 2026-11-29T06:00Z") from None
        if ends.tzinfo is None:
            raise BadValue("--use-by", use_by, "has no zone", "end it with Z for UTC, or with +01:00")
        if ends <= now:
            raise BadValue("--use-by", use_by, f"is over: it is {now:%Y-%m-%dT%H:%M:%SZ}", "name a later time")
        return WallMs(int(ends.timestamp() * 1_000))
    text = "8h" if valid_for is None else valid_for
    try:
        lasts_ms = parse_duration_ms(text)
    except ValueError:
        rule = "a duration is a number with a unit: m, h, d"
        raise BadValue("--valid-for", text, rule, "write for example 8h") from None
    if not 60_000 <= lasts_ms <= LIFETIME_MS_MAX:
        rule = f"must lie between 1m and {duration_words(LIFETIME_MS_MAX)}"
        raise BadValue("--valid-for", text, rule, "make a permit for this outage; 8h is plenty")
    return WallMs(int(now.timestamp() * 1_000) + lasts_ms)


def _passphrase(file: Path | None, *, twice: bool) -> str:
    if file is None:
        return str(typer.prompt("Passphrase of the break-glass key", hide_input=True, confirmation_prompt=twice))
    try:
        with file.open("rb") as stream:
            content = stream.read(PASSPHRASE_BYTES_MAX + 1)
        if len(content) > PASSPHRASE_BYTES_MAX:
            rule = f"is longer than {PASSPHRASE_BYTES_MAX} bytes"
            raise BadValue("--passphrase-file", str(file), rule, "write the passphrase alone into it")
        return content.decode().splitlines()[0]
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise BadValue("--passphrase-file", str(file), rule, "name a file of this user") from error
    except (UnicodeDecodeError, IndexError):
        raise BadValue(
            "--passphrase-file", str(file), "holds no line of text", "write the passphrase into it"
        ) from None


def _write_new(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        rule = f"cannot be written: {error.strerror}; the permit is recorded, and lost"
        raise BadValue("--out", str(path), rule, "make another permit, to a place that can be written") from error
