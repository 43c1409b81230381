"""The log of the real binary: what it says of each request, and what it never says."""

import json
import secrets

import httpx
from house import House, real_looking_key

CALLS = "chamberlain::calls"


def lines(house: House) -> list[dict]:
    return [json.loads(line) for line in house.log.read_text().splitlines()]


def ask(house: House, key: str, prompt: str, **more) -> httpx.Response:
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01", **more.pop("headers", {})}
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": prompt}],
    }
    return httpx.post(house.gateway + "/v1/messages", json=body | more, headers=headers, timeout=60)


def test_each_request_ends_with_one_line(tmp_path, own_mock):
    house = House(
        tmp_path, upstream=own_mock.url, key=real_looking_key(), CHAMBERLAIN_LOG="info"
    )
    made = house.virtual_key("logged")
    trace = secrets.token_hex(16)
    traced = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    whole = ask(house, made["key"], "Hi", headers=traced)
    streamed = ask(house, made["key"], "Hi", stream=True)
    failed = ask(house, made["key"], "[[mock: reset]]")
    refused = ask(house, made["key"], "Hi", model="claude-unheard-of")
    stranger = ask(house, "chm_0123456789abcdef_x", "Hi")
    assert [a.status_code for a in (whole, streamed)] == [200, 200]
    assert failed.status_code >= 500 and refused.status_code >= 400
    house.until_idle()
    records = {call["id"]: call for call in house.calls()}
    assert house.stop() == 0
    told = [line for line in lines(house) if line["target"] == CALLS]
    answers = [whole, streamed, failed, refused, stranger]
    ids = [answer.headers["x-chamberlain-call"] for answer in answers]
    assert sorted(line["call"] for line in told) == sorted(ids), "one line for each"
    by_id = {line["call"]: line for line in told}
    for answer, call in zip(answers[:3], ids[:3], strict=True):
        line, record = by_id[call], records[call]
        assert line["message"] == "a call ended"
        assert line["level"] == "INFO"
        assert line["status"] == answer.status_code
        for field in ("outcome", "certainty", "environment", "route"):
            assert line[field] == record[field], field
        assert line["cost_usd"] == record["cost"]
        for kind, count in record["tokens"].items():
            assert line[f"{kind}_tokens"] == count, kind
        assert line["virtual_key"] == made["key"].split("_")[1]
        assert line["duration_ms"] >= 0
    assert by_id[ids[0]]["trace_id"] == trace and "trace_id" not in by_id[ids[1]]
    assert by_id[ids[0]]["served_model"] == "claude-haiku-5-5"
    for answer, call in zip(answers[3:], ids[3:], strict=True):
        assert by_id[call]["message"] == "a request was refused"
        assert by_id[call]["status"] == answer.status_code
    assert by_id[ids[4]]["code"] == "unknown_key" and "virtual_key" not in by_id[ids[4]]


def test_the_lines_of_calls_can_be_left_out(tmp_path, own_mock):
    house = House(
        tmp_path,
        upstream=own_mock.url,
        key=real_looking_key(),
        CHAMBERLAIN_LOG="info",
        CHAMBERLAIN_LOG_CALLS="false",
    )
    key = house.virtual_key("unlogged")["key"]
    assert ask(house, key, "Hi").status_code == 200
    assert ask(house, "chm_0123456789abcdef_x", "Hi").status_code == 401
    house.until_idle()
    assert house.stop() == 0
    told = lines(house)
    assert [line for line in told if line["target"] == CALLS] == []
    assert "a command was carried out" in [line["message"] for line in told]


def test_at_the_preset_a_healthy_log_is_empty(tmp_path, own_mock):
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    assert ask(house, house.virtual_key("quiet")["key"], "Hi").status_code == 200
    house.until_idle()
    assert house.stop() == 0
    assert [line for line in lines(house) if line["level"] != "WARN"] == []
    assert [line for line in lines(house) if line["target"] == CALLS] == []


def test_no_line_has_a_secret_or_a_prompt(tmp_path, own_mock):
    upstream_key = real_looking_key()
    house = House(tmp_path, upstream=own_mock.url, key=upstream_key, CHAMBERLAIN_LOG="debug")
    key = house.virtual_key("canary")["key"]
    canaries = {name: f"canary{secrets.token_hex(8)}" for name in ("prompt", "system", "header")}
    canaries |= {
        "virtual key": key.split("_", 2)[2],
        "upstream key": upstream_key[20:60],
        "wrong secret": secrets.token_hex(16),
        "stray key": real_looking_key()[20:60],
    }
    said = []
    for shape in ("", "[[mock: status=500]]", "[[mock: reset]]", "[[mock: cut after=1]]"):
        for stream in (False, True):
            try:
                answer = ask(
                    house,
                    key,
                    f"{canaries['prompt']} {shape}",
                    system=canaries["system"],
                    stream=stream,
                    headers={"x-own": canaries["header"]},
                )
                said.append(answer.status_code)
            except httpx.HTTPError:
                said.append(0)
    for bad in (f"chm_{key.split('_')[1]}_{canaries['wrong secret']}", real_looking_key()):
        assert ask(house, bad, canaries["prompt"]).status_code == 401
    stray = "sk-ant-api03-" + "x" * 20 + canaries["stray key"]
    assert ask(house, stray, canaries["prompt"]).status_code == 401
    assert ask(house, key, canaries["prompt"], temperature=canaries["prompt"]).status_code >= 200
    house.until_idle()
    assert house.stop() == 0
    assert 200 in said and max(said) >= 500, said
    log = house.log.read_text()
    assert len([line for line in lines(house) if line["target"] == CALLS]) >= len(said)
    for name, canary in canaries.items():
        assert canary not in log, f"the log has the {name}"
