"""Rotations through the real binary: a key replaced under load without a failed call, ways out, an
emergency, and kills at any moment."""

import json
import threading
import time
import urllib.error
import urllib.request

import httpx
from house import House, Mock, real_looking_key
from test_backup import identity

REQUEST = {
    "model": "claude-haiku-5-5",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "[[mock: output_tokens=60]] hello"}],
}
# One call in five is a stream of a second or more.
LONG = REQUEST | {
    "stream": True,
    "messages": [{"role": "user", "content": "[[mock: output_tokens=60 slow_body ms=20]] hello"}],
}


def admin_key() -> str:
    return real_looking_key().replace("api03", "admin01")


class Anthropic:
    """A mock that takes only the keys it made, and an admin key."""

    def __init__(self, folder):
        self.mock = Mock(folder)
        self.url = self.mock.url

    def make(self, path: str, **query) -> dict:
        query = "&".join(f"{name}={value}" for name, value in query.items())
        request = urllib.request.Request(f"{self.url}/mock/{path}?{query}", method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def key(self, name: str) -> str:
        """A new API key, made in the Console as a person would."""
        return self.make("keys", name=name)["key"]

    def dead_key(self) -> str:
        """One that was made and switched off again."""
        made = self.make("keys", name="dead")
        self.make(f"keys/{made['id']}", status="inactive")
        return made["key"]

    def switch_off(self, name: str) -> None:
        """What a person does in the Console."""
        with urllib.request.urlopen(f"{self.url}/mock/keys") as answer:
            found = json.load(answer)
        found = found if isinstance(found, list) else found["keys"]
        [of_that_name] = [key["id"] for key in found if key["name"] == name]
        self.make(f"keys/{of_that_name}", status="inactive")

    def takes(self, secret: str) -> bool:
        request = urllib.request.Request(
            f"{self.url}/v1/models",
            headers={"x-api-key": secret, "anthropic-version": "2023-06-01"},
        )
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            assert error.code == 401, error.code
            return False
        return True


class Load:
    """Clients that call as fast as they are answered, one in five of them with long streams."""

    def __init__(self, house: House, key: str, clients: int = 10):
        self.house, self.key = house, key
        self.over = threading.Event()
        self.good = 0
        self.bad: list[str] = []
        self.threads = [
            threading.Thread(target=self.work, args=(index % 5 == 0,)) for index in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def work(self, is_long: bool) -> None:
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        with httpx.Client(base_url=self.house.gateway, timeout=60) as client:
            while not self.over.is_set():
                answer = client.post(
                    "/v1/messages", json=LONG if is_long else REQUEST, headers=headers
                )
                whole = not is_long or "message_stop" in answer.text
                if answer.status_code == 200 and whole:
                    self.good += 1
                else:
                    self.bad.append(f"{answer.status_code} {answer.text[-300:]}")
                time.sleep(0.02)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def house_of(folder, anthropic: Anthropic, secret: str, *, admin: bool, **more) -> House:
    """A house whose production leaves with `secret`."""
    house = House(folder, upstream=anthropic.url, key=secret, **more)
    if admin:
        socket = httpx.HTTPTransport(uds=str(house.data / "chamberlain.sock"))
        with httpx.Client(transport=socket, base_url="http://chamberlain", timeout=30) as client:
            command = {"command": "key.admin.add", "secret": admin_key()}
            answer = client.post("/command", json=command)
            assert answer.status_code == 200, answer.text
    return house


def until(house: House, *stages: str, seconds: float = 120, doing=None) -> dict:
    """Waits until the newest rotation is at one of `stages`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = house.json("rotation", "show")
        if shown["state"] in stages:
            return shown
        if doing:
            doing(shown)
        time.sleep(0.2)
    raise AssertionError(f"not {stages} in time: {json.dumps(shown, indent=1)}")


def begin(house: House, *flags: str) -> dict:
    """Begins a rotation and says all that people have to say before the new key."""
    house.run("rotation", "start", "production", "--reason", "scheduled", *flags)
    house.run("rotation", "vouch", "notified", "--note", "told everybody")
    house.run("rotation", "approve", "--break-glass", "nobody else is here")
    until(house, "approved")
    house.run("rotation", "vouch", "backed_up", "--note", "restored it once")
    return until(house, "await_key")


def finish(house: House) -> dict:
    until(house, "recorded")
    house.run("rotation", "vouch", "backed_up_2", "--note", "made another one")
    return until(house, "done")


def test_a_planned_rotation_fails_no_call(tmp_path):
    anthropic = Anthropic(tmp_path)
    old, new = anthropic.key("old"), anthropic.key("new")
    house = house_of(tmp_path, anthropic, old, admin=True)
    load = Load(house, house.virtual_key("load")["key"])
    begin(house, "--soak", "5s", "--soak-calls", "20")
    shown = json.loads(house.run("rotation", "give-key", "--json", stdin=new))
    new_id = shown["new_key"]
    until(house, "old_inactive", seconds=60)
    assert load.good > 0
    finish(house)
    load.stop()
    assert load.bad == []
    assert anthropic.takes(new) and not anthropic.takes(old)
    keys = {key["id"]: key["state"] for key in house.json("key", "list", "--all")["keys"]}
    assert keys.pop(new_id) == "current" and set(keys.values()) == {"revoked"}
    line = (house.data / "logs" / "secrets-rotation.log").read_text()
    assert line.count("Rotated Anthropic API key (scheduled rotation)") == 1
    lines = house.json("rotation", "timeline")
    # Every result of a step comes after its intent.
    steps = [
        (line["kind"], line["detail"].split(":")[0])
        for line in lines
        if line["kind"] in ("intent", "result")
    ]
    for kind, step in steps:
        if kind == "result":
            assert ("intent", step) in steps[: steps.index((kind, step))], step
    assert house.json("audit", "verify")["ok"]
    assert house.stop() == 0
    anthropic.mock.stop()


POLICY = """\
# how often, and when
anthropic_api_key:
  interval_days: 180
  last_rotated: "2025-12-08"  # kept
  next_rotation: "2026-06-06"
discord_bot_token:
  last_rotated: 2025-11-01
  interval_days: 90
"""


def test_backups_are_gates_and_the_policys_dates_follow(tmp_path):
    who, recipient = identity(tmp_path, "alice")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    config = tmp_path / "chamberlain.toml"
    text = (
        "version = 1\nenvironments.production.rotation_approvals = 0\n"
        f'keys.rotation_policy = "{policy}"\n'
        f'backup.folder = "{tmp_path}/backups"\nbackup.recipients = ["{recipient}"]\n'
    )
    config.write_text(text)
    anthropic = Anthropic(tmp_path)
    old, new, other = (anthropic.key(name) for name in ("old", "new", "other"))
    house = house_of(tmp_path, anthropic, old, admin=True, flags=("--config", str(config)))

    def start() -> None:
        house.run("rotation", "start", "production", "--reason", "scheduled", "--soak", "1s")
        house.run("rotation", "vouch", "notified", "--note", "told everybody")

    # Nobody has to approve, as configured; a backup that nobody here can read is no gate passed.
    start()
    [waits] = until(house, "approved")["waits_for"]
    assert "backup drill --identity" in waits, waits
    house.run("backup", "create")
    house.run("backup", "drill", "--identity", who)
    until(house, "await_key")
    house.run("rotation", "give-key", stdin=new)
    until(house, "done")
    lines = house.json("rotation", "timeline")
    [made] = [line["detail"] for line in lines if line["detail"].startswith("backup_2: ")]
    path = made.removeprefix("backup_2: ")
    assert house.run("backup", "verify", path, "--identity", who)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    written = policy.read_text()
    assert f'last_rotated: "{today}"  # kept' in written
    [next_day] = [line for line in written.splitlines() if "next_rotation" in line]
    kept = written.replace(today, "2025-12-08").replace(next_day, '  next_rotation: "2026-06-06"')
    assert kept == POLICY
    # With an identity here it makes one itself, restores it, and goes on.
    config.write_text(text + f'backup.drill_identity = "{who}"\n')
    house.run("config", "reload")
    house.run("key", "add", "--name", "spare", "--environment", "staging", stdin=other)
    start()
    until(house, "await_key")
    kinds = [(line["kind"], line["detail"].split(":")[0]) for line in house.json("rotation", "timeline")]
    assert ("intent", "backup") in kinds and ("result", "backup") in kinds
    assert house.json("status")["backup"]["drill"]["problem"] is None
    assert house.stop() == 0
    anthropic.mock.stop()


def test_words_that_are_not_allowed(tmp_path):
    anthropic = Anthropic(tmp_path)
    old, dead = anthropic.key("old"), anthropic.dead_key()
    house = house_of(tmp_path, anthropic, old, admin=False)
    started = house.json("rotation", "start", "production", "--reason", "scheduled")
    assert started["approvals_needed"] == 2
    again = house.attempt("rotation", "start", "production", "--reason", "again")
    assert again.returncode == 6 and started["id"] in again.stderr
    house.run("rotation", "vouch", "notified", "--note", "told everybody")
    own = house.attempt("rotation", "approve")
    assert own.returncode == 6 and "may not approve" in own.stderr
    file = tmp_path / "yes"
    file.write_text(f"approve rotation {started['id']}\n")
    file.chmod(0o666)
    assert house.attempt("rotation", "approve", "--file", str(file)).returncode == 2
    early = house.attempt("rotation", "give-key", started["id"], stdin=dead)
    assert early.returncode == 6 and "no key is waited for" in early.stderr
    house.run("rotation", "approve", "--break-glass", "nobody else is here")
    until(house, "approved")
    house.run("rotation", "vouch", "backed_up", "--note", "restored it once")
    until(house, "await_key")
    # A key that Anthropic does not take goes no further, and is not taken twice.
    house.run("rotation", "give-key", stdin=dead)
    until(house, "await_key", doing=lambda shown: None)
    end = time.monotonic() + 20
    while house.json("rotation", "show")["new_key"] and time.monotonic() < end:
        time.sleep(0.1)
    twice = house.attempt("rotation", "give-key", stdin=dead)
    assert twice.returncode == 6, twice.stderr
    same = house.attempt("rotation", "give-key", stdin=old)
    assert same.returncode == 6 and "very key" in same.stderr
    assert house.attempt("rotation", "give-key", stdin="not a key").returncode == 2
    assert house.attempt("rotation", "rollback", "--reason", "x").returncode == 6
    house.run("rotation", "abort", "--reason", "another day")
    ended = until(house, "aborted")
    assert ended["ended_because"] == "another day"
    assert house.stop() == 0
    anthropic.mock.stop()


def test_a_rollback_is_quick_and_fails_no_call(tmp_path):
    anthropic = Anthropic(tmp_path)
    old, new = anthropic.key("old"), anthropic.key("new")
    house = house_of(tmp_path, anthropic, old, admin=False)
    load = Load(house, house.virtual_key("load")["key"])
    begin(house)
    house.run("rotation", "give-key", stdin=new)
    until(house, "soaking")
    assert house.attempt("rotation", "abort", "--reason", "too late").returncode == 6
    house.run("rotation", "rollback", "--reason", "it feels wrong")
    until(house, "rolled_back", seconds=10)
    time.sleep(0.5)
    load.stop()
    assert load.bad == [] and load.good > 0
    assert anthropic.takes(old)
    [current] = [key for key in house.json("key", "list")["keys"] if key["state"] == "current"]
    assert current["name"].startswith("from-environment")
    assert house.stop() == 0
    anthropic.mock.stop()


def test_an_emergency_cuts_first_and_mends_after(tmp_path):
    anthropic = Anthropic(tmp_path)
    old, new = anthropic.key("old"), anthropic.key("new")
    house = house_of(tmp_path, anthropic, old, admin=True)
    key = house.virtual_key("load")["key"]
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}

    def call() -> int:
        answer = httpx.post(f"{house.gateway}/v1/messages", json=REQUEST, headers=headers)
        return answer.status_code

    assert call() == 200
    shown = house.json(
        "rotation", "start", "production", "--emergency", "--reason", "public repository"
    )
    # Before the command has answered, nothing leaves with the old key, and Anthropic takes it no more.
    assert call() == 503
    assert not anthropic.takes(old)
    assert shown["cut"] in ("local_cut", "old_inactive"), shown
    assert {clock["name"] for clock in shown["clocks"]} >= {"emergency", "new key taken in"}
    house.run("rotation", "give-key", stdin=new)
    until(house, "verified")
    assert call() == 200
    until(house, "done", seconds=120)
    line = (house.data / "logs" / "secrets-rotation.log").read_text()
    assert "emergency rotation" in line
    assert house.stop() == 0
    anthropic.mock.stop()
