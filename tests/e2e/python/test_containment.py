"""Containment through the real binary: nothing leaves with the key, it is dead at Anthropic, what was
done with it is known; while Anthropic is down, slow or untruthful, and over kills."""

import errno
import json
import subprocess
import threading
import time

import httpx
from house import BINARY, House, clean_environment
from machine import Machine
from test_rotation import REQUEST, Anthropic, house_of

STREAM = REQUEST | {
    "stream": True,
    "messages": [{"role": "user", "content": "[[mock: output_tokens=600 slow_body ms=50]] hello"}],
}


def headers(key: str) -> dict:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def call(house: House, key: str) -> httpx.Response:
    return httpx.post(
        f"{house.gateway}/v1/messages", json=REQUEST, headers=headers(key), timeout=60
    )


def code(answer: httpx.Response) -> str:
    return answer.headers.get("x-chamberlain-code", "")


def until(house: House, done, seconds: float = 60) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = house.json("containment", "show")
        if done(shown):
            return shown
        time.sleep(0.1)
    raise AssertionError(json.dumps(shown, indent=1))


def state_of(shown: dict, work: str) -> str:
    [found] = [one for one in shown["work"] if one["work"] == work]
    return found["state"]


def done(*works: str):
    return lambda shown: all(state_of(shown, work) == "done" for work in works)


class Streams:
    """Clients that read long streams, and what ends them."""

    def __init__(self, house: House, key: str, clients: int):
        self.ends: list[tuple[str, float]] = []
        self.going = threading.Semaphore(0)
        self.house, self.key = house, key
        self.threads = [threading.Thread(target=self.read) for _ in range(clients)]
        for thread in self.threads:
            thread.start()
        for _ in range(clients):
            assert self.going.acquire(timeout=30)

    def read(self) -> None:
        last = ""
        url = f"{self.house.gateway}/v1/messages"
        try:
            with httpx.stream(
                "POST", url, json=STREAM, headers=headers(self.key), timeout=60
            ) as answer:
                self.going.release()
                for line in answer.iter_lines():
                    last = line if line.startswith("data:") else last
        except httpx.HTTPError:
            pass
        self.ends.append((last, time.monotonic()))

    def wait(self) -> list[tuple[str, float]]:
        for thread in self.threads:
            thread.join()
        return self.ends


def test_a_leaked_key_is_out_of_use_everywhere(tmp_path):
    anthropic = Anthropic(tmp_path)
    old = anthropic.key("old")
    house = house_of(tmp_path, anthropic, old, admin=True)
    key = house.virtual_key("load")["key"]
    for _ in range(3):
        assert call(house, key).status_code == 200
    # Somebody uses the key past Chamberlain.
    stolen = httpx.post(f"{anthropic.url}/v1/messages", json=REQUEST, headers=headers(old))
    assert stolen.status_code == 200
    streams = Streams(house, key, 3)
    text = house.run("contain", "production", "--reason", "public-repository", "--note", "GitHub")
    typed = time.monotonic()
    assert "3 calls were on their way with it; they are ended" in text, text
    assert "calls of production are refused until there is a new key" in text
    for line, ended in streams.wait():
        assert "upstream_key_removed" in line, line
        assert ended < typed + 5, "a stream went on"
    refused = call(house, key)
    assert (refused.status_code, code(refused)) == (503, "upstream_key_contained")
    assert "is not to be trusted any more" in refused.json()["error"]["message"]
    assert not anthropic.takes(old)
    shown = until(house, done("cut", "switch_off", "report", "usage"))
    assert shown["state"] == "contained" and shown["by"].startswith("person:")
    report = house.json("containment", "report")
    found = report["exposure"]
    assert found["all"]["calls"] == 6 and len(found["models"]) == 1
    assert [share["calls"] for share in found["sources"]] == [6]
    assert found["unknown"], "what cannot be known is said"
    # What the thief used is what Anthropic has counted beyond the record, to the token.
    usage = stolen.json()["usage"]
    beyond = sum(usage[name] for name in ("input_tokens", "output_tokens"))
    assert report["usage"]["beyond"] >= beyond, report["usage"]
    text = house.run("containment", "report")
    assert "somebody used the key past Chamberlain" in text
    # Typed twice, it says so and does nothing.
    again = house.json("contain", old_name(house), "--reason", "offboarding", "--no-wait")
    assert again["before"] and again["id"] == shown["id"]
    assert again["reason"] == "public-repository"
    # Seen dead, its value is gone, and service comes back with another key.
    ended = until(house, lambda shown: shown["state"] == "done", seconds=120)
    assert ended["dead_at"]
    assert old not in (house.data / "chamberlain.db").read_bytes().decode("latin-1")
    house.run("key", "add", "--environment", "production", "--name", "next", stdin=anthropic.key("n"))
    assert call(house, key).status_code == 200
    kinds = [line["kind"] for line in house.json("containment", "timeline")]
    for work in ("switch_off", "report", "usage", "erase"):
        assert before(house, ("intent", work), ("result", work)), work
    assert kinds[0] == "begun" and kinds[-1] == "ended"
    assert house.json("audit", "verify")["ok"]
    assert house.stop() == 0
    anthropic.mock.stop()


