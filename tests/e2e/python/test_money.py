"""Budgets are hard: under a thousand clients, after every kind of end, to the last cent."""

import asyncio
import json
import threading
import time
from decimal import Decimal
from urllib.parse import urlsplit

import anthropic
import httpx
import pytest
from house import House, real_looking_key
from oracle import billed

MODEL = "claude-haiku-5-5"


def body(text: str = "Count me.", **fields) -> dict:
    return {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    } | fields


def line(house, name: str, window: str = "daily") -> dict:
    return next(
        budget
        for budget in house.budgets()
        if budget["scope"]["name"] == name and budget["window"] == window
    )


def test_every_call_is_priced_exactly(own_house, own_mock):
    key = own_house.virtual_key("exact")["key"]
    client = anthropic.Anthropic(api_key=key, base_url=own_house.gateway, max_retries=0)
    scenarios = [
        "text=Hi",
        "output_tokens=77",
        "usage input=41 cache_write_1h=1200 cache_read=8600 output=90",
        "usage input=100000 output=10",
        "usage input=100001 output=10",
        "usage input=10 cache_write_5m=7 cache_write_1h=5 cache_read=3 output=1",
        "refusal",
        "server_tool searches=0 input=500 cache_write_5m=300",
    ]
    for scenario in scenarios:
        for stream in (False, True):
            request = body(f"[[mock: {scenario}]]" + "x" * 120_000, stream=stream)
            if "server_tool" in scenario:
                request["tools"] = [
                    {"type": "web_search_20260318", "name": "web_search", "max_uses": 1}
                ]
            answer = client.messages.create(**request)
            if stream:
                list(answer)
    own_house.until_idle()
    assert Decimal(line(own_house, "exact")["settled"]) == billed(own_mock.journal())
    calls = own_house.calls()
    assert len(calls) == 2 * len(scenarios)
    assert all(call["certainty"] == "settled" for call in calls)
    assert all(Decimal(call["cost"]) <= Decimal(call["reserved"]) for call in calls)


def test_a_thousand_clients_on_a_budget_for_a_hundred_calls(tmp_path, own_mock):
    """Never above the limit at any sampled instant, all hundred served, nothing held after."""
    # A slow machine may need longer than the usual wait to get through a thousand.
    wait = {"CHAMBERLAIN_QUEUE__WAIT_MAX": "60s"}
    own_house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **wait)
    probe = own_house.virtual_key("probe")["key"]
    with httpx.Client(base_url=own_house.gateway, timeout=60) as client:
        request = body("[[mock: output_tokens=100]]")
        answer = client.post("/v1/messages", json=request, headers=headers(probe))
        assert answer.status_code == 200, answer.text
    own_house.until_idle()
    one = Decimal(line(own_house, "probe")["settled"])
    reserved_each = Decimal(own_house.calls()[0]["reserved"])
    # A hundred calls and the slack that one refined reservation has over its cost.
    refined_slack = Decimal(8) * Decimal("0.10") / 1_000_000
    limit = one * 100 + refined_slack
    assert reserved_each < limit
    key = own_house.virtual_key("crowd", daily=f"{limit:f}")["key"]

    samples, done = [], threading.Event()

    def sample():
        while not done.is_set():
            budget = line(own_house, "crowd")
            samples.append(
                Decimal(budget["settled"])
                + Decimal(budget["unsettled"])
                + Decimal(budget["reserved"])
            )

    sampler = threading.Thread(target=sample)
    sampler.start()

    async def crowd():
        return await asyncio.gather(*(send(own_house.gateway, key, request) for _ in range(1000)))

    answers = asyncio.run(crowd())
    done.set()
    sampler.join()
    own_house.until_idle()

    statuses = [int(answer.split(b" ", 2)[1]) for answer in answers]
    assert set(statuses) == {200, 429}
    head, _, content = next(answer for answer in answers if b" 429 " in answer[:20]).partition(
        b"\r\n\r\n"
    )
    assert json.loads(content)["error"]["type"] == "billing_error"
    assert b"x-should-retry: false" in head and b"retry-after" not in head
    assert statuses.count(200) == 100
    after = line(own_house, "crowd")
    assert Decimal(after["reserved"]) == 0
    assert Decimal(after["settled"]) == one * 100 <= limit
    assert len(samples) > 3 and max(samples) <= limit
    assert own_house.stop() == 0


