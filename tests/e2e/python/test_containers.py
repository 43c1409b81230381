"""Containers, and files that code made in them: the virtual key's own, after a kill too."""

import json

import anthropic
import pytest
from house import House, Mock, real_looking_key

MODEL = "claude-sonnet-5-5"
FREE = [
    {"type": "code_execution_20260521", "name": "code_execution"},
    {"type": "web_fetch_20260318", "name": "web_fetch"},
]


class Caller:
    """A virtual key that has code run."""

    def __init__(self, house: House, key: str):
        self.key = key
        self.client = anthropic.Anthropic(api_key=key, base_url=house.gateway, max_retries=0)

    def run(self, text: str, stream: bool, **fields) -> anthropic.types.Message:
        messages = [{"role": "user", "content": text}]
        asked = {"model": MODEL, "max_tokens": 200, "messages": messages, "tools": FREE} | fields
        if not stream:
            return self.client.messages.create(**asked)
        with self.client.messages.stream(**asked) as events:
            return events.get_final_message()


def made(message: anthropic.types.Message) -> list[str]:
    """The files in the results of code."""
    results = [block for block in message.content if block.type.endswith("_tool_result")]
    return [output.file_id for result in results for output in result.content.content]


def told(ask, *arguments, **named) -> tuple:
    with pytest.raises(anthropic.APIStatusError) as refused:
        ask(*arguments, **named)
    error = refused.value.body["error"]
    return refused.value.status_code, error["type"], error["details"], error["message"]


def without(id: str, answer: tuple) -> tuple:
    *rest, message = answer
    return *rest, message.replace(id, "ID")


@pytest.mark.parametrize("stream", [False, True])
def test_a_container_is_worked_in_by_its_own_key_only(tmp_path, stream):
    mock, upstream_key = Mock(tmp_path), real_looking_key()
    house = House(tmp_path, upstream=mock.url, key=upstream_key)
    keys = [house.virtual_key(name)["key"] for name in ("ada", "bob")]
    ada, bob = (Caller(house, key) for key in keys)
    first = ada.run("[[mock: code files=1]]", stream)
    container, [file] = first.container.id, made(first)
    for _ in range(2):
        again = ada.run("[[mock: code files=1]]", stream, container=container)
        assert again.container.id == container, "its own key works on in it"
        assert ada.client.files.download(file).read() == b"Made in a container.\n"
        house.until_idle()
        before = len(mock.journal())
        for named in (container, {"id": container}):
            foreign = told(bob.run, "[[mock: code]]", stream, container=named)
            none = told(bob.run, "[[mock: code]]", stream, container="container_none")
            assert foreign[0] == 404 and "unknown_resource" in str(foreign[2])
            assert without(container, foreign) == without("container_none", none)
        foreign, none = (told(bob.client.files.download, id) for id in (file, "file_none"))
        assert without(file, foreign) == without("file_none", none)
        assert len(mock.journal()) == before, "what was refused never left"
        house.kill()
        house = House(tmp_path, upstream=mock.url, key=upstream_key)
        ada, bob = (Caller(house, key) for key in keys)
    records = map(json.loads, house.run("audit", "export").splitlines())
    tried = [line for line in records if "security.foreign_id" in json.dumps(line)]
    assert len(tried) == 6
    own = bob.run("[[mock: code]]", stream)
    assert own.container.id != container
    assert house.stop() == 0
    assert mock.stop() == 0


def test_code_that_is_billed_by_the_hour_is_refused(tmp_path, own_mock):
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    ada = Caller(house, house.virtual_key("ada")["key"])
    first = ada.run("[[mock: code]]", False)
    status, kind, _, message = told(
        ada.run, "[[mock: code]]", False, container=first.container.id, tools=FREE[:1]
    )
    assert (status, kind) == (400, "invalid_request_error") and "container hours" in message
    assert len(own_mock.journal()) == 1
    assert house.stop() == 0
