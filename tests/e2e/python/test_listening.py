"""Where calls come in: under TLS with certificates that are replaced, with certificates of
clients, and through a Unix socket."""

import json
import os
import signal
import socket
import ssl
import stat
import time

import anthropic
import httpx2 as httpx
import pytest
from certificates import Authority
from house import House, real_looking_key

BODY = {
    "model": "claude-haiku-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}


@pytest.fixture
def authority(tmp_path):
    made = Authority("who vouches for the server")
    (tmp_path / "root.pem").write_bytes(made.pem)
    return made


def settings(cert, key, **more):
    """The environment variables that serve with a certificate."""
    names = {"cert": cert, "key": key} | more
    return {f"CHAMBERLAIN_SERVER__TLS__{name.upper()}": str(at) for name, at in names.items()}


def trusting(folder, *chain):
    context = ssl.create_default_context(cafile=folder / "root.pem")
    if chain:
        context.load_cert_chain(*chain)
    return context


def ask(client, house, key):
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return client.post(house.gateway + "/v1/messages", json=BODY, headers=headers)


def served(house, context):
    """The common name of the certificate that a new connection is served with."""
    port = int(house.gateway.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            subject = tls.getpeercert()["subject"]
    return subject[0][0][1]


def until(what: str, is_so, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.05)


@pytest.mark.parametrize(("http2", "spoken"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
def test_calls_under_tls(tmp_path, own_mock, authority, http2, spoken):
    files = settings(*authority.issue(tmp_path, "first"))
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **files)
    assert house.gateway.startswith("https://")
    key = house.virtual_key()["key"]
    with httpx.Client(verify=trusting(tmp_path), http2=http2, timeout=60) as client:
        answer = ask(client, house, key)
        assert (answer.status_code, answer.http_version) == (200, spoken), answer.text
        sdk = anthropic.Anthropic(base_url=house.gateway, api_key=key, http_client=client)
        with sdk.messages.stream(**BODY) as stream:
            assert stream.get_final_text()
    # Whoever speaks plain HTTP is told what to do.
    plain = httpx.post(house.gateway.replace("https", "http") + "/v1/messages", json=BODY)
    assert plain.status_code == 400 and "Write https://" in plain.text
    # Nothing old is spoken.
    old = trusting(tmp_path)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        served(house, old)
    metrics = httpx.get(house.console + "/metrics").text
    assert 'chamberlain_connections_turned_away_total{reason="plain_http"} 1' in metrics
    # The operators' socket does not care.
    assert house.json("status")["running"]["gateway"] == house.gateway
    assert house.stop() == 0


def test_a_new_certificate_is_taken_over_and_connections_stand(tmp_path, own_mock, authority):
    cert, key_file = authority.issue(tmp_path, "served")
    files = settings(cert, key_file)
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **files)
    key, context = house.virtual_key()["key"], trusting(tmp_path)
    with httpx.Client(verify=context, timeout=60) as client:
        assert ask(client, house, key).status_code == 200
        assert served(house, context) == "served"
        # By itself, when the files change.
        (tmp_path / "next").mkdir()
        second = authority.issue(tmp_path / "next", "second")
        os.replace(second[0], cert)
        os.replace(second[1], key_file)
        until("the second certificate", lambda: served(house, context) == "second")
        # On a signal, at once.
        third = authority.issue(tmp_path / "next", "third")
        os.replace(third[0], cert)
        os.replace(third[1], key_file)
        house.child.send_signal(signal.SIGHUP)
        until("the third certificate", lambda: served(house, context) == "third")
        # A broken file changes nothing and is told.
        cert.write_text("-----BEGIN CERTIFICATE-----\nbroken\n")
        house.child.send_signal(signal.SIGHUP)
        until("the report", lambda: "tls.not_reloaded" in kinds(house))
        assert served(house, context) == "third"
        log = house.log.read_text()
        assert "the old ones are served on" in log and str(cert) in log
        # The connection of the beginning was never dropped: no other was opened for this.
        before = connections(client)
        assert ask(client, house, key).status_code == 200
        assert connections(client) == before and len(before) == 1
    assert "tls.reloaded" in kinds(house)
    assert house.stop() == 0


def kinds(house):
    """The kinds of what is in the audit log."""
    lines = house.run("audit", "export").splitlines()
    return {json.loads(line)["record"]["kind"] for line in lines}


def connections(client):
    return [id(connection) for connection in client._transport._pool.connections]


def test_certificates_of_clients(tmp_path, own_mock, authority):
    friends, strangers = Authority("friends"), Authority("strangers")
    (tmp_path / "clients.pem").write_bytes(friends.pem)
    files = settings(*authority.issue(tmp_path, "server"), client_ca=tmp_path / "clients.pem")
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **files)
    key = house.virtual_key()["key"]
    mine, theirs = friends.issue(tmp_path, "friend"), strangers.issue(tmp_path, "stranger")

    def status(*chain, http2=False):
        context = trusting(tmp_path, *chain)
        with httpx.Client(verify=context, http2=http2, timeout=60) as client:
            return ask(client, house, key).status_code

    assert status(*mine) == 200
    assert status(*mine, http2=True) == 200
    calls = len(own_mock.journal())
    for chain in [(), theirs]:
        with pytest.raises(httpx.TransportError):
            status(*chain)
    assert len(own_mock.journal()) == calls
    # Who is vouched for changes like the certificate does, also for sessions that stood before.
    (tmp_path / "clients.pem").write_bytes(strangers.pem)
    house.child.send_signal(signal.SIGHUP)

    def is_in(chain):
        try:
            return status(*chain) == 200
        except httpx.TransportError:
            return False

    until("the others", lambda: is_in(theirs))
    assert not is_in(mine)
    assert house.stop() == 0


def test_an_optional_certificate_must_be_good(tmp_path, own_mock, authority):
    friends, strangers = Authority("friends"), Authority("strangers")
    (tmp_path / "clients.pem").write_bytes(friends.pem)
    files = settings(
        *authority.issue(tmp_path, "server"),
        client_ca=tmp_path / "clients.pem",
        client_certificate="optional",
    )
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **files)
    key = house.virtual_key()["key"]
    for chain in [(), friends.issue(tmp_path, "friend")]:
        with httpx.Client(verify=trusting(tmp_path, *chain), timeout=60) as client:
            assert ask(client, house, key).status_code == 200
    context = trusting(tmp_path, *strangers.issue(tmp_path, "stranger"))
    with httpx.Client(verify=context, timeout=60) as client, pytest.raises(httpx.TransportError):
        ask(client, house, key)
    assert house.stop() == 0


