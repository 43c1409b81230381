"""The official Python SDK through Chamberlain: everything behaves as it does without it."""

import anthropic
import pytest

MODEL = "claude-sonnet-5-5"
TOOL = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def key(house):
    return house.virtual_key("sdk")["key"]


@pytest.fixture(scope="module")
def client(house, key):
    return anthropic.Anthropic(api_key=key, base_url=house.gateway, max_retries=0)


@pytest.fixture(scope="module")
def direct(mock):
    return anthropic.Anthropic(api_key="any", base_url=mock.url, max_retries=0)


def ask(text: str = "Say hello.", **fields):
    return {
        "model": MODEL,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
    } | fields


def test_a_plain_message(client):
    message = client.messages.create(**ask("[[mock: text=Hello]]"))
    assert message.content[0].text == "Hello"
    assert message.usage.output_tokens == 2
    assert message._request_id.startswith("req_")


def test_the_streaming_helper(client):
    with client.messages.stream(**ask("[[mock: output_tokens=40]]")) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == message.content[0].text
    assert len(pieces) > 1
    assert message.usage.output_tokens == 40


def test_raw_stream_events(client):
    kinds = [event.type for event in client.messages.create(**ask(stream=True))]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]


def test_tools_there_and_back(client):
    first = client.messages.create(**ask("[[mock: tool]] Rain?", tools=[TOOL]))
    use = next(block for block in first.content if block.type == "tool_use")
    assert (first.stop_reason, use.name) == ("tool_use", "weather")
    second = client.messages.create(
        **ask(tools=[TOOL])
        | {
            "messages": [
                {"role": "user", "content": "Rain?"},
                {"role": "assistant", "content": [block.to_dict() for block in first.content]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": use.id, "content": "No rain."}
                    ],
                },
            ]
        }
    )
    assert second.stop_reason == "end_turn"


def test_streamed_tools(client):
    with client.messages.stream(**ask("[[mock: tool]]", tools=[TOOL])) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use"


def test_thinking(client):
    with client.messages.stream(
        **ask("[[mock: thinking=30 text=Yes]]", thinking={"type": "adaptive"})
    ) as stream:
        message = stream.get_final_message()
    assert message.content[0].type == "thinking" and message.content[0].signature
    assert message.content[-1].text == "Yes"


def test_count_tokens_says_what_the_call_reports(client):
    body = ask("How many?")
    message = client.messages.create(**body)
    del body["max_tokens"]
    assert client.messages.count_tokens(**body).input_tokens == message.usage.input_tokens


def test_models(client, direct):
    assert [model.id for model in client.models.list(limit=100)] == [
        model.id for model in direct.models.list(limit=100)
    ]
    assert client.models.retrieve(MODEL).to_dict() == direct.models.retrieve(MODEL).to_dict()


def test_the_async_client(house, key):
    import asyncio

    async def go():
        async with anthropic.AsyncAnthropic(api_key=key, base_url=house.gateway) as client:
            return await asyncio.gather(*(client.messages.create(**ask()) for _ in range(20)))

    assert len(asyncio.run(go())) == 20


@pytest.mark.parametrize("status", [400, 402, 403, 404, 409, 413, 422, 429, 500, 503, 504, 529])
def test_upstreams_errors_raise_the_same_class(client, direct, status):
    # `should_retry=false` keeps Chamberlain from retrying what it may, so this stays quick.
    body = ask(f"[[mock: status={status} should_retry=false]]")
    with pytest.raises(anthropic.APIStatusError) as there:
        direct.messages.create(**body)
    with pytest.raises(anthropic.APIStatusError) as here:
        client.messages.create(**body)
    assert type(here.value) is type(there.value)
    assert here.value.status_code == there.value.status_code == status
    assert here.value.body["error"] == there.value.body["error"]


def test_a_rejected_upstream_key_is_not_the_clients_fault(client):
    with pytest.raises(anthropic.InternalServerError) as raised:
        client.messages.create(**ask("[[mock: revoked]]"))
    assert "upstream" in raised.value.message


def test_a_rate_limit_upstream_is_waited_out(client, mock):
    before = len(mock.journal())
    message = client.messages.create(**ask("[[mock: rate_limited retry_after=1 times=1 id=wait]]"))
    assert message.stop_reason == "end_turn"
    seen = [entry for entry in mock.journal()[before:] if entry["path"] == "/v1/messages"]
    assert [entry["status"] for entry in seen] == [429, 200]


def test_the_sdks_own_retry_makes_a_new_call(house, key, mock):
    client = anthropic.Anthropic(api_key=key, base_url=house.gateway, max_retries=1)
    message = client.messages.create(**ask("[[mock: status=500 times=1 id=again]]"))
    assert message.stop_reason == "end_turn"
    retried = [entry for entry in mock.journal() if "id=again" in (entry["scenario"] or "")]
    counts = [dict(entry["headers"])["x-stainless-retry-count"] for entry in retried]
    assert counts == ["0", "1"], "an error that may have been processed is repeated by the client"


def test_an_error_in_the_middle_of_a_stream_reaches_the_client(client):
    with pytest.raises(anthropic.APIStatusError):
        with client.messages.stream(**ask("[[mock: error_mid_stream after=3]]")) as stream:
            stream.get_final_message()


def test_a_broken_stream_is_not_taken_for_a_whole_one(client):
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(**ask("[[mock: cut after=3]]")) as stream:
            stream.get_final_message()


def test_a_clients_timeout_is_its_own(house, key):
    client = anthropic.Anthropic(api_key=key, base_url=house.gateway, max_retries=0, timeout=0.5)
    with pytest.raises(anthropic.APITimeoutError):
        client.messages.create(**ask("[[mock: slow_headers ms=3000]]"))


@pytest.mark.parametrize(
    ("presented", "word"),
    [("chm_0000000000000000_" + "A" * 43, "virtual key"), ("nonsense", "virtual key")],
)
def test_an_unknown_key_is_an_authentication_error(house, presented, word):
    client = anthropic.Anthropic(api_key=presented, base_url=house.gateway)
    with pytest.raises(anthropic.AuthenticationError) as raised:
        client.messages.create(**ask())
    assert word in raised.value.message
    assert raised.value.response.headers["x-should-retry"] == "false"
