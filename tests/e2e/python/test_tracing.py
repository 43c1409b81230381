"""Traces of the real binary, as a collector of OpenTelemetry receives them."""

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from house import House, real_looking_key

MODEL = "claude-haiku-5-5"


class Collector:
    """Takes OTLP over HTTP in JSON; answers with `status`."""

    def __init__(self, status: int = 200):
        self.status, self.requests, self.release = status, [], threading.Event()
        self.release.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.release.wait(60)
                outer.requests.append((self.path, dict(self.headers), body))
                self.send_response(outer.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self) -> list[dict]:
        found = []
        for _, _, body in self.requests:
            for resource in json.loads(body)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    found += scope["spans"]
        return found

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def attributes(span: dict) -> dict:
    def plain(value: dict):
        ((kind, inner),) = value.items()
        if kind == "intValue":
            return int(inner)
        return [plain(one) for one in inner["values"]] if kind == "arrayValue" else inner

    return {one["key"]: plain(one["value"]) for one in span["attributes"]}


def ask(house: House, key: str, prompt: str = "Hi", headers: dict | None = None, **more):
    body = {
        "model": MODEL,
        "max_tokens": 20,
        "messages": [{"role": "user", "content": prompt}],
    }
    given = {"x-api-key": key, "anthropic-version": "2023-06-01", **(headers or {})}
    url = house.gateway + "/v1/messages"
    return httpx.post(url, json=body | more, headers=given, timeout=60)