def old_name(house: House) -> str:
    return house.json("containment", "show")["key"]


def before(house: House, first: tuple[str, str], then: tuple[str, str]) -> bool:
    lines = [
        (line["kind"], line["detail"].split(":")[0])
        for line in house.json("containment", "timeline")
    ]
    return lines.index(first) < lines.index(then)


def test_nothing_hinders_the_cut(tmp_path):
    """The Admin API is down and everything that can fail fails: the cut is made all the same, and
    the rest is done when it can be."""
    anthropic = Anthropic(tmp_path)
    old = anthropic.key("old")
    house = house_of(tmp_path, anthropic, old, admin=True)
    key = house.virtual_key("load")["key"]
    assert call(house, key).status_code == 200
    anthropic.mock.post("fail?path=/v1/organizations&status=503&times=6")
    house.run("contain", "production", "--reason", "application-logs", "--no-wait")
    assert code(call(house, key)) == "upstream_key_contained"
    shown = until(house, lambda shown: state_of(shown, "switch_off") == "failed")
    assert any("Disable key" in line for line in shown["left_to_do"]), shown["left_to_do"]
    assert anthropic.takes(old), "it is up to Anthropic and people now"
    until(house, done("report"))
    house.run("containment", "resume", ok=(0, 6))
    until(house, done("switch_off", "usage"), seconds=90)
    assert not anthropic.takes(old)
    assert house.stop() == 0
    anthropic.mock.stop()


def test_a_disk_that_takes_no_writes_hinders_no_cut(tmp_path):
    """Streams end and no call leaves although nothing can be put on record; whoever typed it is told,
    and types it again."""
    anthropic = Anthropic(tmp_path)
    machine = Machine(tmp_path)
    house = machine.house(upstream=anthropic.url, key=anthropic.key("old"))
    key = house.virtual_key("load")["key"]
    streams = Streams(house, key, 2)
    machine.refuse_writes(errno.ENOSPC)
    failed = house.attempt("contain", "production", "--reason", "security-notice")
    typed = time.monotonic()
    assert failed.returncode == 7 and "could not be put on record" in failed.stderr, failed
    assert "Claude Console" in failed.stderr
    for line, ended in streams.wait():
        assert "upstream_key_removed" in line and ended < typed + 5, line
    sent = len(anthropic.mock.journal())
    machine.allow_writes()
    time.sleep(1)
    assert code(call(house, key)) == "upstream_key_contained", "in memory it stays cut off"
    assert len(anthropic.mock.journal()) == sent
    shown = house.json("contain", first_key(house), "--reason", "security-notice")
    assert state_of(shown, "cut") == "done" and not shown["before"]
    assert house.stop() == 0
    anthropic.mock.stop()


def first_key(house: House) -> str:
    return house.json("key", "list")["keys"][0]["id"]


def test_without_an_admin_key_a_person_is_told_what_to_do(tmp_path):
    anthropic = Anthropic(tmp_path)
    old = anthropic.key("old")
    house = house_of(tmp_path, anthropic, old, admin=False)
    text = house.run("contain", "production", "--reason", "error-or-ticket")
    assert "waits for you: switched off at Anthropic" in text
    assert "https://platform.claude.com/settings/keys" in text
    anthropic.switch_off("old")
    house.run("containment", "vouch", "--note", "disabled in the Console")
    shown = until(house, done("switch_off"))
    [off] = [one for one in shown["work"] if one["work"] == "switch_off"]
    assert off["by_hand"].endswith("disabled in the Console")
    assert house.attempt("containment", "vouch", "--note", "again").returncode == 5
    assert house.stop() == 0
    anthropic.mock.stop()


def test_a_virtual_key_is_contained_by_the_same_command(tmp_path):
    house = House(tmp_path)
    made, other = house.virtual_key("leaked"), house.virtual_key("other")
    assert call(house, made["key"]).status_code == 200
    # It is pasted as it was found; what is told carries its name and not its secret.
    text = house.run("contain", made["key"], "--reason", "application-logs")
    assert 'contained: virtual key "leaked"' in text and made["key"] not in text
    assert code(call(house, made["key"])) == "key_revoked"
    assert call(house, other["key"]).status_code == 200
    assert house.json("containment", "show")["state"] == "done"
    found = house.json("containment", "report")
    assert found["exposure"]["all"]["calls"] == 1 and found["usage"] is None
    assert house.stop() == 0


