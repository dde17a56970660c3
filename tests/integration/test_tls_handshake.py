"""Real sockets on loopback: who gets in, who does not, and that the server learns why."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proto.edge.identity import Role, operator_identity, parse_operator_role, witness_identity
from proto.edge.tls import (
    TlsFiles,
    accepting,
    client_context,
    identity_of,
    own_certificate,
    reload_files,
    server_context,
)
from witness.pki.certificates import make_leaf
from witness.pki.store import create_ca, issue, load_ca

HANDSHAKE_S_MAX = 10
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request):
    def runner(main):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop:
            return loop.run(asyncio.wait_for(main, HANDSHAKE_S_MAX))

    return runner


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    create_ca(directory)
    issue(directory, "witness", "w1", hosts=["127.0.0.1"])
    issue(directory, "witness", "w2", hosts=["127.0.0.1"])
    issue(directory, "agent", "dc-a", groups=["erp"], hosts=["127.0.0.1"])
    issue(directory, "agent", "dc-b", groups=["erp"], hosts=["127.0.0.1"])
    issue(directory, "operator", "ann", role="viewer")
    return directory


def files(directory, name):
    where = directory / name
    return TlsFiles(where / "ca.pem", where / "cert.pem", where / "key.pem")


def accept(own_files, *roles, name=None):
    return accepting(own_certificate(own_files).identity, *roles, name=name)


async def say_hello(server_ssl, client_ssl):
    """Connects once: (what the server said to the client or None, whom the server saw)."""
    seen = []

    async def serve(reader, writer):
        seen.append(identity_of(writer.get_extra_info("ssl_object")))
        writer.write(b"hello")
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_ssl)
    try:
        port = server.sockets[0].getsockname()[1]
        said = None
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_ssl)
            said = await reader.read(5) or None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return said, seen
    finally:
        server.close()
        await server.wait_closed()


def connect(run, server_files, server_accept, client_files, client_accept):
    why = []
    server_ssl = server_context(server_files, server_accept, why.append)
    said, seen = run(say_hello(server_ssl, client_context(client_files, client_accept)))
    return said, seen, why


def test_the_right_peers_meet(run, pki):
    w1, dc_a = files(pki, "witness-w1"), files(pki, "agent-dc-a")
    said, seen, why = connect(run, w1, accept(w1, Role.AGENT), dc_a, accept(dc_a, Role.WITNESS, name="w1"))
    assert said == b"hello"
    assert [(peer.role, peer.name, peer.may_serve("erp")) for peer in seen] == [(Role.AGENT, "dc-a", True)]
    assert why == []


@pytest.mark.parametrize(
    ("client", "roles", "name", "because"),
    [
        ("operator-ann", (Role.AGENT,), None, "operator ann (viewer) is refused: the role agent is needed"),
        ("agent-dc-b", (Role.AGENT,), "dc-a", "agent dc-b is refused: its certificate does not speak for 'dc-a'"),
        ("agent-dc-a", (Role.WITNESS,), None, "agent dc-a is refused: the role witness is needed"),
    ],
)
def test_wrong_role_or_site_is_refused_by_the_server(run, pki, client, roles, name, because):
    w1, other = files(pki, "witness-w1"), files(pki, client)
    said, seen, why = connect(run, w1, accept(w1, *roles, name=name), other, accept(other, Role.WITNESS))
    assert (said, seen, why) == (None, [], [because])


def test_an_agent_cannot_pose_as_a_witness(run, pki):
    """Its certificate is valid for the address; the client still hangs up before it has said a word."""
    fake, dc_b = files(pki, "agent-dc-a"), files(pki, "agent-dc-b")
    said, _, _ = connect(run, fake, accept(fake, Role.AGENT), dc_b, accept(dc_b, Role.WITNESS))
    assert said is None


def test_another_witness_is_not_the_one_that_was_called(run, pki):
    w2, dc_a = files(pki, "witness-w2"), files(pki, "agent-dc-a")
    said, _, _ = connect(run, w2, accept(w2, Role.AGENT), dc_a, accept(dc_a, Role.WITNESS, name="w1"))
    assert said is None


def test_another_cluster_is_refused(run, pki, tmp_path):
    create_ca(tmp_path)
    issue(tmp_path, "agent", "dc-a", groups=["erp"])
    stranger, w1 = files(tmp_path, "agent-dc-a"), files(pki, "witness-w1")
    trusting = TlsFiles(pki / "ca.pem", stranger.cert, stranger.key)
    said, seen, why = connect(run, w1, accept(w1, Role.AGENT), trusting, lambda _: None)
    assert (said, seen) == (None, [])
    assert "certificate" in why[0]


def test_another_cluster_of_the_same_ca_is_refused(run, pki, tmp_path):
    """Belt and braces: should two clusters ever share a CA, the id in the identity still tells them apart."""
    authority = load_ca(pki)
    pair = make_leaf(authority, witness_identity("f" * 32, "w1"), ["127.0.0.1"], datetime.now(UTC))
    stranger = write_pair(tmp_path, pki, pair.certificate_pem(), pair.key_pem())
    w1 = files(pki, "witness-w1")
    said, seen, why = connect(run, w1, accept(w1, Role.WITNESS), stranger, lambda _: None)
    assert (said, seen) == (None, [])
    assert "belongs to cluster ffff" in why[0]


def write_pair(directory, pki, cert, key):
    (directory / "cert.pem").write_bytes(cert)
    (directory / "key.pem").write_bytes(key)
    (directory / "key.pem").chmod(0o600)
    return TlsFiles(pki / "ca.pem", directory / "cert.pem", directory / "key.pem")


def test_an_expired_certificate_is_refused(run, pki):
    then = datetime.now(UTC) - timedelta(days=10)
    issue(pki, "agent", "late", groups=["erp"], days=2, now=then, force=True)
    w1 = files(pki, "witness-w1")
    said, seen, why = connect(run, w1, accept(w1, Role.AGENT), files(pki, "agent-late"), lambda _: None)
    assert (said, seen) == (None, [])
    assert "expired" in why[0]


def test_two_identities_in_one_certificate_are_refused(run, pki, tmp_path):
    authority = load_ca(pki)
    key = ec.generate_private_key(ec.SECP256R1())
    uris = [
        *witness_identity(authority.cluster_id, "w1").uris(),
        *operator_identity(authority.cluster_id, "eve", parse_operator_role("admin")).uris(),
    ]
    signed = forged(authority, key, uris)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both = write_pair(tmp_path, pki, signed.public_bytes(serialization.Encoding.PEM), pem)
    w1 = files(pki, "witness-w1")
    said, seen, why = connect(run, w1, accept(w1, Role.WITNESS), both, lambda _: None)
    assert (said, seen, why) == (None, [], ["certificate: 2 identities, exactly one is needed"])


def forged(authority, key, uris):
    now = datetime.now(UTC)
    ca_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "both")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), False)
        .sign(authority.key, hashes.SHA256())
    )


def test_a_client_without_a_certificate_is_refused(run, pki):
    w1 = files(pki, "witness-w1")
    bare = ssl.create_default_context(cafile=w1.ca)
    why = []
    said, seen = run(say_hello(server_context(w1, accept(w1, Role.AGENT), why.append), bare))
    assert (said, seen) == (None, [])
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in why[0]


def test_an_older_tls_is_refused(run, pki):
    w1, dc_a = files(pki, "witness-w1"), files(pki, "agent-dc-a")
    old = ssl.create_default_context(cafile=w1.ca)
    old.load_cert_chain(dc_a.cert, dc_a.key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    why = []
    said, seen = run(say_hello(server_context(w1, accept(w1, Role.AGENT), why.append), old))
    assert (said, seen) == (None, [])
    assert "UNSUPPORTED_PROTOCOL" in why[0]


def test_a_host_that_is_not_in_the_certificate_is_refused(run, pki):
    issue(pki, "witness", "w9", hosts=["10.9.9.9"], force=True)
    w9, dc_a = files(pki, "witness-w9"), files(pki, "agent-dc-a")
    said, _, _ = connect(run, w9, accept(w9, Role.AGENT), dc_a, accept(dc_a, Role.WITNESS))
    assert said is None


def test_a_revoked_certificate_is_refused(run, pki, tmp_path):
    authority = load_ca(pki)
    dc_b, w1 = files(pki, "agent-dc-b"), files(pki, "witness-w1")
    now = datetime.now(UTC)
    serial = x509.load_pem_x509_certificate(dc_b.cert.read_bytes()).serial_number
    revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(revoked)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), False)
        .add_extension(x509.CRLNumber(1), False)
        .sign(authority.key, hashes.SHA256())
    )
    (tmp_path / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    checking = TlsFiles(w1.ca, w1.cert, w1.key, tmp_path / "crl.pem")
    said, seen, why = connect(run, checking, accept(w1, Role.AGENT), dc_b, lambda _: None)
    assert (said, seen, why) == (None, [], ["certificate revoked"])
    dc_a = files(pki, "agent-dc-a")
    said, _, _ = connect(run, checking, accept(w1, Role.AGENT), dc_a, lambda _: None)
    assert said == b"hello"


def test_files_are_reloaded_without_a_restart(run, pki, tmp_path):
    w1, dc_a = files(pki, "witness-w1"), files(pki, "agent-dc-a")
    moving = write_pair(tmp_path, pki, w1.cert.read_bytes(), w1.key.read_bytes())
    context = server_context(moving, accept(w1, Role.AGENT))
    w2 = files(pki, "witness-w2")
    write_pair(tmp_path, pki, w2.cert.read_bytes(), w2.key.read_bytes())
    reload_files(context, moving)
    said, _ = run(say_hello(context, client_context(dc_a, accept(dc_a, Role.WITNESS, name="w2"))))
    assert said == b"hello"


def test_aiohttp_serves_and_calls_with_these_contexts(run, pki):
    w1, dc_a, ann = (files(pki, name) for name in ("witness-w1", "agent-dc-a", "operator-ann"))
    why = []

    async def whoami(request):
        return web.Response(text=str(identity_of(request.transport.get_extra_info("ssl_object"))))

    async def main():
        app = web.Application()
        app.router.add_get("/", whoami)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(
                runner, "127.0.0.1", 0, ssl_context=server_context(w1, accept(w1, Role.AGENT), why.append)
            )
            await site.start()
            url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
            async with aiohttp.ClientSession() as session:
                async with session.get(url, ssl=client_context(dc_a, accept(dc_a, Role.WITNESS))) as answer:
                    assert await answer.text() == "agent dc-a"
                with pytest.raises(aiohttp.ClientError):
                    await session.get(url, ssl=client_context(ann, accept(ann, Role.WITNESS)))
                with pytest.raises(aiohttp.ClientError):
                    await session.get(url, ssl=client_context(dc_a, accept(dc_a, Role.WITNESS, name="w2")))
        finally:
            await runner.cleanup()

    run(main())
    assert set(why) == {"operator ann (viewer) is refused: the role agent is needed"}