def until(what, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def counted(house: House, name: str) -> dict[str, float]:
    page = httpx.get(house.console + "/metrics").text
    lines = [line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(name)]
    return {series: float(value) for series, value in lines}


def up(folder, mock, collector) -> House:
    return House(
        folder,
        upstream=mock.url,
        key=real_looking_key(),
        CHAMBERLAIN_TRACING__ENDPOINT=collector.url,
    )


def test_a_call_is_one_span_of_its_clients_trace(tmp_path, own_mock, collector):
    house = up(tmp_path, own_mock, collector)
    made = house.virtual_key("traced")
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    told = f"00-{trace}-{parent}-01"
    cached = [{"type": "text", "text": "x " * 6000, "cache_control": {"type": "ephemeral"}}]
    answers = {}
    for shape in (False, True):
        more = {"stream": shape, "system": cached, "headers": {"traceparent": told}}
        answer = ask(house, made["key"], **more)
        assert answer.status_code == 200
        answers[answer.headers["x-chamberlain-call"]] = answer
    spans = until(lambda: len(collector.spans()) >= 2 and collector.spans())
    assert len(spans) == 2
    house.until_idle()
    records = {call["id"]: call for call in house.calls()}
    for span in spans:
        said = attributes(span)
        record = records[said["chamberlain.call"]]
        tokens = record["tokens"]
        assert (span["traceId"], span["parentSpanId"]) == (trace, parent)
        assert span["name"] == f"chat {MODEL}" and span["kind"] == 3
        assert span["spanId"] not in (parent, "0" * 16) and len(span["spanId"]) == 16
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        assert abs(int(span["endTimeUnixNano"]) / 1e9 - time.time()) < 120
        assert span["status"]["code"] == 0 and "error.type" not in said
        written = tokens["cache_write_5m"] + tokens["cache_write_1h"]
        assert written + tokens["cache_read"] > 0, "the prompt was cached"
        whole = tokens["input"] + written + tokens["cache_read"]
        assert said["gen_ai.usage.input_tokens"] == whole
        assert said["gen_ai.usage.output_tokens"] == tokens["output"] > 0
        assert said["gen_ai.usage.cache_read.input_tokens"] == tokens["cache_read"]
        assert said["gen_ai.usage.cache_creation.input_tokens"] == written
        assert said["gen_ai.operation.name"] == "chat"
        assert said["gen_ai.provider.name"] == "anthropic"
        assert said["gen_ai.request.model"] == said["gen_ai.response.model"] == MODEL
        assert said["gen_ai.request.max_tokens"] == 20
        assert said["gen_ai.response.finish_reasons"] == [record["stop_reason"]]
        assert said["chamberlain.cost_usd"] == record["cost"]
        assert said["chamberlain.virtual_key"] == made["key"].split("_")[1]
        assert said["chamberlain.environment"] == "production"
        address = f"http://{said['server.address']}:{said['server.port']}"
        assert address == own_mock.url
        answer = answers[said["chamberlain.call"]]
        assert said["gen_ai.response.id"] in answer.text
        is_stream = said["gen_ai.request.stream"]
        assert ("gen_ai.response.time_to_first_chunk" in said) == is_stream
    assert len({span["spanId"] for span in spans}) == 2
    path, headers, _ = collector.requests[0]
    assert path == "/v1/traces"
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == (
        "application/json"
    )
    posts = [entry for entry in own_mock.journal() if entry["path"] == "/v1/messages"]
    assert all(told in json.dumps(entry) for entry in posts), "the header goes upstream as it came"
    assert house.stop() == 0


def test_a_call_that_fails_is_an_error_and_others_are_no_spans(tmp_path, own_mock, collector):
    house = up(tmp_path, own_mock, collector)
    key = house.virtual_key("failing")["key"]
    unkept = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"}
    assert ask(house, key, headers=unkept).status_code == 200
    assert ask(house, key, model="claude-unheard-of").status_code >= 400
    refused = ask(house, key, "[[mock: status=400]]")
    broken = ask(house, key, "[[mock: reset]]")
    assert refused.status_code == 400 and broken.status_code >= 500
    count = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    url = house.gateway + "/v1/messages/count_tokens"
    assert httpx.post(url, json=body, headers=count).status_code == 200
    last = ask(house, key)
    house.until_idle()
    # The end sends what is left, without waiting for more.
    assert house.stop() == 0
    ids = [answer.headers["x-chamberlain-call"] for answer in (refused, broken, last)]
    by_call = {attributes(span)["chamberlain.call"]: span for span in collector.spans()}
    assert sorted(by_call) == sorted(ids)
    assert [by_call[call]["status"]["code"] for call in ids] == [2, 2, 0]
    assert attributes(by_call[ids[0]])["error.type"] == "400"
    assert attributes(by_call[ids[1]])["error.type"] == str(broken.status_code)
    unknown = attributes(by_call[ids[1]])
    assert unknown["chamberlain.certainty"] == "unsettled"
    assert not [name for name in unknown if name.startswith("gen_ai.usage.")]
    traces = {span["traceId"] for span in by_call.values()}
    assert len(traces) == 3 and all("parentSpanId" not in span for span in by_call.values())


def test_no_span_has_a_secret_or_a_prompt(tmp_path, own_mock, collector):
    upstream_key = real_looking_key()
    house = House(
        tmp_path,
        upstream=own_mock.url,
        key=upstream_key,
        CHAMBERLAIN_TRACING__ENDPOINT=collector.url,
    )
    key = house.virtual_key("canary")["key"]
    canary = f"canary{secrets.token_hex(8)}"
    answers = [ask(house, key, canary, stream=stream, system=canary) for stream in (False, True)]
    assert house.stop() == 0
    said = b"".join(body for _, _, body in collector.requests)
    assert len(collector.spans()) == 2
    texts = [block["text"] for block in answers[0].json()["content"] if block["type"] == "text"]
    for hidden in (canary, key.split("_", 2)[2], upstream_key[20:60], *texts):
        assert hidden.encode() not in said


def test_a_collector_that_is_stuck_or_gone_holds_no_call_up(tmp_path, own_mock, collector):
    house = up(tmp_path, own_mock, collector)
    key = house.virtual_key("held")["key"]
    # It takes the request and does not answer.
    collector.release.clear()
    assert [ask(house, key).status_code for _ in range(5)] == [200] * 5
    collector.release.set()
    # It refuses: nothing is tried again, and what is lost is counted.
    exported = "chamberlain_trace_spans_exported_total"
    until(lambda: counted(house, exported)[exported] == 5)
    collector.status = 400
    assert ask(house, key).status_code == 200
    lost = 'chamberlain_trace_spans_dropped_total{reason="refused"}'
    until(lambda: counted(house, lost)[lost] == 1)
    assert counted(house, exported)[exported] == 5
    assert "spans could not be exported" in house.log.read_text()
    # It is gone: the end does not wait for it.
    collector.close()
    assert ask(house, key).status_code == 200
    house.until_idle()
    assert house.stop() == 0


def test_without_a_collector_nobody_is_told(tmp_path, own_mock, collector):
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    assert ask(house, house.virtual_key("untraced")["key"]).status_code == 200
    exported = counted(house, "chamberlain_trace_spans")
    assert set(exported.values()) == {0.0}
    assert house.stop() == 0
    assert collector.requests == []
