"""`witnessctl reconcile`: an operator vouches for sites that are away; it looks who they are, then it asks.

Nobody types a phrase for a group that is not there, takes no permits, or has nobody away. Whoever brings the phrase
along is a script: the witnesses alone answer it.
"""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from proto.decisions import Reason
from proto.permit import VOUCHED
from witness.ctl.changing import change
from witness.ctl.client import ClusterClient, group_path
from witness.ctl.errors import Misused
from witness.ctl.looking import one_group, print_json
from witness.ctl.render import console, errors


def reconcile(client: ClusterClient, group: str, reason: str, confirm: str | None, *, as_json: bool) -> None:
    if confirm is None:
        found = one_group(client, group)
        nothing = _nothing_to_vouch_for(found)
        if nothing:
            _already_so(nothing, as_json=as_json)
            return
        errors.print(Text(_who(found), "yellow"))
        confirm = _phrase()
    done = f"{group}: what was away is vouched for, until it is heard again"
    change(client, group_path(group, "/reconcile"), {"reason": reason, "confirm": confirm}, done, as_json=as_json)


def _nothing_to_vouch_for(found: dict[str, Any]) -> str:
    """'' when somebody is away, or may be: a group of which no site speaks has not seen how late it is."""
    permits = found["permits"]
    after_ms = permits["after_ms"]
    if not after_ms:
        return f"{found['group']} takes no break-glass permits: its configuration has no break_glass"
    heard = all(site["heard_ms_ago"] is not None and site["heard_ms_ago"] < after_ms for site in found["sites"])
    if permits["away"] or permits.get("disputed") or not heard:
        return ""
    return f"every site of {found['group']} was heard: what is under a permit ends or is adopted by itself"


def _already_so(words: str, *, as_json: bool) -> None:
    """As the witnesses would answer it."""
    if as_json:
        body = {"ok": True, "changed": False, "reason": Reason.ALREADY_SO.value, "words": words}
        print_json({**body, "detail": "", "next": ""})
    else:
        console.print(f"nothing to vouch for: {words}")


def _who(found: dict[str, Any]) -> str:
    away, disputed = ", ".join(found["permits"]["away"]), ", ".join(found["permits"].get("disputed", ()))
    words = [f"{away}: away"] if away else []
    words += [f"{disputed}: disputed, another agent speaks than the one that took its permit"] if disputed else []
    return (
        f"{'; '.join(words)}; you vouch that no permit is in use there" if words else "you vouch for all that are away"
    )


def _phrase() -> str:
    try:
        return str(typer.prompt(f"Type '{VOUCHED}' to vouch"))
    except typer.Abort:
        raise Misused('no answer: nothing was changed; without a terminal use --confirm "PHRASE"') from None
