"""What `witness pki` makes, what it refuses, and that nothing is overwritten by accident."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from typer.testing import CliRunner

from proto.edge.identity import OperatorRole, Role, parse_identity
from proto.edge.tls import TlsFiles, own_certificate
from proto.errors import BadValue
from witness.pki.certificates import uris_of
from witness.pki.cli import app
from witness.pki.describe import describe_file
from witness.pki.store import create_ca, issue, load_ca, read_certificate


@pytest.fixture
def ca_dir(tmp_path):
    create_ca(tmp_path / "pki", cluster_name="prod")
    return tmp_path / "pki"


def test_a_new_cluster_has_an_id_of_its_own(tmp_path):
    one, two = create_ca(tmp_path / "1"), create_ca(tmp_path / "2")
    assert one.cluster_id != two.cluster_id
    assert load_ca(tmp_path / "1").cluster_id == one.cluster_id
    assert one.key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("witness", {"hosts": ["10.0.0.1", "w1.example.org", "::1"]}),
        ("agent", {"groups": ["erp", "web"]}),
        ("agent", {"groups": ["*"], "hosts": ["127.0.0.1"]}),
        ("operator", {"role": "admin"}),
        ("operator", {"role": OperatorRole.VIEWER}),
    ],
)
def test_an_issued_certificate_holds_and_says_who_it_is(ca_dir, kind, options):
    made = issue(ca_dir, kind, "name-1", **options)
    own = own_certificate(made.tls_files())
    assert own.identity == made.identity == parse_identity(uris_of(read_certificate(made.cert)))
    assert own.identity.role is Role(kind)
    assert own.identity.cluster_id == load_ca(ca_dir).cluster_id
    assert own.not_after_s == int(made.not_after.timestamp())
    assert 364 < own.days_left(datetime.now(UTC).timestamp()) <= 365
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in made.directory.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_leaves_cannot_sign_and_operators_cannot_serve(ca_dir):
    made = issue(ca_dir, "operator", "ann", role="viewer")
    extensions = read_certificate(made.cert).extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_every_issue_is_recorded(ca_dir):
    issue(ca_dir, "witness", "w1", hosts=["127.0.0.1"])
    made = issue(ca_dir, "agent", "dc-a", groups=["erp"])
    lines = [json.loads(line) for line in (ca_dir / "issued.jsonl").read_text().splitlines()]
    assert [line["identity"][0].rpartition("/")[2] for line in lines] == ["w1", "dc-a"]
    assert lines[1]["serial"] == f"{read_certificate(made.cert).serial_number:x}"


BAD_ISSUES = {
    "unknown kind": ("root", "x", {}),
    "bad name": ("witness", "W 1", {"hosts": ["127.0.0.1"]}),
    "witness nobody can call": ("witness", "w1", {}),
    "bad host": ("witness", "w1", {"hosts": ["no such host"]}),
    "too many hosts": ("witness", "w1", {"hosts": ["127.0.0.1"] * 33}),
    "groups of a witness": ("witness", "w1", {"hosts": ["127.0.0.1"], "groups": ["erp"]}),
    "agent without groups": ("agent", "dc-a", {}),
    "role of an agent": ("agent", "dc-a", {"groups": ["erp"], "role": "admin"}),
    "operator without role": ("operator", "ann", {}),
    "unknown operator role": ("operator", "ann", {"role": "root"}),
    "operator with a host": ("operator", "ann", {"role": "admin", "hosts": ["127.0.0.1"]}),
    "no days": ("operator", "ann", {"role": "admin", "days": 0}),
    "longer than the CA": ("operator", "ann", {"role": "admin", "days": 3_651}),
}


@pytest.mark.parametrize(("kind", "name", "options"), BAD_ISSUES.values(), ids=BAD_ISSUES.keys())
def test_a_bad_issue_is_refused_and_writes_nothing(ca_dir, kind, name, options):
    before = sorted(ca_dir.rglob("*"))
    with pytest.raises(BadValue):
        issue(ca_dir, kind, name, **options)
    assert sorted(ca_dir.rglob("*")) == before


def test_nothing_is_overwritten_without_force(ca_dir):
    made = issue(ca_dir, "agent", "dc-a", groups=["erp"])
    before = made.key.read_bytes()
    with pytest.raises(BadValue, match="--force"):
        issue(ca_dir, "agent", "dc-a", groups=["erp"])
    with pytest.raises(BadValue, match="--force"):
        create_ca(ca_dir)
    assert made.key.read_bytes() == before
    issue(ca_dir, "agent", "dc-a", groups=["erp"], force=True)
    assert made.key.read_bytes() != before
    own_certificate(made.tls_files())


def test_a_damaged_or_mixed_ca_is_refused(tmp_path):
    one, two = create_ca(tmp_path / "1"), create_ca(tmp_path / "2")
    one.key.write_bytes(two.key.read_bytes())
    with pytest.raises(BadValue, match="do not belong together"):
        load_ca(tmp_path / "1")
    one.key.write_bytes(b"-----BEGIN")
    with pytest.raises(BadValue, match="not a private key"):
        load_ca(tmp_path / "1")
    one.key.unlink()
    with pytest.raises(BadValue, match="witness pki init"):
        load_ca(tmp_path / "1")


def test_a_leaf_is_no_ca(ca_dir, tmp_path):
    made = issue(ca_dir, "witness", "w1", hosts=["127.0.0.1"])
    (tmp_path / "ca.pem").write_bytes(made.cert.read_bytes())
    (tmp_path / "ca.key").write_bytes(made.key.read_bytes())
    with pytest.raises(BadValue):
        issue(tmp_path, "operator", "eve", role="admin")


def test_own_certificate_finds_what_does_not_fit(ca_dir, tmp_path):
    w1 = issue(ca_dir, "witness", "w1", hosts=["127.0.0.1"])
    w2 = issue(ca_dir, "witness", "w2", hosts=["127.0.0.1"])
    other = create_ca(tmp_path / "other")
    then = datetime.now(UTC) - timedelta(days=10)
    old = issue(ca_dir, "witness", "w3", hosts=["127.0.0.1"], days=2, now=then)
    bad = {
        "do not load": TlsFiles(w1.ca, w1.cert, w2.key),
        "does not hold": TlsFiles(other.cert, w1.cert, w1.key),
        "expired": old.tls_files(),
        "cannot be read": TlsFiles(w1.ca, w1.cert, tmp_path / "none"),
        "cannot be read as PEM": TlsFiles(w1.key, w1.cert, w1.key),
    }
    for says, files in bad.items():
        with pytest.raises(BadValue, match=says):
            own_certificate(files)
    w1.key.chmod(0o644)
    with pytest.raises(BadValue, match="chmod 600"):
        own_certificate(w1.tls_files())


def test_show_says_whose_it_is_and_how_long(ca_dir):
    made = issue(ca_dir, "agent", "dc-a", groups=["erp", "web"], hosts=["10.0.0.9"], days=20)
    said = dict(describe_file(made.cert))
    assert said["identity"] == "agent dc-a"
    assert said["groups"] == "erp, web"
    assert said["called by"] == "10.0.0.9"
    assert "renew it" in said["valid until"]
    later = dict(describe_file(made.cert, datetime.now(UTC) + timedelta(days=30)))
    assert "EXPIRED" in later["valid until"]
    assert dict(describe_file(made.ca))["cluster id"] == load_ca(ca_dir).cluster_id
    with pytest.raises(BadValue, match="PEM"):
        list(describe_file(made.key))


def test_the_commands(tmp_path):
    run = CliRunner()
    pki = str(tmp_path / "pki")
    said = run.invoke(app, ["init", "--dir", pki, "--cluster-name", "prod"], catch_exceptions=False)
    assert said.exit_code == 0
    assert "cluster id" in said.output
    calls = [
        ["issue", "witness", "w1", "--dir", pki, "--ip", "127.0.0.1", "--host", "w1.example.org"],
        ["issue", "agent", "dc-a", "--dir", pki, "--groups", "erp,web", "--groups", "mail"],
        ["issue", "operator", "ann", "--dir", pki, "--role", "admin", "--days", "30"],
    ]
    for call in calls:
        said = run.invoke(app, call, catch_exceptions=False)
        assert said.exit_code == 0, said.output
        assert "copy" in said.output
    shown = run.invoke(app, ["show", f"{pki}/agent-dc-a/cert.pem"], catch_exceptions=False)
    assert "erp, mail, web" in shown.output
    again = run.invoke(app, calls[0])
    assert isinstance(again.exception, BadValue)
