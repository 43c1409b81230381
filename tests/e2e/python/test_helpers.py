"""The newest helpers of the official Python SDK: they work as they do without us, and cost what the
mock bills, to the last picodollar."""

import asyncio
import time
from decimal import Decimal

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool
from house import House, KeepingMock, real_looking_key
from oracle import billed
from pydantic import BaseModel

MODEL = "claude-sonnet-5-5"
COMPACTION = "compact-2026-09-04"
CREDIT = "fallback-credit-2026-06-01"
QUICK = {"CHAMBERLAIN_UPSTREAM__BATCH_LOOK": "20ms"}


class Place(BaseModel):
    name: str
    people: int


@beta_tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"No rain in {city}."


@beta_tool
def clock(zone: str) -> str:
    """Tells the time."""
    return f"Noon in {zone}."


@beta_async_tool
async def later(city: str) -> str:
    """Tells the weather, after a while."""
    await asyncio.sleep(0.01)
    return f"No rain in {city}."


class World:
    """A house, a mock that keeps bodies, and clients with one virtual key."""

    def __init__(self, folder):
        self.mock = KeepingMock(folder)
        self.house = House(folder, upstream=self.mock.url, key=real_looking_key(), **QUICK)
        self.key = self.house.virtual_key("helper")["key"]
        told = {"api_key": self.key, "base_url": self.house.gateway, "max_retries": 0}
        self.sdk = anthropic.Anthropic(**told)
        self.async_sdk = anthropic.AsyncAnthropic(**told)

    def settle(self, calls: int) -> None:
        """So many calls are on record, each at what it was billed, and nothing is held."""
        self.house.until_idle()
        found = self.house.calls()
        assert len(found) == calls, [call["route"] for call in found]
        assert {call["certainty"] for call in found} == {"settled"}
        for window in ("daily", "monthly"):
            budget = self.house.budget("helper", window)
            assert Decimal(budget["settled"]) == billed(self.mock.journal())
            assert (Decimal(budget["reserved"]), Decimal(budget["unsettled"])) == (0, 0)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    assert made.house.stop() == 0
    made.mock.stop()


def ask(text: str, **fields) -> dict:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 300, "messages": messages} | fields


def tool(name: str, turn: int = 1) -> str:
    return f"[[mock: turn={turn} tool={name}]]"


def test_parsing_an_answer_into_a_type(world):
    plain = world.sdk.messages.parse(**ask("Where?"), output_format=Place)
    assert isinstance(plain.parsed_output, Place)
    with world.sdk.messages.stream(**ask("Where?"), output_format=Place) as stream:
        streamed = stream.get_final_message()
    assert isinstance(streamed.parsed_output, Place)
    world.settle(2)


@pytest.mark.parametrize("eager", [False, True])
def test_a_runner_with_tools_that_come_and_go(world, eager):
    """Several tools at once, one added and one taken away in the middle, all in one thread."""
    prompt = tool("weather") + tool("clock", 2) + "[[mock: turn=3 text=Done]]"
    more = {"stream": True, "run_tools_eagerly": True} if eager else {}
    runner = world.sdk.beta.messages.tool_runner(**ask(prompt), tools=[weather], **more)
    turns = []
    for turn in runner:
        turns.append(turn.get_final_message() if eager else turn)
        if len(turns) == 1:
            runner.add_tools(clock)
        if len(turns) == 2:
            runner.remove_tools("weather")
    assert turns[-1].content[-1].text == "Done"
    sent = world.mock.bodies()
    assert [body["thread"]["type"] for body in sent[:2]] == ["create", "continue"]
    changes = [block["type"] for body in sent for message in body["messages"]
               if message["role"] == "system" for block in message["content"]]
    assert {"tool_addition", "tool_removal"} <= set(changes)
    world.settle(len(sent))


