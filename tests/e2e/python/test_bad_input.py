"""Everything that is not understood is refused, in Anthropic's shape, and nothing is forwarded."""

import gzip
import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

GOOD = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello"}],
}


def packed(**fields) -> bytes:
    return json.dumps(GOOD | fields).encode()


@pytest.fixture(scope="module")
def key(house):
    return house.virtual_key("bad-input")["key"]


@pytest.fixture
def nothing_forwarded(mock):
    before = len(mock.journal())
    yield
    assert len(mock.journal()) == before, "something reached upstream"


def post(house, key, content, path="/v1/messages", **headers):
    headers = {
        "x-api-key": key,
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(house.gateway + path, content=content, headers=headers, timeout=60)


def refused(answer, status, kind, *words):
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert error["type"] == "error" and error["error"]["type"] == kind, answer.text
    assert error["request_id"] == answer.headers["request-id"]
    assert answer.headers["x-chamberlain-code"]
    for word in words:
        assert word in error["error"]["message"], answer.text


BODIES = {
    "duplicate model": (
        b'{"model":"claude-haiku-5-5","model":"claude-opus-5-5","max_tokens":9,"messages":[]}',
        "more than once",
    ),
    "duplicate key, escaped": (
        b'{"model":"claude-haiku-5-5","mod\\u0065l":"claude-opus-5-5","max_tokens":9,"messages":[]}',
        "more than once",
    ),
    "duplicate key, deep": (
        b'{"model":"claude-haiku-5-5","max_tokens":9,"messages":[],"x":[{"y":{"a":1,"a":2}}]}',
        "more than once",
    ),
    "deep nesting": (
        packed()[:-1] + b',"x":' + b"[" * 500 + b"]" * 500 + b"}",
        "deeper than",
    ),
    "not JSON": (b"{model: 1}", "not valid JSON"),
    "trailing bytes": (packed() + b"x", "not valid JSON"),
    "not UTF-8": (packed()[:-1] + b',"x":"\xff"}', "UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + packed(), "not valid JSON"),
    "no model": (b'{"max_tokens":9,"messages":[]}', "model"),
    "no max_tokens": (b'{"model":"claude-haiku-5-5","messages":[]}', "max_tokens"),
    "max_tokens as text": (packed(max_tokens="9"), "max_tokens"),
    "max_tokens below zero": (packed(max_tokens=-1), "max_tokens"),
    "max_tokens beyond any number": (packed(max_tokens=10**40), "max_tokens"),
    "stream as text": (packed(stream="true"), "stream"),
    "empty": (b"", "not valid JSON"),
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies(house, key, nothing_forwarded, case):
    body, word = BODIES[case]
    refused(post(house, key, body), 400, "invalid_request_error", word)


UNBOUNDED = {
    "any fallback": ({"fallbacks": "default"}, "fallbacks"),
    "an advisor without end": (
        {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}]},
        "max_uses",
    ),
    "searches without end": (
        {"tools": [{"type": "web_search_20260318", "name": "web_search"}]},
        "max_uses",
    ),
}


@pytest.mark.parametrize("case", UNBOUNDED)
def test_what_cannot_be_bounded_is_refused_by_name(house, key, nothing_forwarded, case):
    fields, word = UNBOUNDED[case]
    answer = post(house, key, packed(**fields))
    assert answer.status_code in (400, 403)
    assert word in answer.json()["error"]["message"]


def test_models(house, key, nothing_forwarded):
    for model in ("claude-unheard-of-9", "claude-opus-4-20250514"):
        answer = post(house, key, packed(model=model))
        assert answer.status_code in (403, 404)
        assert model in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/complete",
        "/v1/chat/completions",
        "/v1/messages/",
        "/v1//messages",
        "/v1/messages/batches/",
        "/v1/./messages",
        "/v1/x/../messages",
        "/v1/%6dessages",
        "/v1/messages%2fcount_tokens",
        "/v1/messages;x=1",
        "/V1/messages",
        "/v1/organizations/api_keys",
        "/v1/oauth/token",
        "/v1/skills",
        "/",
        "/mock/journal",
    ],
)
def test_paths(house, key, nothing_forwarded, path):
    """Sent raw: an HTTP library would tidy the path up first."""
    body = packed()
    at = urlsplit(house.gateway)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {at.netloc}\r\nx-api-key: {key}\r\n"
        f"anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    with socket.create_connection((at.hostname, at.port)) as connection:
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ", 2)[1] in (b"403", b"404", b"405"), answer[:300]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "GET"])
def test_methods(house, key, nothing_forwarded, method):
    answer = httpx.request(method, house.gateway + "/v1/messages", headers={"x-api-key": key})
    assert answer.status_code in (403, 404, 405)


