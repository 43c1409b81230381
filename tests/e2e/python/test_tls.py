"""Upstream over TLS: HTTP/2 where it is offered, and nothing to a stranger's certificate."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from house import House, real_looking_key

BODY = {
    "model": "claude-haiku-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Over TLS"}],
}


def certificate(folder):
    """A certificate for 127.0.0.1 that signs itself; the path of it, and of it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "upstream of a test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "trusted.pem").write_bytes(made)
    (folder / "served.pem").write_bytes(made + secret)
    return folder / "trusted.pem", folder / "served.pem"


class Terminator:
    """Takes TLS off and hands the bytes on to the mock."""

    def __init__(self, served, target: str, protocols: list[str]):
        self.target = urlsplit(target)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(served)
        self.context.set_alpn_protocols(protocols)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        starting = asyncio.start_server(self.join, "127.0.0.1", 0, ssl=self.context)
        self.server = asyncio.run_coroutine_threadsafe(starting, self.loop).result(10)
        self.url = f"https://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def join(self, reader, writer):
        upstream = await asyncio.open_connection(self.target.hostname, self.target.port)
        await asyncio.gather(self.pipe(reader, upstream[1]), self.pipe(upstream[0], writer))

    async def pipe(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


def call(house):
    key = house.virtual_key("tls")["key"]
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return httpx.post(house.gateway + "/v1/messages", json=BODY, headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("protocols", "spoken"), [(["h2", "http/1.1"], "HTTP/2.0"), (["http/1.1"], "HTTP/1.1")]
)
def test_upstream_over_tls(tmp_path, own_mock, protocols, spoken):
    trusted, served = certificate(tmp_path)
    upstream = Terminator(served, own_mock.url, protocols)
    house = House(
        tmp_path, upstream=upstream.url, key=real_looking_key(), SSL_CERT_FILE=str(trusted)
    )
    assert call(house).status_code == 200
    entry = own_mock.journal()[-1]
    assert (entry["path"], entry["http"]) == ("/v1/messages", spoken)
    assert house.stop() == 0
    upstream.stop()


def test_a_certificate_that_nobody_vouches_for(tmp_path, own_mock):
    _, served = certificate(tmp_path)
    upstream = Terminator(served, own_mock.url, ["h2"])
    house = House(tmp_path, upstream=upstream.url, key=real_looking_key())
    answer = call(house)
    assert answer.status_code == 502, answer.text
    assert own_mock.journal() == [], "nothing may be sent to a stranger"
    last = house.calls()[0]
    assert (last["outcome"], last["cost"]) == ("not_sent", "0.00")
    assert house.stop() == 0
    upstream.stop()


def test_another_machine_without_tls_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="travel in the clear"):
        House(tmp_path, upstream="http://192.0.2.1:80", key=real_looking_key())
