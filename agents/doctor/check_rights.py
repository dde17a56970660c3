"""Rights and kernel features, from what a trial process got; and what a guard's deadline may have to wait for."""

from __future__ import annotations

from collections.abc import Iterator

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.fencing.containment import NOTES, PROCESS_GROUP, USER_PID_NAMESPACE

_SPLIT = Promise.NO_SPLIT_BRAIN
_MISSING = {
    "oom_score": ("the OOM killer may choose a guard", "give the agent CAP_SYS_RESOURCE, or run it as root"),
    "memory_locked": ("a guard's memory may be swapped out", "give it CAP_IPC_LOCK or LimitMEMLOCK=infinity"),
    "realtime": ("a busy host may keep a guard waiting", "give it CAP_SYS_NICE or LimitRTPRIO=1"),
}


def check_rights(host: Host) -> Iterator[Finding]:
    if not host.trial:
        what = "what a guard gets on this host could not be tried out"
        remedy = "look at the error above, and run `site-agent doctor` again"
        yield Finding(Severity.WARNING, "guard", what, _SPLIT, "nothing is known of the kernel's floor", remedy)
        return
    yield from _containment(host)
    granted = host.trial.get("privileges", {})
    for name, (why, remedy) in _MISSING.items():
        if not granted.get(name):
            rest = "the kernel's timer holds the deadline all the same; the gentler rungs may be late"
            yield Finding(Severity.WARNING, "guard", f"{name} is refused: {why}", _SPLIT, rest, remedy)
    for name, words in (("boottime_timer", "timers on CLOCK_BOOTTIME"), ("pidfd", "pidfds")):
        if not host.trial.get(name):
            what = f"{words} cannot be had (kernel {host.trial.get('kernel')})"
            why = "a guard needs them to hold and to prove the end of a lease"
            remedy = "use Linux 5.4 or newer, and a container runtime that lets these calls through"
            yield Finding(Severity.BROKEN, "kernel", what, _SPLIT, why, remedy)
    if not host.trial.get("netfilter"):
        what = "nftables cannot be reached"
        why = "service ports cannot be given a lifetime in the kernel"
        yield Finding(Severity.WARNING, "kernel", what, _SPLIT, why, "load nf_tables and give the agent CAP_NET_ADMIN")
    yield from _cgroups(host)


def _containment(host: Host) -> Iterator[Finding]:
    kind, why_not = str(host.trial.get("containment", "")), str(host.trial.get("containment_why", ""))
    missing = str(host.trial.get("containment_missing", ""))
    remedy = "run the agent as root (in a container: with CAP_SYS_ADMIN), or allow user namespaces"
    if kind in ("", PROCESS_GROUP) or missing.startswith("its init"):
        what = f"no PID namespace can be had: {missing or why_not}"
        why = "a site that is stopped as a whole outlives its deadline: only the kernel ends a namespace by itself"
        yield Finding(Severity.BROKEN, "guard", what, _SPLIT, why, remedy)
    elif kind == USER_PID_NAMESPACE:
        what = "namespaces are made without root"
        yield Finding(Severity.WARNING, "guard", what, Promise.COMES_BACK, NOTES[kind], "run the agent as root")
    elif missing:
        yield Finding(Severity.WARNING, "guard", missing, Promise.EXPLAINED, "steps see the host's processes", remedy)


def _cgroups(host: Host) -> Iterator[Finding]:
    outside = [one for group in host.enforced() for one in group.components if one.unit and not one.under_exec]
    if not outside:
        return
    places = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
    unified = next((place for place in places if (host.root / place / "cgroup.controllers").exists()), "")
    killing = unified and any((host.root / unified).glob("*/cgroup.kill"))
    if not killing:
        names = ", ".join(sorted(one.unit for one in outside))
        what = "no unified control groups" if not unified else "control groups without cgroup.kill (before Linux 5.14)"
        why = f"{names}: processes are killed one by one, and may fork meanwhile"
        remedy = "boot with systemd.unified_cgroup_hierarchy=1, or bring the units under a guard with `site-agent wrap`"
        yield Finding(Severity.WARNING, "control groups", what, _SPLIT, why, remedy)
