"""Claude Code through Chamberlain: it works, it is paid for exactly, and it is refused in words.

Every run is held against the mock's bill (`claude_code.Desk.audit`): each request that came upstream
is on record, each record that is settled says what was billed, and no money is held afterwards.
"""

import base64
import json
import re
import signal
import time
import urllib.request
from collections import Counter
from decimal import Decimal

import pytest
from certificates import Authority
from claude_code import Desk, directive, uses
from oracle import billed

# A picture of one point, and a document of one empty page.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 10 10]>>endobj
trailer<</Root 1 0 R>>
%%EOF"""
EXPERIMENT = "CLAUDE_CODE_ENABLE_EXPERIMENTAL"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    made = Desk(tmp_path_factory.mktemp("claude-code"))
    yield made
    made.stop()


def sent(entry: dict) -> dict[str, str]:
    return dict(entry["headers"])


def results(desk: Desk, entry: dict) -> list:
    """What the tools of the turn before gave."""
    last = desk.mock.body(entry["n"])["messages"][-1]
    return [block["content"] for block in last["content"] if block["type"] == "tool_result"]


def test_a_prompt_is_answered_and_arrives_as_it_was_sent(desk):
    prompt = directive('text="Hello there."')
    run = desk.ask(prompt)
    assert (run.code, run.text) == (0, "Hello there.")
    assert run.outcomes() == [("completed", "settled")]
    direct = desk.ask_mock(prompt)
    [through] = run.entries
    named = {"host", "content-length", "connection", "accept-encoding", "x-claude-code-session-id"}
    theirs = {name: value for name, value in direct["headers"] if name not in named}
    ours = {name: value for name, value in through["headers"] if name not in named}
    assert ours == theirs, "no header is lost, none is changed"
    assert through["query"] == direct["query"] == "beta=true"
    assert "claude-code-20250219" in sent(through)["anthropic-beta"]
    [credential] = through["credentials"]
    assert credential != direct["credentials"][0] and not through["credential_elsewhere"]
    bodies = [desk.mock.body(entry["n"]) for entry in (direct, through)]
    for body in bodies:
        # The session and the folder's name for it are new each time.
        body["metadata"] = None
    assert bodies[0] == bodies[1]


def test_headers_that_choose_a_payer_do_not_pass(desk):
    lines = ["anthropic-user-profile-id: uprof_1", "anthropic-workspace-id: wrkspc_1", "x-team: a"]
    both = {"ANTHROPIC_AUTH_TOKEN": desk.key, "ANTHROPIC_CUSTOM_HEADERS": "\n".join(lines)}
    run = desk.ask("hi", **both)
    assert run.code == 0
    headers = sent(run.entries[0])
    assert headers["x-team"] == "a"
    assert not {"anthropic-user-profile-id", "anthropic-workspace-id"} & headers.keys()
    assert len(run.entries[0]["credentials"]) == 1


def test_models_are_discovered_with_a_bearer_token(desk):
    run = desk.ask(
        "hi",
        ANTHROPIC_API_KEY="",
        ANTHROPIC_AUTH_TOKEN=desk.key,
        CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="",
    )
    assert run.code == 0
    assert sorted(call["route"] for call in run.calls) == ["messages", "models"]


def test_tools_there_and_back(desk):
    note, out = desk.work / "note.txt", desk.work / "out.txt"
    note.write_text("pears are green\n")
    prompt = (
        uses("Read", file_path=str(note))
        + uses("Bash", 2, command="wc -c < note.txt > out.txt; cat out.txt", description="Counts")
        + uses("Write", 3, file_path=str(desk.work / "new.txt"), content="[[mock: x]] \\ \"q\"")
        + directive('text="All done."', 4)
    )
    run = desk.ask(prompt, "--allowedTools", "Read,Bash,Write")
    assert (run.code, run.text) == (0, "All done.")
    assert len(run.entries) == len(run.calls) == 4
    assert "pears are green" in results(desk, run.entries[1])[0]
    assert results(desk, run.entries[2])[0].strip() == "16"
    assert out.read_text().strip() == "16"
    assert (desk.work / "new.txt").read_text() == "[[mock: x]] \\ \"q\""


def test_pictures_documents_and_agents(desk):
    picture, document = desk.work / "a.png", desk.work / "a.pdf"
    picture.write_bytes(PNG)
    document.write_bytes(PDF)
    agent = {"description": "Helps", "prompt": directive("text=Sub"), "subagent_type": "claude"}
    prompt = (
        uses("Read", file_path=str(picture))
        + uses("Read", 2, file_path=str(document))
        + uses("Agent", 3, run_in_background=False, **agent)
        + directive('text="All done."', 4)
    )
    run = desk.ask(prompt, "--allowedTools", "Read,Agent")
    assert (run.code, run.text) == (0, "All done.")
    kinds = [[block["type"] for block in results(desk, run.entries[n])[0]] for n in (1, 2)]
    assert kinds == [["image"], ["text", "document"]]
    assert len(run.calls) == 5, "the agent's own turn is on record too"


def test_a_search_is_a_call_of_its_own_with_a_fee(desk):
    prompt = (
        uses("ToolSearch", query="select:WebSearch")
        + uses("WebSearch", 2, query=f"pears {directive('server_tool searches=2')}")
        + directive('text="All done."', 3)
    )
    run = desk.ask(prompt, "--allowedTools", "WebSearch")
    assert (run.code, run.text) == (0, "All done.")
    searching = [entry for entry in run.entries if entry["billed"]["web_searches"]]
    assert [entry["billed"]["web_searches"] for entry in searching] == [2]
    tools = desk.mock.body(searching[0]["n"])["tools"]
    assert [(tool["type"], tool["max_uses"]) for tool in tools] == [("web_search_20250305", 8)]
    assert billed(searching) > Decimal("0.02")


def test_a_search_that_is_refused_ends_nothing_else(desk):
    short = desk.house.virtual_key("short", daily="20")["key"]
    prompt = (
        uses("ToolSearch", query="select:WebSearch")
        + uses("WebSearch", 2, query="pears")
        + directive('text="Without it."', 3)
    )
    run = desk.ask(prompt, "--allowedTools", "WebSearch", ANTHROPIC_API_KEY=short)
    assert (run.code, run.text) == (0, "Without it.")
    assert "cannot hold this call" in json.dumps(results(desk, run.entries[-1]))


def test_a_long_stream_comes_whole(desk):
    run = desk.ask(directive("output_tokens=20000 chunk=1 thinking=50 pings"))
    assert run.code == 0
    assert len(run.text.encode()) in range(4 * 19_950 - 4, 4 * 19_950 + 1)
    assert run.entries[0]["usage"]["output_tokens"] == 20_000


@pytest.mark.parametrize(
    ("words", "requests", "outcomes"),
    [
        # What Chamberlain tries again itself is one call.
        ("rate_limited retry_after=1", 2, [("completed", "settled")]),
        ("overloaded", 2, [("completed", "settled")]),
        # What it must not try again is told, and Claude Code makes another call.
        ("status=500", 2, [("upstream_failed", "settled"), ("completed", "settled")]),
        ("reset", 2, [("upstream_failed", "unsettled"), ("completed", "settled")]),
        ("cut=headers", 2, [("cut", "unsettled"), ("completed", "settled")]),
        ("cut after=5", 2, [("cut", "estimated"), ("completed", "settled")]),
        ("error_mid_stream after=5", 2, [("cut", "estimated"), ("completed", "settled")]),
    ],
)
def test_trouble_is_gone_through(desk, words, requests, outcomes):
    # What was said before a stream broke off is sent along when it is asked for again.
    prompt = directive(f"{words} times=1 text=Answered") + directive("text=Answered", 2)
    run = desk.ask(prompt)
    assert (run.code, run.text) == (0, "Answered"), run
    assert len(run.entries) == requests
    assert run.outcomes() == outcomes


def test_another_model_steps_in(desk):
    prompt = directive('overloaded should_retry=false times=1 text="From the other."')
    run = desk.ask(prompt, "--fallback-model", "sonnet")
    assert (run.code, run.text) == (0, "From the other.")
    models = [call["model"] for call in run.calls]
    assert models == ["claude-opus-5-5", "claude-sonnet-5-5"]


def test_a_models_refusals_cost_nothing(desk):
    run = desk.ask(directive("refusal"))
    assert run.code == 1 and "safeguards" in run.text
    assert len({call["model"] for call in run.calls}) == 2, "another model is asked too"
    assert {call["stop_reason"] for call in run.calls} == {"refusal"}
    assert {call["cost"] for call in run.calls} == {"0.00"}


def test_compaction_asked_for_and_by_itself(desk):
    first = desk.ask(directive("usage input=150000 output=900 text=Fine"))
    asked = desk.ask("/compact", "--continue")
    assert asked.code == 0 and asked.calls
    summary = desk.mock.body(asked.entries[0]["n"])["messages"]
    assert "summary" in json.dumps(summary[-1]).lower()
    after = desk.ask(directive('text="Went on."'), "--continue")
    assert (after.code, after.text) == (0, "Went on.")
    again = desk.ask(directive("usage input=150000 output=900 text=Full"), "--continue")
    full = desk.ask(directive('text="Went on."'), "--continue", "--autocompact", "100000")
    assert (full.code, full.text) == (0, "Went on.")
    assert len(full.calls) > 1, "it summed up what was said before it went on"
    assert {run.code for run in (first, again)} == {0}


def test_the_context_is_counted_for_nothing(desk):
    desk.ask("hi")
    run = desk.ask("/context", "--continue")
    assert run.code == 0 and "Context Usage" in run.text
    counts = [call for call in run.calls if call["route"] == "count_tokens"]
    assert len(counts) > 5 and {call["cost"] for call in counts} == {"0.00"}


def test_a_user_who_interrupts_pays_for_what_was_made(desk):
    before = desk.seen()
    child = desk.start(directive("slow_body ms=30 output_tokens=600"))
    until_asked(desk, child)
    child.send_signal(signal.SIGINT)
    run = desk.ended(child, before)
    assert run.outcomes() == [("client_left", "settled")]
    assert run.calls[0]["tokens"]["output"] == 600, "the answer was read to its end"


def test_less_room_for_the_answer_is_less_set_aside(desk):
    """What the refusal of a budget advises can be done in Claude Code."""
    tight = desk.house.virtual_key("tight", daily="1")["key"]
    assert "lower max_tokens to" in refused(desk, "budget_exceeded", ANTHROPIC_API_KEY=tight)
    run = desk.ask("hi", ANTHROPIC_API_KEY=tight, CLAUDE_CODE_MAX_OUTPUT_TOKENS="8000")
    assert run.code == 0 and desk.mock.body(run.entries[0]["n"])["max_tokens"] == 8000


def test_under_tls_with_a_root_of_ones_own(tmp_path):
    root = Authority("who vouches for the server")
    (tmp_path / "root.pem").write_bytes(root.pem)
    cert, key = root.issue(tmp_path, "server")
    tls = {"CHAMBERLAIN_SERVER__TLS__CERT": str(cert), "CHAMBERLAIN_SERVER__TLS__KEY": str(key)}
    desk = Desk(tmp_path, **tls)
    run = desk.ask(directive("text=Sealed"), NODE_EXTRA_CA_CERTS=str(tmp_path / "root.pem"))
    assert (run.code, run.text) == (0, "Sealed")
    assert desk.environment()["ANTHROPIC_BASE_URL"].startswith("https://")
    desk.stop()


def until_asked(desk: Desk, child) -> None:
    """Waits until its call is on its way."""
    while not desk.house.json("status")["running"]["in_flight"]:
        assert child.poll() is None
        time.sleep(0.05)


def refused(desk: Desk, code: str, *flags: str, times: int = 1, **more: str) -> str:
    """What its user reads of a refusal, which came from us so many times."""
    before = refusals(desk)
    run = desk.ask("hi", *flags, **more)
    assert run.code == 1 and run.entries == [], run
    assert refusals(desk) - before == Counter({code: times})
    return run.text


def refusals(desk: Desk) -> Counter:
    """How often we said no, by code."""
    with urllib.request.urlopen(desk.house.console + "/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(r'chamberlain_refusals_total\{code="(\w+)"\} (\d+)', text)
    return Counter({code: int(times) for code, times in found})


def test_refusals_are_read_and_not_repeated(desk):
    poor = desk.house.virtual_key("poor", daily="0.01")["key"]
    text = refused(desk, "budget_exceeded", ANTHROPIC_API_KEY=poor)
    assert "daily budget" in text and "$0.01 is left" in text
    narrow = desk.house.virtual_key("narrow", model="claude-haiku-*")["key"]
    text = refused(desk, "model_not_allowed", ANTHROPIC_API_KEY=narrow)
    assert "claude-opus-5-5" in text and "model" in text
    frozen = desk.house.virtual_key("icy")["key"]
    desk.house.run("virtual", "freeze", "icy", "--reason", "a test")
    assert "frozen" in refused(desk, "key_frozen", ANTHROPIC_API_KEY=frozen)
    resting = desk.house.virtual_key("paused")["key"]
    desk.house.run("pause", "paused", "--reason", "a cost spike is looked into")
    assert "a cost spike is looked into" in refused(desk, "paused", ANTHROPIC_API_KEY=resting)
    advisor = ("--model", "sonnet", "--settings", '{"advisorModel": "claude-opus-5-5"}')
    # It tries every 400 again with fewer betas, four times in all.
    enabled = {f"{EXPERIMENT}_ADVISOR_TOOL": "1"}
    text = refused(desk, "unbounded_cost", *advisor, times=4, **enabled)
    assert "an advisor without max_uses" in text
    unknown = "chm_0000000000000000_" + "A" * 43
    assert "virtual key is unknown" in refused(desk, "unknown_key", ANTHROPIC_API_KEY=unknown)


def test_a_freeze_ends_it_while_it_reads(desk):
    halted = desk.house.virtual_key("halted")["key"]
    before = desk.seen()
    child = desk.start(directive("slow_body ms=50 output_tokens=500"), ANTHROPIC_API_KEY=halted)
    until_asked(desk, child)
    desk.house.run("virtual", "freeze", "halted", "--reason", "seen in a log")
    run = desk.ended(child, before)
    assert run.code == 1 and "frozen" in run.text
    assert len(run.calls) == 1, "nothing more was sent"
