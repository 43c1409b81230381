"""The Files API with the official SDK through Chamberlain: a key's own files and nobody else's."""

import hashlib
import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

import anthropic
import pytest
from house import House, Mock, real_looking_key

MODEL = "claude-sonnet-5-5"
MIB = 1024 * 1024
DOWNLOADABLE = {"x-mock-scenario": "downloadable"}


def client(house: House, key: str, **more) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=house.gateway, max_retries=0, **more)


@pytest.fixture(scope="module")
def tenants(house):
    return [client(house, house.virtual_key(name)["key"]) for name in ("one", "two")]


def about(file_id: str) -> dict:
    source = {"type": "file", "file_id": file_id}
    content = [{"type": "document", "source": source}, {"type": "text", "text": "What is it?"}]
    return {
        "model": MODEL,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": content}],
    }


def peak(process) -> int:
    """The most memory a process ever had, in bytes."""
    status = Path(f"/proc/{process.child.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_a_file_from_its_upload_to_its_end(tenants, mock):
    one, _ = tenants
    content = os.urandom(200_000)
    uploaded = one.files.upload(
        file=("report.pdf", content, "application/pdf"),
        expires_in_seconds=3_600,
        extra_headers=DOWNLOADABLE,
    )
    assert (uploaded.filename, uploaded.size_bytes) == ("report.pdf", len(content))
    assert uploaded.expires_at is not None
    assert one.files.retrieve_metadata(uploaded.id) == uploaded
    assert uploaded.id in [file.id for file in one.files.list()]
    downloaded = one.files.download(uploaded.id).read()
    assert downloaded == content
    assert one.messages.create(**about(uploaded.id)).usage.input_tokens > 2_000
    deleted = one.files.delete(uploaded.id)
    assert (deleted.id, deleted.type) == (uploaded.id, "file_deleted")
    with pytest.raises(anthropic.NotFoundError):
        one.files.retrieve_metadata(uploaded.id)
    assert uploaded.id not in [file.id for file in one.files.list()]


def test_what_upstream_refuses_is_upstreams_answer(tenants):
    one, _ = tenants
    with pytest.raises(anthropic.BadRequestError, match="expires_in_seconds"):
        one.files.upload(file=b"x", expires_in_seconds=5)
    file = one.files.upload(file=b"x")
    with pytest.raises(anthropic.BadRequestError) as refused:
        one.files.download(file.id)
    assert refused.value.body["error"]["details"]["error_code"] == "file_not_downloadable"


def test_a_malformed_form_is_upstreams_to_refuse(house, tenants):
    place = urlsplit(house.gateway)
    connection = http.client.HTTPConnection(place.hostname, place.port)
    headers = {
        "x-api-key": tenants[0].api_key,
        "anthropic-version": "2026-10-21",
        "content-type": "multipart/form-data; boundary=edge",
    }
    connection.request("POST", "/v1/files", body=b"no form at all", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 400 and "multipart" in text
    assert answer.headers["x-chamberlain-code"] is None
    assert answer.headers["request-id"].startswith("req_01")


def test_lists_page_by_page(house):
    own = client(house, house.virtual_key("pages")["key"])
    ids = [own.files.upload(file=(f"{n}", b"x", "text/plain")).id for n in range(7)]
    assert [file.id for file in own.files.list(limit=3)] == ids[::-1]
    assert [file.id for file in own.files.list(ids=[ids[1], "file_nobody", ids[5]])] == [
        ids[5],
        ids[1],
    ]
    old = own.beta.files.list(limit=2, betas=["files-api-2025-04-14"])
    assert [file.id for file in old] == ids[::-1], "an old header with a new SDK reads all of it"
    with pytest.raises(anthropic.BadRequestError, match="scope_id"):
        own.beta.files.list(scope_id="sesn_1")


def test_another_tenants_file_is_as_good_as_none(house, tenants, mock):
    one, two = tenants
    file = one.files.upload(file=b"secret", extra_headers=DOWNLOADABLE)
    before = len(mock.journal())

    def told(ask, file_id):
        with pytest.raises(anthropic.NotFoundError) as refused:
            ask(file_id)
        body = refused.value.body["error"]
        return body["type"], body["details"], body["message"].replace(file_id, "ID")

    for ask in (two.files.retrieve_metadata, two.files.download, two.files.delete):
        assert told(ask, file.id) == told(ask, "file_01nobody")
    assert told(lambda its: two.messages.create(**about(its)), file.id) == told(
        lambda its: two.messages.create(**about(its)), "file_01nobody"
    )
    assert file.id not in [its.id for its in two.files.list(limit=1_000)]
    assert list(two.files.list(ids=[file.id])) == []
    assert len(mock.journal()) == before, "none of it reached upstream"
    assert one.files.download(file.id).read() == b"secret"


def test_a_large_file_takes_little_memory(tmp_path, own_mock):
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    own = client(house, house.virtual_key("large")["key"], timeout=300)
    own.files.upload(file=b"x")
    before = peak(house)
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(MIB))
    with path.open("rb") as file:
        uploaded = own.files.upload(file=file, extra_headers=DOWNLOADABLE)
    assert uploaded.size_bytes == 100 * MIB
    digest = hashlib.sha256()
    with own.files.with_streaming_response.download(uploaded.id) as answer:
        for piece in answer.iter_bytes():
            digest.update(piece)
    with path.open("rb") as file:
        assert digest.hexdigest() == hashlib.file_digest(file, "sha256").hexdigest()
    grown = peak(house) - before
    assert grown < 32 * MIB, f"{grown / MIB:.1f} MiB more for a file of 100 MiB each way"
    assert house.stop() == 0


def test_a_kill_forgets_no_file(tmp_path, own_mock):
    key = real_looking_key()
    house = House(tmp_path, upstream=own_mock.url, key=key)
    virtual_key = house.virtual_key("kill")["key"]
    file = client(house, virtual_key).files.upload(file=b"x", extra_headers=DOWNLOADABLE)
    house.kill()
    house = House(tmp_path, upstream=own_mock.url, key=key)
    own = client(house, virtual_key)
    assert [its.id for its in own.files.list()] == [file.id]
    assert own.files.download(file.id).read() == b"x"
    own.files.delete(file.id)
    house.kill()
    house = House(tmp_path, upstream=own_mock.url, key=key)
    assert list(client(house, virtual_key).files.list()) == []
    assert house.stop() == 0


def test_an_upload_that_is_too_large_is_refused_by_name(tmp_path, own_mock):
    config = tmp_path / "chamberlain.toml"
    config.write_text('version = 1\n[server]\nupload_body_max = "1MiB"\n')
    flags = ("--config", str(config))
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), flags=flags)
    own = client(house, house.virtual_key("size")["key"])
    own.files.upload(file=b"x" * (MIB - 10_000))
    with pytest.raises(anthropic.APIStatusError, match="server.upload_body_max") as refused:
        own.files.upload(file=b"x" * (MIB + 1))
    assert refused.value.status_code == 413
    assert len(own_mock.journal()) == 1
    assert house.stop() == 0


def test_every_call_about_files_is_on_record_and_free(tmp_path, own_mock):
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key())
    own = client(house, house.virtual_key("record")["key"])
    file = own.files.upload(file=b"x", extra_headers=DOWNLOADABLE)
    own.files.retrieve_metadata(file.id)
    own.files.download(file.id).read()
    list(own.files.list())
    own.files.delete(file.id)
    house.until_idle()
    calls = house.calls()
    routes = sorted(call["route"] for call in calls)
    assert routes == ["file", "file_content", "file_delete", "file_upload", "files"]
    assert {call["outcome"] for call in calls} == {"completed"}
    assert {float(call["cost_usd"]) for call in calls if "cost_usd" in call} <= {0.0}
    assert house.stop() == 0
