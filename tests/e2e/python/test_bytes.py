"""The same request direct and through Chamberlain: same status, same bytes, same headers."""

import gzip
import json

import httpx
import pytest

PLAIN = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "Grüezi, 世界 👋"}],
}
RELEVANT = ("content-type", "request-id", "retry-after", "x-should-retry", "retry-after-ms")

CASES = {
    "plain": ({}, {}),
    "stream": ({"stream": True}, {}),
    "odd values": ({"metadata": {"user_id": "u", "brand_new": {"a": [1, None, 2.5e3]}}}, {}),
    "split bytes": ({"stream": True}, {"x-mock-scenario": "fixed_ids split=1 output_tokens=20"}),
    "pings": ({"stream": True}, {"x-mock-scenario": "fixed_ids pings output_tokens=20"}),
    "thinking": (
        {"stream": True, "thinking": {"type": "adaptive"}},
        {"x-mock-scenario": "fixed_ids thinking=20"},
    ),
    "server tool": (
        {"tools": [{"type": "web_search_20260318", "name": "web_search", "max_uses": 2}]},
        {"x-mock-scenario": "fixed_ids server_tool searches=1"},
    ),
    "cache": (
        {"system": [{"type": "text", "text": "x" * 9000, "cache_control": {"type": "ephemeral"}}]},
        {"x-mock-scenario": "fixed_ids usage input=10 cache_read=2000 output=5"},
    ),
    "refusal": ({}, {"x-mock-scenario": "fixed_ids refusal"}),
    "error 400": ({}, {"x-mock-scenario": "fixed_ids own_limit"}),
    "error 402": ({}, {"x-mock-scenario": "fixed_ids billing"}),
    "error 529": ({}, {"x-mock-scenario": "fixed_ids overloaded should_retry=false"}),
    "tier cap": ({}, {"x-mock-scenario": "fixed_ids tier_cap should_retry=false"}),
    "html": ({}, {"x-mock-scenario": "fixed_ids status=502 html"}),
}


@pytest.fixture(scope="module")
def key(house):
    return house.virtual_key("bytes")["key"]


def send(url, credential, body, headers, path="/v1/messages?beta=true", http2=False):
    headers = {
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        "x-mock-scenario": "fixed_ids",
    } | headers
    with httpx.Client(http1=not http2, http2=http2) as client:
        return client.post(url + path, content=body, headers=headers | credential, timeout=60)


def same(there, here):
    assert here.status_code == there.status_code
    assert here.content == there.content
    for name in RELEVANT:
        assert here.headers.get(name) == there.headers.get(name), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_same_answer(house, mock, key, case, http2):
    fields, headers = CASES[case]
    body = json.dumps(PLAIN | fields, ensure_ascii=False).encode()
    mock.forget()
    there = send(mock.url, {"x-api-key": "any"}, body, headers)
    mock.forget()  # so that what the first one cached is not read by the second
    here = send(house.gateway, {"x-api-key": key}, body, headers, http2=http2)
    same(there, here)


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize("style", ["x-api-key", "bearer"])
def test_both_versions_and_both_ways_to_send_a_key(house, mock, key, version, style):
    def credential(text):
        return {"x-api-key": text} if style == "x-api-key" else {"authorization": f"Bearer {text}"}

    old = {"model": "claude-haiku-4-5-20251001", "temperature": 0.3}  # newer ones refuse it
    body = json.dumps(PLAIN | old).encode()
    headers = {"anthropic-version": version}
    there = send(mock.url, credential("any"), body, headers)
    here = send(house.gateway, credential(key), body, headers)
    same(there, here)
    assert there.status_code == (200 if version == "2023-06-01" else 400)


def test_what_arrives_upstream(house, mock, key):
    body = json.dumps(PLAIN, indent=3).encode()
    headers = [
        ("anthropic-version", "2026-10-21"),
        ("anthropic-beta", "one-2026-01-01,two-2026-01-01"),
        ("anthropic-beta", "three-2026-01-01"),
        ("content-type", "application/json"),
        ("authorization", f"Bearer {key}"),
        ("x-api-key", key),
        ("cookie", "session=1"),
        ("proxy-authorization", "Basic abc"),
        ("anthropic-workspace-id", "wrkspc_other"),
        ("anthropic-user-profile-id", "uprof_other"),
        ("x-forwarded-for", "10.9.9.9"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("x-stainless-timeout", "NOT_GIVEN"),
        ("x-chamberlain-operation", "document_translation"),
    ]
    answer = httpx.post(house.gateway + "/v1/messages?beta=true", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    entry = mock.journal()[-1]
    seen = [(name, value) for name, value in entry["headers"]]
    names = {name for name, _ in seen}
    assert [value for name, value in seen if name == "anthropic-beta"] == [
        "one-2026-01-01,two-2026-01-01",
        "three-2026-01-01",
    ]
    assert entry["query"] == "beta=true"
    assert len(entry["credentials"]) == 1 and entry["credential_elsewhere"] == []
    assert dict(seen)["x-stainless-timeout"] == "NOT_GIVEN"
    assert dict(seen)["accept-encoding"] == "identity"
    assert not names & {
        "cookie",
        "proxy-authorization",
        "anthropic-workspace-id",
        "anthropic-user-profile-id",
        "x-forwarded-for",
        "x-hop",
        "x-chamberlain-operation",
    }
    assert entry["body_bytes"] == len(body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies_arrive_as_they_were_sent(house, mock, key, encoding):
    import zlib

    plain = json.dumps(PLAIN).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    body = packed(plain)
    answer = send(house.gateway, {"x-api-key": key}, body, {"content-encoding": encoding})
    entry = mock.journal()[-1]
    assert entry["body_bytes"] == len(body)
    assert dict(entry["headers"])["content-encoding"] == encoding
    if encoding == "gzip":
        assert answer.status_code == 200
