"""What the configuration leaves open, and what the running agent itself says stands against it."""

from __future__ import annotations

from collections.abc import Iterator

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.settings import GroupSpec

STOP_GRACE_MS = 10_000
"""Of agents/actions/runner.py: after the steps, for what they did not end."""


def check_setup(host: Host) -> Iterator[Finding]:
    if host.status is None:
        what = "no agent runs here"
        why = "the site cannot take over, and the ttl of its groups is unknown: their budgets are not judged"
        yield Finding(Severity.WARNING, "agent", what, Promise.COMES_BACK, why, "site-agent run -c FILE")
    yield from _site_link(host)
    yield from _peers(host)
    for group in host.settings.groups:
        yield from _group(group, lead=host.member is None)
        yield from _said(host, group)


def _site_link(host: Host) -> Iterator[Finding]:
    """Nothing where no group is to go on without the witnesses, as far as a running agent knows."""
    said = {one["group"]: one for one in (() if host.status is None else host.status.get("groups", ()))}
    holding = [one.group for one in host.enforced() if said.get(one.group, {}).get("witness_loss") != "fence"]
    if host.settings.site_link is not None or host.member is not None or not holding:
        return
    what = "no site_link is configured"
    why = (
        "with the witnesses out of reach the active site is fenced at the end of its lease: the other site's agent can "
        f"neither carry its renewals nor give holds ({', '.join(holding)})"
    )
    remedy = "add site_link on every site's agent, or set witness_loss: fence for groups that are to be fenced"
    yield Finding(Severity.WARNING, "site-link", what, Promise.COMES_BACK, why, remedy)


def _peers(host: Host) -> Iterator[Finding]:
    """What the running agent says of the other sites."""
    link = None if host.status is None else host.status.get("site_link")
    for peer in () if link is None else link["peers"]:
        if peer["connected"]:
            continue
        what = f"not connected: {peer.get('problem') or 'no attempt has ended yet'}"
        why = "that site can neither carry this one's renewals nor hold, if the witnesses are out of reach"
        remedy = (
            "open its site_link.listen port from here, and compare both certificates; see docs/operating/site-link.md"
        )
        yield Finding(Severity.WARNING, f"{peer['site']} ({peer['address']})", what, Promise.COMES_BACK, why, remedy)


def _group(group: GroupSpec, *, lead: bool) -> Iterator[Finding]:
    """`lead`: not a member, whose platform is looked at by components, and whose steps are the lead's."""
    name = str(group.group)
    if not group.enforce:
        what = "enforce: false: this agent only watches"
        why = "nothing is started, stopped or fenced here, and the site is never granted the lease"
        remedy = "stop the platform, then set enforce: true, when it is to be protected"
        yield Finding(Severity.NOTE, name, what, Promise.NO_SPLIT_BRAIN, why, remedy, name)
        return
    if not group.checks and not group.components:
        what = "neither components nor verify_down are configured"
        why = "only the guards prove it down; what was started beside them is not seen"
        remedy = "name what the platform consists of under components"
        yield Finding(Severity.WARNING, name, what, Promise.NO_SPLIT_BRAIN, why, remedy, name)
    if lead and not any(probe.role.value == "service" for probe in group.probes):
        what = "no service probe is configured"
        why = "an active site whose platform hangs is never found unfit"
        remedy = "add a probe with role: service"
        yield Finding(Severity.WARNING, name, what, Promise.COMES_BACK, why, remedy, name)
    if group.budgets is not None and group.deactivation.steps:
        room = group.budgets.stop_budget_ms - group.budgets.kill_budget_ms
        wanted = sum(step.timeout_ms * (step.retries + 1) for step in group.deactivation.steps)
        if wanted > room:
            what = f"deactivation steps may take {wanted} ms; {room} ms lie between stop_budget and kill_budget"
            why = "when the lease runs out, what they have not done by then is killed: an unclean end"
            remedy = f"set stop_budget to {wanted + group.budgets.kill_budget_ms}ms, if the ttl allows, or shorten them"
            yield Finding(Severity.NOTE, name, what, Promise.COMES_BACK, why, remedy, name)


def _said(host: Host, group: GroupSpec) -> Iterator[Finding]:
    """The running agent knows the ttl: its blockers hold what does not fit, and what its probes see."""
    groups = () if host.status is None else host.status.get("groups", ())
    for one in groups:
        if one["group"] != group.group:
            continue
        lines = [*([one["trouble"]] if one.get("trouble") else []), *one.get("blockers", ())]
        for line in lines:
            why = "the site is not eligible while this stands"
            remedy = "see `site-agent status` and docs/operating/troubleshooting.md"
            yield Finding(
                Severity.WARNING, str(group.group), str(line), Promise.COMES_BACK, why, remedy, str(group.group)
            )