def test_words_that_are_not_taken(tmp_path):
    anthropic = Anthropic(tmp_path)
    house = house_of(tmp_path, anthropic, anthropic.key("old"), admin=False)
    none = house.attempt("contain", "production")
    assert none.returncode == 2 and "public-repository" in none.stderr
    other = house.attempt("contain", "production", "--reason", "it felt wrong")
    assert other.returncode == 2 and "security-notice" in other.stderr
    assert house.attempt("contain", "nobody", "--reason", "offboarding").returncode == 5
    assert house.attempt("contain", "staging", "--reason", "offboarding").returncode == 0
    assert house.attempt("containment", "show", "nobody").returncode == 5
    assert house.stop() == 0
    anthropic.mock.stop()


def test_a_contained_key_is_replaced(tmp_path):
    """As the page for the night says: contain, begin the emergency, hand the new key in."""
    anthropic = Anthropic(tmp_path)
    old, new = anthropic.key("old"), anthropic.key("new")
    house = house_of(tmp_path, anthropic, old, admin=True)
    key = house.virtual_key("load")["key"]
    shown = house.json("contain", "production", "--reason", "security-notice")
    [line] = [line for line in shown["left_to_do"] if "rotation start" in line]
    assert shown["key"] in line
    flags = ("--emergency", "--reason", "security-notice")
    house.run("rotation", "start", shown["key"], *flags)
    house.run("rotation", "give-key", stdin=new)
    end = time.monotonic() + 30
    while call(house, key).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    # Both see the key dead, and the rotation erases it.
    end = time.monotonic() + 150
    while house.json("rotation", "show")["state"] != "done":
        assert time.monotonic() < end, house.json("rotation", "show")
        time.sleep(0.5)
    until(house, lambda shown: shown["state"] == "done")
    states = {one["name"]: one["state"] for one in house.json("key", "list", "--all")["keys"]}
    assert sorted(states.values()) == ["current", "revoked"], states
    # Nobody brings it back.
    again = house.attempt("key", "add", "--environment", "staging", "--name", "x", stdin=old)
    assert again.returncode == 6 and "was contained" in again.stderr
    assert house.stop() == 0
    anthropic.mock.stop()


def test_two_operators_at_once(tmp_path):
    anthropic = Anthropic(tmp_path)
    house = house_of(tmp_path, anthropic, anthropic.key("old"), admin=True)
    answers: list[dict] = []

    key = house.json("key", "list")["keys"][0]["id"]

    def of_key() -> None:
        arguments = ("contain", key, "--reason", "unauthorized-use", "--no-wait")
        answers.append(house.json(*arguments))

    threads = [threading.Thread(target=of_key) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1
    assert [answer["before"] for answer in answers].count(False) == 1
    begun = [line for line in house.json("containment", "timeline") if line["kind"] == "begun"]
    assert len(begun) == 1
    assert house.stop() == 0
    anthropic.mock.stop()


def test_kills_at_any_moment(tmp_path):
    """After the word of containment the server is killed again and again: no call ever leaves with the
    key, and all is done in the end."""
    anthropic = Anthropic(tmp_path)
    old = anthropic.key("old")
    house = house_of(tmp_path, anthropic, old, admin=True)
    key = house.virtual_key("load")["key"]
    assert call(house, key).status_code == 200
    anthropic.mock.post("delay?path=/v1/organizations&ms=150&times=1000")
    # The command itself is cut off by the first kill, or just not.
    typed = subprocess.Popen(
        [BINARY, "contain", "production", "--reason", "suspected-compromise"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(CHAMBERLAIN_DATA=str(house.data)),
    )
    end = time.monotonic() + 20
    while code(call(house, key)) != "upstream_key_contained":
        assert time.monotonic() < end
    house.kill()
    typed.wait()
    last = len(anthropic.mock.journal())
    for n in range(8):
        house = House(tmp_path, upstream=anthropic.url)
        assert code(call(house, key)) == "upstream_key_contained"
        time.sleep(0.05 + 0.12 * n)
        house.kill()
    sent = anthropic.mock.journal(last)
    assert not [entry for entry in sent if entry["path"] == "/v1/messages"]
    house = House(tmp_path, upstream=anthropic.url)
    shown = until(house, done("cut", "switch_off", "report", "usage"))
    assert shown["reason"] == "suspected-compromise"
    assert not anthropic.takes(old)
    assert house.json("audit", "verify")["ok"]
    assert house.stop() == 0
    anthropic.mock.stop()
