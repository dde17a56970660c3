"""The break-glass key and what it signs: kept in a directory of its own, off every machine of the cluster.

DIR holds `break-glass.key` (encrypted with a passphrase unless that was refused on purpose), `break-glass.json` (the
cluster and the public key) and `permits.jsonl`: what was signed is on disk before the permit exists, and the next one
goes above it, so that no two permits of a group share an epoch.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proto.edge.atomic_file import read_capped, write_atomic
from proto.edge.identity import check_cluster_id
from proto.edge.permit_file import sign_permit
from proto.errors import BadValue
from proto.permit import EPOCH_LEAP, PERMIT_EPOCH_MAX, PERMIT_ID_BYTES, Permit, check_key
from proto.units import ClusterId, Epoch, GroupId, SiteId, WallMs, check_name

KEY_NAME, ABOUT_NAME, RECORD_NAME = "break-glass.key", "break-glass.json", "permits.jsonl"
PASSPHRASE_CHARS_MIN = 12
_FILE_BYTES_MAX = 64 * 1024
_RECORD_BYTES_MAX = 16 * 1024 * 1024
_PUBLIC_MODE = 0o644
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True, slots=True)
class KeyPlace:
    directory: Path
    cluster: ClusterId
    public: str
    """In hex, as a group's configuration takes it."""
    encrypted: bool

    @property
    def key(self) -> Path:
        return self.directory / KEY_NAME


@dataclass(frozen=True, slots=True)
class Wish:
    group: GroupId
    site: SiteId
    epoch: Epoch
    """Exactly this one, or the one to leap above."""
    leap: bool
    use_by_ms: WallMs


def create_key(directory: Path, cluster: str, passphrase: str | None, *, force: bool = False) -> KeyPlace:
    """None for the passphrase: the key lies there in clear. Raises BadValue, and has then written nothing."""
    check_cluster_id(cluster, "--cluster")
    for name in (KEY_NAME, ABOUT_NAME):
        if (directory / name).exists() and not force:
            rule = "exists already; permits that it signed are refused by groups that get another key"
            raise BadValue("--dir", str(directory / name), rule, "choose another directory, or --force")
    if passphrase is not None:
        _check_passphrase(passphrase)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        rule = f"cannot be made: {error.strerror}"
        raise BadValue("--dir", str(directory), rule, "choose another place") from error
    write_atomic(directory / KEY_NAME, _key_pem(key, passphrase))
    about = {"version": 1, "cluster": cluster, "key": public, "encrypted": passphrase is not None}
    write_atomic(directory / ABOUT_NAME, json.dumps(about, sort_keys=True).encode() + b"\n", mode=_PUBLIC_MODE)
    return KeyPlace(directory, ClusterId(cluster), public, passphrase is not None)


def _check_passphrase(passphrase: str) -> None:
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        rule = f"a passphrase has at least {PASSPHRASE_CHARS_MIN} characters"
        raise BadValue("--passphrase-file", f"{len(passphrase)} characters", rule, "choose a longer one")


def _key_pem(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        how = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def find_key(directory: Path) -> KeyPlace:
    """Raises BadValue."""
    path = directory / ABOUT_NAME
    remedy = f"make a key with 'witness pki break-glass init --dir {directory}', or name the directory that has it"
    try:
        about = json.loads(read_capped(path, _FILE_BYTES_MAX))
        cluster, public, encrypted = about["cluster"], about["key"], about["encrypted"]
    except OSError as error:
        raise BadValue("--dir", str(path), f"cannot be read: {error.strerror}", remedy) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadValue("--dir", str(path), "is not what 'init' wrote", "restore it from a copy") from error
    check_cluster_id(cluster, ABOUT_NAME)
    return KeyPlace(directory, ClusterId(cluster), check_key(public, ABOUT_NAME), encrypted is True)


def issue_permit(
    place: KeyPlace, passphrase: str | None, wish: Wish, now: datetime | None = None
) -> tuple[Permit, str]:
    """Signs and records one permit; returns it with its file's text. Raises BadValue and has then recorded nothing."""
    key = _load_key(place, passphrase)
    check_name(wish.group, "--group")
    check_name(wish.site, "--site")
    made = WallMs(int((datetime.now(UTC) if now is None else now).timestamp() * 1000))
    issued = _issued(place.directory, wish.group)
    permit = Permit(
        cluster=place.cluster,
        group=wish.group,
        site=wish.site,
        permit=secrets.token_bytes(PERMIT_ID_BYTES),
        epoch=_epoch(wish, issued),
        made_at_ms=made,
        use_by_ms=wish.use_by_ms,
    )
    text = sign_permit(permit, key)
    _record(place.directory, permit)
    return permit, text


def _epoch(wish: Wish, issued: int) -> Epoch:
    """Above what was named and above all that this key signed for the group."""
    if wish.leap:
        return Epoch(max(wish.epoch + EPOCH_LEAP, issued + 1))
    if wish.epoch <= issued:
        rule = f"this key signed a permit for epoch {issued} of the group already; two permits never share an epoch"
        raise BadValue("--epoch", wish.epoch, rule, f"name one above {issued}, or use --epoch-above")
    if wish.epoch > PERMIT_EPOCH_MAX:
        raise BadValue("--epoch", wish.epoch, f"must not exceed {PERMIT_EPOCH_MAX}", "use --epoch-above")
    return wish.epoch


def _load_key(place: KeyPlace, passphrase: str | None) -> Ed25519PrivateKey:
    remedy = "name the directory that 'witness pki break-glass init' made, and the passphrase of its key"
    try:
        content = read_capped(place.key, _FILE_BYTES_MAX)
        key = serialization.load_pem_private_key(content, None if passphrase is None else passphrase.encode())
    except OSError as error:
        raise BadValue("--dir", str(place.key), f"cannot be read: {error.strerror}", remedy) from error
    except (ValueError, TypeError) as error:
        raise BadValue("--passphrase-file", str(place.key), "is not opened by this passphrase", remedy) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadValue("--dir", str(place.key), "is not an Ed25519 key", remedy)
    if key.public_key().public_bytes_raw().hex() != place.public:
        rule = f"{KEY_NAME} and {ABOUT_NAME} do not belong together"
        raise BadValue("--dir", str(place.directory), rule, "restore both from one copy")
    return key


def _issued(directory: Path, group: GroupId) -> int:
    """The highest epoch that was signed for the group, 0 for none. Raises BadValue for a record that is damaged."""
    path = directory / RECORD_NAME
    if not path.exists():
        return 0
    highest = 0
    for number, line in enumerate(read_capped(path, _RECORD_BYTES_MAX).splitlines(), start=1):
        try:
            said = json.loads(line)
            if said["group"] == group:
                highest = max(highest, int(said["epoch"]))
        except (ValueError, KeyError, TypeError) as error:
            remedy = "restore the directory from a copy: without its record two permits may share an epoch"
            raise BadValue("--dir", f"{path}:{number}", "is no line of the record", remedy) from error
    return highest


def _record(directory: Path, permit: Permit) -> None:
    path = directory / RECORD_NAME
    known = read_capped(path, _RECORD_BYTES_MAX) if path.exists() else b""
    line = {
        "permit": permit.permit.hex(),
        "group": permit.group,
        "site": permit.site,
        "epoch": permit.epoch,
        "made_at_ms": permit.made_at_ms,
        "use_by_ms": permit.use_by_ms,
    }
    write_atomic(path, known + json.dumps(line, sort_keys=True).encode() + b"\n")