async def send(gateway: str, key: str, request: dict) -> bytes:
    """One call on a connection of its own; HTTP libraries take long to open a thousand."""
    at, content = urlsplit(gateway), json.dumps(request).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: {at.netloc}\r\nx-api-key: {key}\r\n"
        f"anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(head.encode() + content)
    answer = await reader.read()
    writer.close()
    return answer


def headers(key: str) -> dict:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


@pytest.mark.parametrize("stage", ["headers", "start", "after=3", "stop"])
def test_a_client_that_leaves_is_charged_what_upstream_bills(own_house, own_mock, stage):
    """The answer is read to its end although nobody listens, so the true cost is known."""
    key = own_house.virtual_key("leaver")["key"]
    slow = "slow_headers ms=300" if stage == "headers" else "slow_body ms=20"
    request = body(f"[[mock: {slow} output_tokens=60]]", stream=True)
    with httpx.Client(base_url=own_house.gateway) as client:
        try:
            with client.stream(
                "POST",
                "/v1/messages",
                json=request,
                headers=headers(key),
                timeout=0.1 if stage == "headers" else 30,
            ) as answer:
                seen = 0
                for text in answer.iter_lines():
                    seen += text.startswith("data:")
                    if stage == "start" or (stage == "after=3" and seen > 4):
                        break
                    if stage == "stop" and "message_stop" in text:
                        break
        except httpx.ReadTimeout:
            assert stage == "headers"
    own_house.until_idle()
    budget = line(own_house, "leaver")
    assert Decimal(budget["settled"]) == billed(own_mock.journal()) > 0
    assert (Decimal(budget["reserved"]), Decimal(budget["unsettled"])) == (0, 0)


def test_environments_are_isolated(own_house):
    development = own_house.virtual_key("dev", environment="development", daily="0.0001")["key"]
    production = own_house.virtual_key("prod")["key"]
    with httpx.Client(base_url=own_house.gateway) as client:
        for _ in range(30):
            last = client.post(
                "/v1/messages",
                json=body("[[mock: output_tokens=100]]"),
                headers=headers(development),
            )
        assert last.status_code == 429 and "daily" in last.json()["error"]["message"]
        ok = client.post("/v1/messages", json=body(), headers=headers(production))
        assert ok.status_code == 200


def test_a_refusal_says_what_would_fit(own_house):
    key = own_house.virtual_key("small", daily="0.01")["key"]
    request = body(max_tokens=30_000)
    with httpx.Client(base_url=own_house.gateway) as client:
        refused = client.post("/v1/messages", json=request, headers=headers(key))
        assert refused.status_code == 429
        message = refused.json()["error"]["message"]
        fits = int(
            next(word.strip(".,)") for word in message.split() if word.strip(".,)").isdigit())
        )
        request["max_tokens"] = fits
        assert client.post("/v1/messages", json=request, headers=headers(key)).status_code == 200


def test_thresholds_and_the_pause_at_the_end(own_house):
    own_house.run("budget", "set", "staging", "--daily", "0.000572")  # eleven calls: 99.6 %
    key = own_house.virtual_key("threshold", environment="staging")["key"]
    with httpx.Client(base_url=own_house.gateway) as client:
        for _ in range(20):
            client.post(
                "/v1/messages", json=body("[[mock: output_tokens=100]]"), headers=headers(key)
            )
    time.sleep(0.3)
    records = [json.loads(text)["record"] for text in own_house.run("audit", "export").splitlines()]
    thresholds = [
        record["facts"]["facts"]["threshold_percent"]
        for record in records
        if record["kind"] == "budget.threshold"
    ]
    assert thresholds == [75, 90, 100]


