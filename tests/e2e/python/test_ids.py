"""What Anthropic keeps for one virtual key is out of reach of every other, after a kill too."""

import json

import anthropic
import httpx
import pytest
from anthropic import beta_tool
from house import House, KeepingMock, Mock, real_looking_key

MODEL = "claude-sonnet-5-5"
BETAS = "message-threads-2026-08-12"


@pytest.fixture
def keeping_mock(tmp_path):
    process = KeepingMock(tmp_path)
    yield process
    process.stop()


@pytest.fixture
def keeping_house(tmp_path, keeping_mock):
    process = House(tmp_path, upstream=keeping_mock.url, key=real_looking_key())
    yield process
    assert process.stop() == 0


class Caller:
    """A virtual key and what it asks."""

    def __init__(self, house: House, key: str):
        self.client = httpx.Client(
            base_url=house.gateway,
            headers={"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": BETAS},
        )

    def ask(self, content="Hi.", **fields) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        body = {"model": MODEL, "max_tokens": 50, "messages": messages} | fields
        return self.client.post("/v1/messages", json=body)

    def create(self) -> str:
        answer = self.ask(thread={"type": "create"})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def go_on(self, message: str) -> httpx.Response:
        return self.ask(thread={"type": "continue", "previous_message_id": message})

    def upload(self) -> str:
        answer = self.client.post("/v1/files", files={"file": ("a.txt", b"Hello", "text/plain")})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def read(self, file: str) -> httpx.Response:
        document = {"type": "document", "source": {"type": "file", "file_id": file}}
        return self.ask(content=[document, {"type": "text", "text": "Sum it up."}])

    def work_in(self, container: str) -> httpx.Response:
        fetch = {"type": "web_fetch_20260209", "name": "web_fetch"}
        return self.ask(container=container, tools=[fetch])


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["details"]["error_code"], error["message"]


def is_unknown(answer: httpx.Response, code: str, unknown: httpx.Response, names: tuple) -> None:
    """The answer is the one to an id that does not exist."""
    status, found, message = refusal(answer)
    assert (status, found) == (404, code)
    assert refusal(unknown) == (404, code, message.replace(*names))


def test_two_keys_try_each_others_ids(tmp_path):
    mock = Mock(tmp_path)
    upstream_key = real_looking_key()
    house = House(tmp_path, upstream=mock.url, key=upstream_key)
    keys = [house.virtual_key(name)["key"] for name in ("ada", "bob")]
    ada, bob = (Caller(house, key) for key in keys)
    thread, file = ada.create(), ada.upload()
    assert ada.read(file).status_code == 200
    for _ in range(2):
        before = len(mock.journal())
        is_unknown(bob.go_on(thread), "thread_not_found", bob.go_on("msg_none"), (thread, "msg_none"))
        is_unknown(bob.read(file), "unknown_resource", bob.read("file_none"), (file, "file_none"))
        for caller in (ada, bob):
            assert refusal(caller.work_in("container_none"))[1] == "unknown_resource"
        assert len(mock.journal()) == before, "what was refused never left"
        house.kill()
        house = House(tmp_path, upstream=mock.url, key=upstream_key)
        ada, bob = (Caller(house, key) for key in keys)
    answer = ada.go_on(thread)
    assert answer.status_code == 200, answer.text
    assert ada.go_on(answer.json()["id"]).status_code == 200
    assert ada.read(file).status_code == 200
    # Upstream's own answers about threads pass as they are.
    again = ada.go_on(thread)
    assert (again.status_code, "x-chamberlain-code" in again.headers) == (400, False)
    assert again.json()["error"]["details"]["error_code"] == "thread_already_continued"
    records = [
        json.loads(line)
        for line in house.run("audit", "export").splitlines()
        if "security.foreign_id" in line
    ]
    assert len(records) == 4
    assert house.stop() == 0
    assert mock.stop() == 0


@beta_tool
def weather(city: str) -> str:
    """Tells the weather.

    Args:
        city: Where.
    """
    return f"No rain in {city}."


def run_tools(client: anthropic.Anthropic, stream: bool):
    runner = client.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=200,
        tools=[weather],
        messages=[{"role": "user", "content": "[[mock: tool=weather]] Rain?"}],
        stream=stream,
    )
    if not stream:
        return list(runner)
    return [turn.get_final_message() for turn in runner]


def test_the_tool_runner_goes_on_with_its_thread(keeping_house, keeping_mock):
    key = keeping_house.virtual_key("runner")["key"]
    client = anthropic.Anthropic(api_key=key, base_url=keeping_house.gateway, max_retries=0)
    for stream in (False, True):
        keeping_mock.forget()
        turns = run_tools(client, stream)
        assert [turn.stop_reason for turn in turns] == ["tool_use", "end_turn"]
        sent = keeping_mock.bodies()
        assert [body["thread"]["type"] for body in sent] == ["create", "continue"]
        assert sent[1]["thread"]["previous_message_id"] == turns[0].id
        assert "tools" not in sent[1] and len(sent[1]["messages"]) == 1
        assert turns[1].usage.input_tokens > turns[0].usage.input_tokens


def test_the_tool_runner_begins_anew_when_its_thread_is_gone(keeping_house, keeping_mock):
    """`thread_not_found` of ours is Anthropic's own word: the SDK sends everything again."""
    ada, bob = (
        anthropic.Anthropic(
            api_key=keeping_house.virtual_key(name)["key"], base_url=keeping_house.gateway, max_retries=0
        )
        for name in ("ada", "bob")
    )
    thread = ada.beta.messages.thread(model=MODEL, max_tokens=50)
    first = thread.send({"role": "user", "content": "Hi."})
    other = bob.beta.messages.thread(model=MODEL, max_tokens=50)
    other.send({"role": "user", "content": "Hi."})
    other._state._thread.previous_message_id = first.id
    second = other.send({"role": "user", "content": "More."})
    assert second.stop_reason == "end_turn"
    threads = [body["thread"]["type"] for body in keeping_mock.bodies()]
    assert threads == ["create", "create", "create"], "the foreign turn was not gone on with"
