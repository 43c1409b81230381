"""Streams that lose one of their ends: what the client is told, and what is on record of the cost."""

import json
from decimal import Decimal

import httpx
import pytest
from house import House, real_looking_key
from oracle import billed

MODEL = "claude-haiku-5-5"


def body(scenario: str, **fields) -> dict:
    text = f"[[mock: {scenario}]]"
    return {
        "model": MODEL,
        "max_tokens": 2_000,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
    } | fields


def read(
    house, key: str, request: dict, deltas: int | None = None, after_each=lambda seen: None
) -> tuple[list[dict], bool]:
    """The events of a stream and whether it broke off; a client with `deltas` leaves after them."""
    events, seen = [], 0
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    try:
        with (
            httpx.Client(base_url=house.gateway, timeout=30) as client,
            client.stream("POST", "/v1/messages", json=request, headers=headers) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    events.append(json.loads(line[5:]))
                    seen += events[-1]["type"] == "content_block_delta"
                    after_each(events)
                if deltas is not None and seen >= deltas:
                    return events, False
    except httpx.RemoteProtocolError:
        return events, True
    return events, False


@pytest.mark.parametrize(
    ("scenario", "certainty"),
    [
        ("cut after=3", "estimated"),
        ("error_mid_stream after=3", "estimated"),
        ("cut=start", "estimated"),
        ("cut=headers", "unsettled"),
        ("cut=stop", "estimated"),
    ],
)
def test_when_upstream_breaks_off_the_client_is_told_and_the_record_says_how_sure_the_cost_is(
    own_house, own_mock, scenario, certainty
):
    key = own_house.virtual_key("reader")["key"]
    events, _ = read(own_house, key, body(f"{scenario} output_tokens=400"))
    told = events[-1]
    assert told["type"] == "error" and told["error"]["type"] in ("api_error", "overloaded_error")
    own_house.until_idle()
    (call,) = own_house.calls()
    assert (call["outcome"], call["certainty"]) == ("cut", certainty)
    bill, cost, reserved = billed(own_mock.journal()), Decimal(call["cost"]), call["reserved"]
    assert 0 < bill <= cost <= Decimal(reserved)
    if certainty == "unsettled":
        assert call["cost"] == reserved
    is_told_apart(own_house, call)


@pytest.mark.parametrize("drain", ["0s", "1s"])
def test_a_client_that_leaves_is_charged_an_estimate_where_the_end_was_not_reached(
    tmp_path, own_mock, drain
):
    """The answer never ends, so reading on learns nothing; upstream is hung up on."""
    house = House(
        tmp_path,
        upstream=own_mock.url,
        key=real_looking_key(),
        CHAMBERLAIN_UPSTREAM__DRAIN_TIMEOUT=drain,
    )
    try:
        key = house.virtual_key("leaver")["key"]
        read(house, key, body("stall after=3 output_tokens=400"), deltas=3)
        house.until_idle()
        (call,) = house.calls()
        assert (call["outcome"], call["certainty"]) == ("client_left", "estimated")
        assert 0 < billed(own_mock.journal()) <= Decimal(call["cost"]) < Decimal(call["reserved"])
        is_told_apart(house, call)
    finally:
        assert house.stop() == 0


def test_a_client_that_leaves_is_charged_exactly_where_the_end_was_reached(own_house, own_mock):
    key = own_house.virtual_key("leaver")["key"]
    read(own_house, key, body("slow_body ms=20 output_tokens=60"), deltas=2)
    own_house.until_idle()
    (call,) = own_house.calls()
    assert (call["outcome"], call["certainty"]) == ("client_left", "settled")
    assert Decimal(call["cost"]) == billed(own_mock.journal()) > 0
    is_told_apart(own_house, call)


def is_told_apart(house, call: dict) -> None:
    """What `calls` and `cost` show of the only call says how sure its cost is."""
    certainty = call["certainty"]
    mark = "" if certainty == "settled" else f" ({certainty})"
    (line,) = house.run("calls").splitlines()[-1:]
    assert f"{call['outcome']}{mark}" in line.split("\t"), line
    heading, row = (line.split(",") for line in house.run("calls", "--csv").splitlines())
    assert row[heading.index("certainty")] == certainty
    for certain in ("settled", "estimated", "unsettled"):
        found = house.json("calls", "--certainty", certain)["calls"]
        assert len(found) == (certain == certainty)
    today = house.json("cost", "today")
    assert today["cost"] == call["cost"]
    for part in ("estimated", "unsettled"):
        expected = Decimal(call["cost"]) if part == certainty else 0
        assert Decimal(today[part]) == expected


def test_a_pause_that_ends_calls_ends_a_running_stream(own_house, own_mock):
    key = own_house.virtual_key("paused")["key"]

    def pause(seen: list[dict]) -> None:
        if len(seen) == 4:
            own_house.run("pause", "production", "--reason", "a spike", "--end-calls")

    request = body("slow_body ms=100 output_tokens=400")
    events, is_broken = read(own_house, key, request, after_each=pause)
    assert is_broken and events[-1]["error"]["type"] == "api_error"
    assert events[-1]["error"]["details"]["error_code"] == "paused"
    assert "a spike" in events[-1]["error"]["message"]
    own_house.until_idle()
    (call,) = own_house.calls()
    assert (call["outcome"], call["certainty"]) == ("cut", "settled")
    assert Decimal(call["cost"]) == billed(own_mock.journal()) > 0


def test_a_key_that_asks_for_it_gets_what_is_left(own_house, own_mock):
    """Half an answer for the rest of a budget, which is then charged and not a cent more."""
    made = own_house.virtual_key("short", daily="0.002", on_shortage="cut")
    assert own_house.json("virtual", "show", made["id"])["policy"]["on_shortage"] == "cut"
    request = body("slow_body ms=1 output_tokens=30000", max_tokens=30_000)
    events, is_broken = read(own_house, made["key"], request)
    assert is_broken and events[-1]["error"]["type"] == "billing_error"
    assert events[-1]["error"]["details"]["error_code"] == "budget_cut"
    assert any(event["type"] == "content_block_delta" for event in events)
    own_house.until_idle()
    (call,) = own_house.calls()
    assert (call["outcome"], call["certainty"]) == ("cut", "unsettled")
    assert Decimal(call["cost"]) == Decimal(call["reserved"]) == Decimal("0.002")
    assert 0 < billed(own_mock.journal()) <= Decimal("0.002")
    own_house.run("virtual", "update", made["id"], "--on-shortage", "refuse", "--daily", "0.004")
    events, _ = read(own_house, made["key"], request)
    assert events == [] and len(own_house.calls()) == 1


def test_a_client_that_leaves_leaves_the_rest_of_what_was_left(tmp_path, own_mock):
    """A stream that was begun with all that was left, and whose client leaves, costs what it may
    have cost and no more; the others go on with the rest."""
    house = House(
        tmp_path,
        upstream=own_mock.url,
        key=real_looking_key(),
        CHAMBERLAIN_UPSTREAM__DRAIN_TIMEOUT="1s",
    )
    try:
        made = house.virtual_key("short", daily="0.01", on_shortage="cut")
        request = body("stall after=3 output_tokens=400", max_tokens=30_000)
        read(house, made["key"], request, deltas=3)
        house.until_idle()
        (call,) = house.calls()
        assert (call["outcome"], call["certainty"]) == ("client_left", "estimated")
        assert Decimal(call["reserved"]) == Decimal("0.01")
        assert 0 < billed(own_mock.journal()) <= Decimal(call["cost"]) < Decimal("0.005")
        events, is_broken = read(house, made["key"], body("output_tokens=5", max_tokens=30_000))
        assert events[-1]["type"] == "message_stop" and not is_broken
    finally:
        assert house.stop() == 0