def test_pause_freeze_and_resume_take_effect_at_once(own_house):
    made = own_house.virtual_key("stopped")
    with httpx.Client(base_url=own_house.gateway) as client:

        def status():
            return client.post(
                "/v1/messages", json=body(), headers=headers(made["key"])
            ).status_code

        assert status() == 200
        own_house.run("pause", "production", "--reason", "cost spike")
        assert status() == 503
        own_house.run("resume", "production")
        assert status() == 200
        own_house.run("freeze", made["id"], "--reason", "leaked")
        assert status() in (401, 403)
        own_house.run("virtual", "unfreeze", made["id"])
        assert status() == 200
        own_house.run("virtual", "revoke", made["id"])
        assert status() == 401


def test_the_21st_request_in_a_minute_is_held_or_refused(own_house):
    key = own_house.json("virtual", "create", "--name", "plain", "--environment", "production")[
        "key"
    ]
    with httpx.Client(base_url=own_house.gateway, timeout=30) as client:
        answers = [
            client.post("/v1/messages", json=body(), headers=headers(key)) for _ in range(21)
        ]
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    last = answers[20]
    assert last.status_code == 429 and last.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(last.headers["retry-after"]) <= 61


def test_test_mode_never_reaches_upstream(own_house, own_mock):
    key = own_house.virtual_key("ci", test_mode=True)["key"]
    before = len(own_mock.journal())
    with httpx.Client(base_url=own_house.gateway) as client:
        answer = client.post("/v1/messages", json=body(), headers=headers(key))
    assert answer.status_code == 200
    assert len(own_mock.journal()) == before


def test_what_the_mock_answers_is_no_cost(own_house, own_mock):
    """Neither in what today cost nor in any line; it is told apart and charged to its budgets."""
    tried, real = own_house.virtual_key("tried", test_mode=True), own_house.virtual_key("real")
    with httpx.Client(base_url=own_house.gateway) as client:
        for key in (tried, tried, real):
            answer = client.post("/v1/messages", json=body(), headers=headers(key["key"]))
            assert answer.status_code == 200
    own_house.until_idle()
    bill = billed(own_mock.journal())
    assert Decimal(own_house.run("cost", "today")) == bill > 0
    today = own_house.json("cost", "today")
    assert (today["calls"], today["mock_calls"]) == (1, 2)
    assert Decimal(today["mock_cost"]) == Decimal(line(own_house, "tried")["settled"]) > 0
    top = own_house.json("cost", "top", "--by", "key")
    lines = {row["name"]: (Decimal(row["cost"]), row["mock_calls"]) for row in top["lines"]}
    assert lines == {"real": (bill, 0), "tried": (0, 2)} and Decimal(top["cost"]) == bill
    assert sorted(call["mock"] for call in own_house.calls()) == [False, True, True]
    heading, *rows = (text.split(",") for text in own_house.run("calls", "--csv").splitlines())
    assert sorted(row[heading.index("mock")] for row in rows) == ["false", "true", "true"]
    assert own_house.run("calls").count("completed (mock)") == 2


def test_a_freeze_ends_a_running_stream_and_its_cost_is_what_upstream_bills(own_house, own_mock):
    """The SDK raises at once, and upstream is read on, so the true cost is known."""
    made = own_house.virtual_key("leaked")
    client = anthropic.Anthropic(api_key=made["key"], base_url=own_house.gateway, max_retries=0)
    frozen_at = []

    def freeze():
        own_house.run("freeze", made["id"], "--reason", "leaked")
        frozen_at.append(time.monotonic())

    request = body("[[mock: slow_body ms=100 output_tokens=90]]", stream=True)
    with pytest.raises(anthropic.APIStatusError) as raised:
        for seen, _ in enumerate(client.messages.create(**request)):
            if seen == 3:
                freezer = threading.Thread(target=freeze)
                freezer.start()
    ended_at = time.monotonic()
    freezer.join()
    assert "frozen" in str(raised.value) and "permission_error" in str(raised.value)
    # The command returns a little after it took effect.
    assert ended_at - frozen_at[0] < 1
    own_house.until_idle()
    (call,) = own_house.calls()
    assert (call["outcome"], call["certainty"]) == ("cut", "settled")
    budget = line(own_house, "leaked")
    assert Decimal(budget["settled"]) == billed(own_mock.journal()) > 0
    assert (Decimal(budget["reserved"]), Decimal(budget["unsettled"])) == (0, 0)