def test_a_runner_that_compacts(world):
    prompt = tool("weather") + "[[mock: turn=2 text=Done]]"
    runner = world.sdk.beta.messages.tool_runner(
        **ask(prompt), tools=[weather], betas=[COMPACTION]
    )
    reasons = []
    for turn in runner:
        reasons.append(turn.stop_reason)
        if len(reasons) == 1:
            runner.compact_before_next_turn()
    assert reasons == ["tool_use", "compaction", "end_turn"]
    compacting = [body for body in world.mock.bodies() if body.get("compaction")]
    assert len(compacting) == 1
    world.settle(3)


def test_an_async_runner(world):
    async def run() -> list:
        runner = world.async_sdk.beta.messages.tool_runner(
            **ask(tool("later") + "[[mock: turn=2 text=Done]]"), tools=[later], stream=True
        )
        return [await turn.get_final_message() async for turn in runner]

    turns = asyncio.run(run())
    assert [turn.stop_reason for turn in turns] == ["tool_use", "end_turn"]
    world.settle(2)


def test_a_stream_that_is_left_in_a_runner(world):
    """The caller breaks out of the second turn's stream: it is paid for, and nothing runs on."""
    slow = "[[mock: turn=2 output_tokens=100 slow_body ms=20]]"
    runner = world.sdk.beta.messages.tool_runner(
        **ask(tool("weather") + slow), tools=[weather], stream=True
    )
    next(runner).get_final_message()
    second = next(runner)
    for event in second:
        if event.type == "content_block_delta":
            break
    second.close()
    runner.close()
    world.settle(2)


def test_a_fallback_credit_is_redeemed(world):
    refused = world.sdk.beta.messages.create(**ask("[[mock: refusal]]"), betas=[CREDIT])
    credit = refused.stop_details.fallback_credit_token
    answered = world.sdk.beta.messages.create(
        **ask("Again.", fallback_credit_token=credit), betas=[CREDIT]
    )
    assert answered.usage.fallback_credit.status.type == "redeemed"
    world.settle(2)


def test_who_pays_is_not_the_callers_to_say(world):
    answer = world.sdk.beta.messages.with_raw_response.create(
        **ask("hi"), user_profile_id="uprof_1", workspace_id="wrkspc_1"
    )
    warning = answer.headers["x-chamberlain-warning"]
    assert "anthropic-user-profile-id" in warning and "anthropic-workspace-id" in warning
    [entry] = world.mock.journal()
    assert not {name for name, _ in entry["headers"]} & {
        "anthropic-user-profile-id",
        "anthropic-workspace-id",
    }
    world.settle(1)


def test_raw_answers_are_the_mocks_bytes(world):
    direct = anthropic.Anthropic(api_key="any", base_url=world.mock.url, max_retries=0)
    for stream in (False, True):
        body = ask("[[mock: fixed_ids thinking=40 output_tokens=200]]", stream=stream)
        seen = []
        for sdk in (direct, world.sdk):
            with sdk.messages.with_streaming_response.create(
                **body, thinking={"type": "adaptive"}
            ) as answer:
                seen.append(b"".join(answer.iter_bytes()))
        assert seen[0] == seen[1] and len(seen[0]) > 500


def test_batches_of_the_async_client(world):
    async def run() -> dict:
        batches = world.async_sdk.messages.batches
        items = [{"custom_id": f"c{n}", "params": ask(f"[[mock: output_tokens={n}]]")}
                 for n in (10, 20)]
        made = await batches.create(requests=items)
        deadline = time.monotonic() + 60
        while (await batches.retrieve(made.id)).processing_status != "ended":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        return {line.custom_id: line.result.message.usage.output_tokens
                async for line in await batches.results(made.id)}

    assert asyncio.run(run()) == {"c10": 10, "c20": 20}
    deadline = time.monotonic() + 60
    while [batch["state"] for batch in world.house.json("batches")["batches"]] != ["settled"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    spent = world.house.budget("helper", "daily")
    assert Decimal(spent["settled"]) == billed(world.mock.journal())
