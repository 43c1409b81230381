"""A planted upstream key is searched for in every byte the process writes or sends."""

import base64
import json
import subprocess
from pathlib import Path

import httpx
import pytest
from house import House, clean_environment, real_looking_key


def forms(key: str) -> list[bytes]:
    """The key as it is, and as it might be hidden by accident."""
    raw = key.encode()
    middle = raw[20:60]
    return [
        raw,
        middle,
        raw.hex().encode(),
        *(base64.b64encode(b"x" * pad + raw)[8:90] for pad in range(3)),
    ]


def find(key: str, places: dict[str, bytes]) -> list[str]:
    return [place for place, data in places.items() if any(form in data for form in forms(key))]


def everything_written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_upstream_key_is_only_ever_sent_upstream(tmp_path, own_mock):
    key = real_looking_key()
    house = House(
        tmp_path, upstream=own_mock.url, key=key, CHAMBERLAIN_LOG="debug", RUST_BACKTRACE="1"
    )
    virtual = house.virtual_key("planted")["key"]
    said: dict[str, bytes] = {"ready": json.dumps(house.ready).encode()}
    headers = {"x-api-key": virtual, "anthropic-version": "2023-06-01"}
    prompts = [
        "Hi",
        "[[mock: revoked]]",
        "[[mock: status=500]]",
        "[[mock: reset]]",
        "[[mock: cut after=1]]",
        "[[mock: overloaded should_retry=false]]",
    ]
    with httpx.Client(base_url=house.gateway, timeout=60) as client:
        for stream in (False, True):
            for prompt in prompts:
                request = {
                    "model": "claude-haiku-5-5",
                    "max_tokens": 20,
                    "stream": stream,
                    "messages": [{"role": "user", "content": prompt}],
                }
                try:
                    answer = client.post("/v1/messages", json=request, headers=headers)
                    said[f"{prompt} {stream}"] = repr(answer.headers).encode() + answer.content
                except httpx.HTTPError as error:
                    said[f"{prompt} {stream}"] = repr(error).encode()
        # A client that offers the real key is refused, and the key goes nowhere.
        answer = client.post("/v1/messages", json={}, headers={"x-api-key": key})
        assert answer.status_code == 401
        said["offered"] = repr(answer.headers).encode() + answer.content
    for command in (
        ["key", "list"],
        ["virtual", "list"],
        ["budget", "list"],
        ["calls"],
        ["status"],
        ["doctor"],
        ["audit", "export"],
        ["config", "explain"],
        ["cost", "today"],
        ["prices"],
    ):
        for form in ([], ["--json"]):
            said[" ".join(command + form)] = house.run(*command, *form, ok=(0, 3)).encode()
    process = Path(f"/proc/{house.child.pid}")
    said["arguments"] = (process / "cmdline").read_bytes()
    # The key reached upstream as the one credential: the mock keeps a digest of what came.
    import hashlib

    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    posts = [entry for entry in own_mock.journal() if entry["path"] == "/v1/messages"]
    assert posts
    for entry in posts:
        assert [credential["sha256_prefix"] for credential in entry["credentials"]] == [digest]
        assert entry["credential_elsewhere"] == []
    assert find(key, said | everything_written(tmp_path)) == []
    house.kill()
    assert find(key, everything_written(tmp_path)) == [], "left behind by a crash"
    again = House(tmp_path, upstream=own_mock.url)
    assert (
        httpx.post(
            again.gateway + "/v1/messages",
            json={
                "model": "claude-haiku-5-5",
                "max_tokens": 5,
                "messages": [{"role": "user", "content": "Hi"}],
            },
            headers=headers,
        ).status_code
        == 200
    ), "the sealed key opens again"
    assert again.stop() == 0
    assert find(key, everything_written(tmp_path)) == []


def test_a_key_is_added_from_standard_input_and_never_shown(own_house):
    key = real_looking_key()
    shown = own_house.run(
        "key", "add", "--name", "extra", "--environment", "staging", stdin=key + "\n"
    )
    shown += own_house.run("key", "list") + own_house.run("key", "show", "extra", "--json")
    assert key not in shown and key[20:60] not in shown


def test_keys_of_the_wrong_kind_are_refused_with_the_reason(own_house):
    admin = "sk-ant-admin01-" + "x" * 93 + "AA"
    done = subprocess.run(
        [__import__("house").BINARY, "key", "add", "--name", "wrong"],
        input=admin,
        capture_output=True,
        text=True,
        env=clean_environment(CHAMBERLAIN_DATA=str(own_house.data)),
    )
    assert done.returncode != 0 and "admin" in done.stderr.lower() and admin not in done.stderr


def test_files_are_private_and_core_dumps_are_off(own_house):
    assert own_house.data.stat().st_mode & 0o777 == 0o700
    for path in own_house.data.rglob("*"):
        if path.is_file() or path.is_socket():
            assert path.stat().st_mode & 0o777 == 0o600, path
    limits = Path(f"/proc/{own_house.child.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_a_removed_key_does_not_come_back_by_the_environment(tmp_path, own_mock):
    key = real_looking_key()
    house = House(tmp_path, upstream=own_mock.url, key=key)
    name = house.json("key", "list")["keys"][0]["name"]
    house.run("key", "remove", name)
    assert house.stop() == 0
    with pytest.raises(RuntimeError, match="was removed here") as raised:
        House(tmp_path, upstream=own_mock.url, key=key)
    assert key not in str(raised.value)


def test_no_key_is_shown_to_a_journal(tmp_path):
    house = House(tmp_path, JOURNAL_STREAM="8:12345")
    assert house.first_key is None
    assert house.json("virtual", "list")["keys"] == []
    assert house.stop() == 0