def test_probes_need_no_key(house, nothing_forwarded):
    for path in ("/", "/api/hello"):
        assert httpx.head(house.gateway + path).status_code == 200


def test_a_body_of_32_mb_and_one_byte(house, key, nothing_forwarded):
    filler = "x" * (32 * 1024 * 1024 + 1 - len(packed(messages=[{"role": "user", "content": ""}])))
    body = packed(messages=[{"role": "user", "content": filler}])
    assert len(body) == 32 * 1024 * 1024 + 1
    refused(post(house, key, body), 413, "request_too_large")


def test_a_body_that_grows_when_unpacked(house, key, nothing_forwarded):
    bomb = gzip.compress(b"[" + b" " * (200 * 1024 * 1024) + b"]")
    answer = post(house, key, bomb, content_encoding="gzip")
    refused(answer, 413, "request_too_large")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_encoding": "compress"}, 400),
        ({"content_encoding": "gzip, gzip"}, 400),
        ({"content_encoding": "gzip"}, 400),
        ({"content_type": "application/json; charset=utf-16"}, 400),
        ({"content_type": "text/plain"}, None),
    ],
)
def test_encodings(house, key, headers, status):
    answer = post(house, key, packed(), **headers)
    if status:
        refused(answer, status, "invalid_request_error")


def test_two_keys_that_differ(house, key, nothing_forwarded):
    answer = post(house, key, packed(), authorization="Bearer chm_other")
    refused(answer, 401, "authentication_error")
    assert answer.headers["x-should-retry"] == "false"


def test_no_key(house, nothing_forwarded):
    answer = httpx.post(house.gateway + "/v1/messages", content=packed())
    refused(answer, 401, "authentication_error")


def test_a_key_of_another_network(house, nothing_forwarded):
    made = house.virtual_key("elsewhere", cidr="10.0.1.0/24")
    answer = post(house, made["key"], packed(), x_forwarded_for="10.0.1.7")
    refused(answer, 403, "permission_error", "127.0.0.1")


def test_an_operation_that_is_not_allowed(house, key):
    made = house.virtual_key("translator", operation="document_translation")
    allowed = post(house, made["key"], packed(), x_chamberlain_operation="document_translation")
    assert allowed.status_code == 200, allowed.text
    answer = post(house, made["key"], packed(), x_chamberlain_operation="code_generation")
    refused(answer, 403, "permission_error", "code_generation")


def test_a_model_that_is_not_allowed(house, nothing_forwarded):
    made = house.virtual_key("haiku", model="claude-haiku-*")
    answer = post(house, made["key"], packed())
    refused(answer, 403, "permission_error", "claude-sonnet-5-5")
    for fields in (
        {"fallbacks": [{"model": "claude-opus-5-5"}]},
        {
            "tools": [
                {
                    "type": "advisor_20260301",
                    "name": "a",
                    "model": "claude-opus-5-5",
                    "max_uses": 1,
                    "max_tokens": 10,
                }
            ]
        },
    ):
        answer = post(house, made["key"], packed(model="claude-haiku-5-5", **fields))
        assert answer.status_code == 403, answer.text


def test_an_expired_key(house, nothing_forwarded):
    import time

    made = house.virtual_key("short", expires="1s")
    time.sleep(1.1)
    refused(post(house, made["key"], packed()), 401, "authentication_error", "expired")