def test_files_that_cannot_be_served_with(tmp_path, authority):
    cert, key = authority.issue(tmp_path, "server")
    other = Authority("another").issue(tmp_path, "other")[1]
    for name, files, told in [
        ("lone", {"CHAMBERLAIN_SERVER__TLS__CERT": str(cert)}, "`server.tls.key` is not"),
        ("missing", settings(tmp_path / "no.pem", key), "server.tls.cert: "),
        ("mismatch", settings(cert, other), "does not belong to the certificate"),
        ("swapped", settings(key, cert), "no certificate is in it"),
    ]:
        cert.chmod(0o600)
        (tmp_path / name).mkdir()
        with pytest.raises(RuntimeError, match=told):
            House(tmp_path / name, **files)
    key.chmod(0o640)
    (tmp_path / "open").mkdir()
    with pytest.raises(RuntimeError, match="others can read .*mode 640"):
        House(tmp_path / "open", **settings(cert, key))


def test_calls_through_a_unix_socket(tmp_path, own_mock):
    path = tmp_path / "gateway.sock"
    house = House(
        tmp_path,
        upstream=own_mock.url,
        key=real_looking_key(),
        CHAMBERLAIN_SERVER__UNIX_SOCKET=str(path),
    )
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660 and found.st_uid == os.getuid()
    open_to_all = house.virtual_key("open")["key"]
    with_networks = house.virtual_key("listed", cidr="127.0.0.0/8")["key"]
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=60) as client:
        assert ask(client, house, open_to_all).status_code == 200
        assert house.calls()[0]["source"] == "local"
        sdk = anthropic.Anthropic(base_url="http://gateway", api_key=open_to_all, http_client=client)
        assert sdk.messages.create(**BODY).content[0].text
        refused = ask(client, house, with_networks)
        assert refused.headers["x-chamberlain-code"] == "source_not_allowed"
        assert "Unix socket" in refused.json()["error"]["message"]
        # A header does not make it an address.
        client.headers["x-forwarded-for"] = "127.0.0.1"
        assert ask(client, house, with_networks).status_code == 403
    # A process that was killed leaves its socket behind; the next one replaces it.
    house.kill()
    assert path.exists()
    house = House(
        tmp_path,
        upstream=own_mock.url,
        CHAMBERLAIN_SERVER__UNIX_SOCKET=str(path),
        CHAMBERLAIN_SERVER__UNIX_SOCKET_IS_PROXY="true",
    )
    # Now it is a proxy, and what it says counts.
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=60) as client:
        assert ask(client, house, with_networks).status_code == 403
        client.headers["x-forwarded-for"] = "127.0.0.9"
        assert ask(client, house, with_networks).status_code == 200
        assert house.calls()[0]["source"] == "127.0.0.9"
    assert house.stop() == 0
    assert not path.exists()
