"""Batches through the official SDK: bounded, one's own alone, settled without the client."""

import json
import random
import time
from decimal import Decimal

import anthropic
import httpx
import pytest
from house import House, Mock, real_looking_key
from oracle import billed

MODEL = "claude-haiku-5-5"
QUICK = {"CHAMBERLAIN_UPSTREAM__BATCH_LOOK": "20ms"}
PATH = "/v1/messages/batches"


def item(custom_id: str, text: str = "Label: pears", **fields) -> dict:
    params = {
        "model": MODEL,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": text}],
    }
    return {"custom_id": custom_id, "params": params | fields}


@pytest.fixture
def world(tmp_path):
    """A house that looks at batches often, and a mock of its own."""
    mock = Mock(tmp_path)
    house = House(tmp_path, upstream=mock.url, key=real_looking_key(), **QUICK)
    yield house, mock
    house.stop()
    mock.stop()


def client(house, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=house.gateway, max_retries=0)


def daily(house, name: str) -> dict:
    return next(
        budget
        for budget in house.budgets()
        if budget["scope"]["name"] == name and budget["window"] == "daily"
    )


def until(what: str, is_so) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)


def kinds(house) -> list[str]:
    """The kinds of all audit records."""
    records = [json.loads(line) for line in house.run("audit", "export").splitlines()]
    return [record["record"]["kind"] for record in records]


def states(house) -> list[str]:
    return [batch["state"] for batch in house.json("batches")["batches"]]


def test_the_life_of_a_batch_with_the_sdk(world):
    house, mock = world
    sdk = client(house, house.virtual_key("life")["key"])
    items = [
        item("a", "[[mock: output_tokens=33]]"),
        item("b", "[[mock: overloaded]]"),
        item("c", "[[mock: usage input=100 cache_read=50 cache_write_1h=20 output=9]]",
             cache_control={"type": "ephemeral", "ttl": "1h"}),
    ]
    made = sdk.messages.batches.create(requests=items)
    assert (made.type, made.processing_status) == ("message_batch", "in_progress")
    assert made.request_counts.processing == 3
    until("the end", lambda: sdk.messages.batches.retrieve(made.id).processing_status == "ended")
    ended = sdk.messages.batches.retrieve(made.id)
    assert ended.results_url.startswith(f"{house.gateway}{PATH}/{made.id}/results")
    # The SDK follows the link; it leads to us, with a key that only we know.
    found = {line.custom_id: line.result.type for line in sdk.messages.batches.results(made.id)}
    assert found == {"a": "succeeded", "b": "errored", "c": "succeeded"}
    until("the true-up", lambda: states(house) == ["settled"])
    spent = daily(house, "life")
    truth = billed(mock.journal())
    assert truth > 0
    assert (Decimal(spent["settled"]), Decimal(spent["unsettled"])) == (truth, 0)
    listed = sdk.messages.batches.list(limit=10).data
    assert [batch.id for batch in listed] == [made.id]
    assert listed[0].results_url == ended.results_url
    call = next(call for call in house.calls() if call["route"] == "batch_create")
    assert (call["certainty"], Decimal(call["cost"])) == ("settled", truth)
    assert sdk.messages.batches.delete(made.id).type == "message_batch_deleted"
    assert sdk.messages.batches.list().data == []
    with pytest.raises(anthropic.NotFoundError):
        sdk.messages.batches.retrieve(made.id)
    for kind in ("batch.created", "call.trued_up", "batch.deleted"):
        assert kinds(house).count(kind) == 1, kind


def test_a_canceled_batch_costs_what_was_answered_and_an_expired_one_too(world):
    house, mock = world
    sdk = client(house, house.virtual_key("half")["key"])
    items = [item("done"), item("late", "[[mock: slow_headers ms=3600000]]")]
    canceled = sdk.messages.batches.create(requests=items)
    with pytest.raises(anthropic.BadRequestError) as refused:
        sdk.messages.batches.delete(canceled.id)
    assert refused.value.response.headers["x-chamberlain-code"] == "batch_not_settled"
    assert sdk.messages.batches.cancel(canceled.id).processing_status == "canceling"
    expired = sdk.messages.batches.create(requests=[item("done"), item("never", "[[mock: hang]]")])
    mock.advance(25 * 3600)
    until("both", lambda: states(house) == ["settled", "settled"])
    truth = billed(mock.journal())
    spent = daily(house, "half")
    assert (Decimal(spent["settled"]), Decimal(spent["unsettled"])) == (truth, 0)
    results = {
        batch.id: sorted(line.result.type for line in sdk.messages.batches.results(batch.id))
        for batch in (canceled, expired)
    }
    assert results == {
        canceled.id: ["canceled", "succeeded"],
        expired.id: ["expired", "succeeded"],
    }


def test_two_tenants_see_their_own_alone(world):
    house, _ = world
    mine = client(house, house.virtual_key("mine")["key"])
    theirs = client(house, house.virtual_key("theirs")["key"])
    made = mine.messages.batches.create(requests=[item("a")])
    assert theirs.messages.batches.list().data == []
    said = []
    for batch in (made.id, "msgbatch_01Nobody"):
        for act in (
            theirs.messages.batches.retrieve,
            theirs.messages.batches.cancel,
            theirs.messages.batches.delete,
            theirs.messages.batches.results,
        ):
            with pytest.raises(anthropic.NotFoundError) as refused:
                act(batch)
            said.append(refused.value.response.json()["error"]["message"].replace(batch, "ID"))
    assert len(set(said)) == 1, said
    assert [batch.id for batch in mine.messages.batches.list().data] == [made.id]


