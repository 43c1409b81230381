"""What one client may take of what all share: memory for bodies, connections, and the console's
name."""

import gzip
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from house import House, real_looking_key

BODY = {
    "model": "claude-haiku-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}
MIB = 1 << 20


def connect(house):
    at = urlsplit(house.gateway)
    return socket.create_connection((at.hostname, at.port), timeout=30)


def announce(house, key, length):
    """Begins a call whose body is announced and does not come."""
    wire = connect(house)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: gateway\r\nx-api-key: {key}\r\n"
    head += f"content-type: application/json\r\nContent-Length: {length}\r\n\r\n"
    wire.sendall(head.encode())
    return wire


def metric(house, name):
    text = httpx.get(house.console + "/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(lines[0].split()[1])


def until(what, is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)


def test_no_key_holds_the_memory_of_all(tmp_path, own_mock):
    house = House(
        tmp_path,
        upstream=own_mock.url,
        key=real_looking_key(),
        CHAMBERLAIN_SERVER__BODIES_IN_FLIGHT_MAX="4MiB",
    )
    greedy, other = house.virtual_key("greedy")["key"], house.virtual_key("other")["key"]

    def ask(key, size=0):
        body = BODY | {"messages": [{"role": "user", "content": "a" * size or "Hello"}]}
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
        return httpx.post(house.gateway + "/v1/messages", json=body, headers=headers, timeout=60)

    held = [announce(house, greedy, MIB) for _ in range(2)]
    until("two bodies", lambda: metric(house, "chamberlain_request_body_bytes") == 2 * MIB)
    refused = ask(greedy)
    assert refused.status_code == 429
    assert refused.headers["x-chamberlain-code"] == "bodies_in_flight_of_key"
    assert refused.headers["x-should-retry"] == "true"
    message = refused.json()["error"]["message"]
    assert "hold 2097152 bytes" in message and "server.bodies_in_flight_max" in message
    # Somebody else has room, and would have it for a large one too.
    assert ask(other).status_code == 200
    held.append(announce(house, other, MIB))
    until("three bodies", lambda: metric(house, "chamberlain_request_body_bytes") == 3 * MIB)
    assert ask(greedy).status_code == 429
    # Beyond all of it nobody is let in, and it is told whose limit that is.
    refused = ask(other, size=MIB)
    assert refused.headers["x-chamberlain-code"] == "bodies_in_flight"
    assert "4194304 bytes" in refused.json()["error"]["message"]
    # Whoever leaves gives back what it held.
    for wire in held:
        wire.close()
    until("nothing", lambda: metric(house, "chamberlain_request_body_bytes") == 0)
    assert ask(greedy).status_code == 200
    assert house.stop() == 0


def test_no_key_has_all_processors_read_for_it(own_house, own_mock):
    """Bodies of 30 KB that decode to 30 MB and then are no requests: none of them counts against a
    limit, and whoever comes after forty of them does not wait for forty."""
    greedy = own_house.virtual_key("greedy")["key"]
    other = own_house.virtual_key("other")["key"]
    bomb = gzip.compress(b"{" + b" " * 30_000_000)
    assert len(bomb) < 40_000

    def ask(key, body):
        headers = {
            "x-api-key": key,
            "anthropic-version": "2023-06-01",
            "content-encoding": "gzip",
            "content-type": "application/json",
        }
        return client.post("/v1/messages", content=body, headers=headers).status_code

    connections = httpx.Limits(max_connections=50)
    with (
        httpx.Client(base_url=own_house.gateway, timeout=120, limits=connections) as client,
        ThreadPoolExecutor(40) as pool,
    ):
        flood = [pool.submit(ask, greedy, bomb) for _ in range(40)]
        waiting = "chamberlain_request_bodies_waiting"
        until("a line", lambda: metric(own_house, waiting) >= 20)
        before = sum(one.done() for one in flood)
        assert ask(other, gzip.compress(json.dumps(BODY).encode())) == 200
        assert sum(one.done() for one in flood) < before + 15, "it waited for all the others"
        assert [one.result() for one in flood] == [400] * 40
    assert metric(own_house, waiting) == 0
    assert len(own_mock.journal()) == 1


def test_a_body_that_comes_in_drops_is_given_up(tmp_path, own_mock):
    """Never silent for long, and still too slow: half a minute's grace, then it must come on."""
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    wire = announce(house, house.virtual_key()["key"], MIB)
    wire.settimeout(2)
    answer = b""
    for _ in range(60):
        wire.sendall(b" ")
        try:
            answer = wire.recv(65536)
            break
        except TimeoutError:
            pass
    assert b"request_body_timeout" in answer and b"64 KiB a second" in answer
    assert metric(house, "chamberlain_request_body_bytes") == 0
    assert own_mock.journal() == []
    assert house.stop() == 0


def test_one_address_has_so_many_connections(tmp_path, own_mock):
    limit = {"CHAMBERLAIN_SERVER__CONNECTIONS_PER_ADDRESS_MAX": "3"}
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **limit)

    def is_alive(wire):
        try:
            wire.sendall(b"HEAD / HTTP/1.1\r\nHost: gateway\r\n\r\n")
            return wire.recv(1000).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    wires = [connect(house) for _ in range(3)]
    assert all(is_alive(wire) for wire in wires)
    assert not is_alive(connect(house))
    counted = 'chamberlain_connections_turned_away_total{reason="per_address"}'
    assert metric(house, counted) == 1
    assert metric(house, "chamberlain_connections") == 3
    wires.pop().close()
    until("a place", lambda: metric(house, "chamberlain_connections") == 2)
    assert is_alive(connect(house))
    # A proxy's connections are many people's.
    assert house.stop() == 0
    trusted = {"CHAMBERLAIN_SERVER__TRUSTED_PROXIES": "127.0.0.0/8"}
    house = House(tmp_path, upstream=own_mock.url, **limit, **trusted)
    wires = [connect(house) for _ in range(5)]
    assert all(is_alive(wire) for wire in wires)
    assert house.stop() == 0


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_the_console_answers_to_its_own_names_only(tmp_path, own_mock, path):
    names = {"CHAMBERLAIN_SERVER__CONSOLE_HOSTS": "chamberlain.internal"}
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **names)
    port = urlsplit(house.console).port

    def status(host, at=path):
        return httpx.get(house.console + at, headers={"host": host}).status_code

    for host in ["localhost", f"127.0.0.1:{port}", "[::1]", "10.0.0.9", "chamberlain.internal:1"]:
        assert status(host) == 200, host
    for host in ["evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""]:
        assert status(host) == 421, host
    told = httpx.get(house.console + path, headers={"host": "evil.example"}).text
    assert "server.console_hosts" in told
    assert [status("evil.example", at) for at in ["/healthz", "/readyz"]] == [200, 200]
    assert house.stop() == 0