def test_a_budget_holds_a_batch_to_the_last_token_and_gets_the_rest_back(world):
    house, mock = world
    items = [item(f"n{number}") for number in range(20)]
    probe = client(house, house.virtual_key("probe")["key"])
    probe.messages.batches.create(requests=items)
    reserved = Decimal(house.calls()[0]["reserved"])
    exact = house.virtual_key("exact", daily=f"{reserved:f}")["key"]
    short = house.virtual_key("short", daily=f"{reserved - Decimal('0.000000000001'):f}")["key"]
    with pytest.raises(anthropic.RateLimitError) as refused:
        client(house, short).messages.batches.create(requests=items)
    assert refused.value.response.headers["x-chamberlain-code"] == "budget_exceeded"
    mock.fail(f"{PATH}/", "GET", 500, 5)
    made = client(house, exact).messages.batches.create(requests=items)
    spent = daily(house, "exact")
    charged = Decimal(spent["unsettled"]) + Decimal(spent["settled"]) + Decimal(spent["reserved"])
    assert charged <= reserved
    # Nobody asks for anything, and upstream fails at first.
    until("the true-up", lambda: states(house) == ["settled", "settled"])
    assert Decimal(daily(house, "exact")["settled"]) == billed(mock.journal()) / 2
    again = client(house, exact).messages.create(
        model=MODEL, max_tokens=10, messages=[{"role": "user", "content": "hi"}]
    )
    assert again.content and made.id


def test_what_batches_do_not_take_is_refused_with_the_item(world):
    house, mock = world
    key = house.virtual_key("strict")["key"]
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=house.gateway, headers=headers) as http:
        for fields, code in [
            ({"stream": True}, "malformed_request"),
            ({"speed": "fast"}, "malformed_request"),
            ({"max_tokens": 0}, "malformed_request"),
            ({"fallbacks": [{"model": MODEL}]}, "malformed_request"),
            ({"thread": {"type": "create"}}, "malformed_request"),
            ({"model": "claude-nine"}, "unknown_model"),
        ]:
            body = {"requests": [item("fine"), item("bad-one", **fields)]}
            answer = http.post(PATH, json=body)
            assert answer.headers["x-chamberlain-code"] == code, answer.text
            message = answer.json()["error"]["message"]
            assert "requests.1" in message and "bad-one" in message, message
        for bad in ({}, {"requests": []}, {"requests": [item("a"), item("a")]}):
            assert http.post(PATH, json=bad).status_code == 400
    assert all(entry["path"] != PATH for entry in mock.journal()), "nothing of it left"


def test_a_submission_that_nobody_heard_of_stays_charged(world):
    house, mock = world
    key = house.virtual_key("lost")["key"]
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01",
               "x-mock-scenario": "reset billed=true"}
    with httpx.Client(base_url=house.gateway, headers=headers) as http:
        answer = http.post(PATH, json={"requests": [item("a")]})
    assert answer.headers["x-chamberlain-code"] == "batch_lost"
    call = house.calls()[0]
    assert (call["certainty"], call["cost"]) == ("unsettled", call["reserved"])
    assert Decimal(call["cost"]) >= billed(mock.journal()) > 0
    assert states(house) == []
    house.run("write-off", call["id"], "--cost", f"{billed(mock.journal()):f}", "--reason", "seen")
    assert Decimal(daily(house, "lost")["settled"]) == billed(mock.journal())


def test_kills_at_any_moment_settle_every_batch_once(tmp_path):
    chance = random.Random(20261123)
    mock = Mock(tmp_path, "--batch-delay-ms", "150")
    key = real_looking_key()
    house = House(tmp_path, upstream=mock.url, key=key, **QUICK)
    virtual = house.virtual_key("kills")["key"]
    headers = {"x-api-key": virtual, "anthropic-version": "2023-06-01"}
    for _ in range(12):
        body = {"requests": [item(f"n{number}") for number in range(chance.randint(1, 30))]}
        try:
            with httpx.Client(base_url=house.gateway, headers=headers, timeout=10) as http:
                for _ in range(chance.randint(1, 3)):
                    assert http.post(PATH, json=body).status_code == 200
        except httpx.HTTPError:
            pass
        time.sleep(chance.uniform(0, 0.4))
        house.kill()
        house = House(tmp_path, upstream=mock.url, key=key, **QUICK)
        spent = daily(house, "kills")
        assert Decimal(spent["reserved"]) == 0
        charged = Decimal(spent["settled"]) + Decimal(spent["unsettled"])
        assert charged >= billed(mock.journal()), "a crash refunded"
    until("all of them", lambda: set(states(house)) == {"settled"})
    spent = daily(house, "kills")
    truth = billed(mock.journal())
    assert (Decimal(spent["settled"]), Decimal(spent["unsettled"])) == (truth, 0)
    assert kinds(house).count("call.trued_up") == len(states(house))
    house.run("audit", "verify")
    house.stop()
    mock.stop()


def test_who_stops_a_key_is_told_of_its_open_batches(own_house):
    """They run on; a person who freezes a key for what it spends should know."""
    made = own_house.virtual_key("busy")
    quiet = own_house.virtual_key("quiet")
    for _ in range(2):
        client(own_house, made["key"]).messages.batches.create(requests=[item("a")])
    for verb, flags in [("freeze", ["--reason", "a leak"]), ("revoke", [])]:
        told = own_house.attempt("virtual", verb, made["id"], *flags)
        assert told.returncode == 0
        assert "whose cost is not known yet: 2" in told.stderr, told.stderr
        told = own_house.attempt("virtual", verb, quiet["id"], *flags)
        assert told.returncode == 0 and "not known yet" not in told.stderr
