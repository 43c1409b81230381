"""The inventory of upstream keys through the real binary, beside the mock's Admin API."""

import json
import subprocess
import time
import urllib.request

import pytest
from house import BINARY, House, clean_environment


def console(mock, path: str, method: str = "POST") -> dict:
    """What a person does in the Console."""
    request = urllib.request.Request(f"{mock.url}/mock/{path}", method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


class Desk:
    """A data folder without a server, whose upstream is the mock."""

    def __init__(self, folder, mock):
        self.mock = mock
        self.folder = folder
        config = folder / "chamberlain.toml"
        config.write_text(
            f'version = 1\n[upstream]\nurl = "{mock.url}"\n'
            '[keys]\nproject = "agentic-base"\n'
            '[environments.production]\nworkspace = "agentic-base-production"\n'
        )
        self.arguments = ["--data", str(folder / "data"), "--config", str(config)]
        for name in ("production", "staging"):
            console(mock, f"workspaces?id=wrkspc_{name}&name=agentic-base-{name}")
        self.admin = console(mock, "admin_keys")["key"]

    def attempt(self, *arguments: str, stdin: str = ""):
        return subprocess.run(
            [BINARY, *self.arguments, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=120,
        )

    def json(self, *arguments: str, stdin: str = ""):
        done = self.attempt("--json", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sync(self) -> dict[str, list[str]]:
        """What was found: kinds, each with the names it is about."""
        kinds: dict[str, list[str]] = {}
        for finding in self.json("key", "sync")["findings"]:
            kinds.setdefault(finding["kind"], []).append(finding["name"])
        return kinds


@pytest.fixture
def desk(tmp_path, own_mock):
    return Desk(tmp_path, own_mock)


def make(mock, name: str, **more: str) -> dict:
    rest = "".join(f"&{key}={value}" for key, value in more.items())
    return console(mock, f"keys?name={name}{rest}")


GOOD = "agentic-base-prod-translation-2026-01-02"


def test_what_is_not_taken_in(desk, own_mock):
    production = make(own_mock, GOOD, workspace_id="wrkspc_production")
    staging = make(own_mock, "x", workspace_id="wrkspc_staging")
    off = make(own_mock, "off", workspace_id="wrkspc_production")
    console(own_mock, f"keys/{off['id']}?status=inactive")
    refused = {
        "API key (sk-ant-api": ("key", "admin", "add", production["key"]),
        "does not take the admin key": ("key", "admin", "add", desk.admin[:-3] + "xyz"),
    }
    own_mock.fail("/v1/organizations/me", "GET", 401, 1)
    for says, (*arguments, value) in refused.items():
        done = desk.attempt(*arguments, stdin=value)
        assert done.returncode in (2, 4) and says in done.stderr, done.stderr
    assert desk.json("key", "admin", "show")["present"] is False
    desk.json("key", "admin", "add", stdin=desk.admin)

    add = ("key", "add", "--environment", "production")
    for says, value in {
        "this is an Admin API key": desk.admin,
        "has 60 characters": production["key"][:60],
        "has 216 characters": production["key"] * 2,
        "another environment's": staging["key"],
        "is inactive at Anthropic": off["key"],
    }.items():
        done = desk.attempt(*add, stdin=value)
        assert done.returncode in (2, 6) and says in done.stderr, done.stderr
        assert value[15:50] not in done.stderr + done.stdout
    assert desk.json("key", "list")["keys"] == []
    added = desk.json(*add, stdin=production["key"])
    assert (added["name"], added["created_on"]) == (GOOD, production["created_at"][:10])
    again = desk.attempt("key", "add", "--environment", "staging", stdin=production["key"])
    assert again.returncode == 6 and "already" in again.stderr and "staging" in again.stderr


def test_the_inventory_beside_anthropics_list(desk, own_mock):
    production = make(own_mock, GOOD, workspace_id="wrkspc_production")
    wide = make(own_mock, "agentic-base-staging-x-2026-01-02", workspace_id="organization")
    make(own_mock, "laptop")
    desk.json("key", "add", "--name", GOOD, "--environment", "production", stdin=production["key"])
    desk.json("key", "add", "--name", wide["name"], "--environment", "staging", stdin=wide["key"])
    assert "shadow" not in desk.sync(), "without an admin key nothing is known"
    desk.json("key", "admin", "add", stdin=desk.admin)

    found = desk.sync()
    assert found["shadow"] == ["laptop"]
    assert found["organization_wide"] == [wide["name"]]
    shown = desk.json("key", "show", GOOD)
    assert shown["anthropic_id"] == production["id"]
    assert shown["workspace_name"] == "agentic-base-production"

    console(own_mock, f"keys/{production['id']}?status=inactive")
    console(own_mock, "workspaces/wrkspc_production/members?user_id=user_eve")
    assert desk.sync()["inactive"] == [GOOD]
    doctor = desk.attempt("doctor")
    assert doctor.returncode == 3 and "is inactive at Anthropic" in doctor.stdout
    records = desk.attempt("audit", "export").stdout
    assert records.count("key.inactive") == 1 and "user_eve" in records
    assert desk.json("key", "sync")["new"] == 0, "it is told once"

    # Anthropic cannot be asked, or cannot be believed: what was found stays.
    for trouble in ("fail?path=/v1/organizations&status=529", "admin/lie?kind=not_json",
                    "admin/lie?kind=no_status", "admin/lie?kind=same_page&times=3"):
        console(own_mock, trouble)
        done = desk.attempt("key", "sync")
        assert done.returncode == 7, (trouble, done.stderr)
        assert "Admin API" in done.stderr
    kinds = {f["kind"] for key in desk.json("key", "list")["keys"] for f in key["findings"]}
    assert {"inactive", "organization_wide"} <= kinds
    console(own_mock, f"keys/{production['id']}?status=active")
    assert "inactive" not in desk.sync()

    removed = desk.json("key", "remove", GOOD)
    assert removed["state"] == "revoked"
    assert desk.sync()["still_alive"] == [GOOD]


def test_a_key_is_verified_by_its_fingerprint(desk, own_mock):
    made = make(own_mock, GOOD, workspace_id="wrkspc_production")
    added = desk.json("key", "add", "--name", GOOD, stdin=made["key"])
    before = len(own_mock.journal())
    verified = desk.json("key", "verify", GOOD)
    assert (verified["verdict"], verified["fingerprint"]) == ("works", added["fingerprint"])
    paths = [(entry["method"], entry["path"]) for entry in own_mock.journal()[before:]]
    assert paths == [("GET", "/v1/models"), ("POST", "/v1/messages")]
    assert [p["probe"] for p in desk.json("key", "verify", GOOD, "--free")["probes"]] == ["free"]
    records = desk.attempt("audit", "export").stdout
    assert records.index("upstream_key.probe_begun") < records.index("upstream_key.verified")
    for status, code in ((403, 3), (529, 7)):
        own_mock.fail("/v1/models", "GET", status, 1)
        assert desk.attempt("key", "verify", GOOD).returncode == code
    console(own_mock, f"keys/{made['id']}?status=inactive")
    dead = desk.attempt("key", "verify", GOOD)
    assert dead.returncode == 3 and "refused as no valid key" in dead.stdout


def test_a_key_is_renamed_here_and_there(desk, own_mock):
    made = make(own_mock, "my-key", workspace_id="wrkspc_production")
    desk.json("key", "admin", "add", stdin=desk.admin)
    add = ("key", "add", "--name", "my-key", "--environment", "production")
    desk.json(*add, "--purpose", "search", stdin=made["key"])

    def there() -> str:
        return console(own_mock, "keys", "GET")["keys"][0]["name"]

    console(own_mock, "admin/lie?kind=not_changed")
    lied = desk.attempt("key", "rename", "my-key", "--at-anthropic")
    assert lied.returncode == 7 and "cannot be believed" in lied.stderr
    assert desk.json("key", "show", "my-key")["name"] == there() == "my-key"
    renamed = desk.json("key", "rename", "my-key", "--at-anthropic")
    assert renamed["name"] == there()
    assert renamed["name"].startswith("agentic-base-prod-search-")


def test_a_table_goes_out_and_comes_in(desk, own_mock, tmp_path):
    made = make(own_mock, GOOD)
    desk.json("key", "add", "--name", GOOD, "--environment", "production", "--team", "docs",
              stdin=made["key"])
    for form in ("csv", "json", "yaml"):
        text = desk.attempt("key", "export", "--format", form).stdout
        assert GOOD in text and made["key"][20:60] not in text
        if form == "json":
            continue
        table = tmp_path / f"keys.{form}"
        table.write_text(text)
        (tmp_path / form).mkdir()
        other = Desk(tmp_path / form, own_mock)
        rows = other.json("key", "import", str(table))["rows"]
        assert [(row["name"], row["done"]) for row in rows] == [(GOOD, "listed")]
        taken = other.json("key", "show", GOOD)
        assert (taken["team"], taken["environment"]) == ("docs", "production")


def test_a_running_server_compares_by_itself(desk, own_mock, tmp_path):
    make(own_mock, "laptop")
    desk.json("key", "admin", "add", stdin=desk.admin)
    house = House(tmp_path, upstream=own_mock.url, key=make(own_mock, GOOD)["key"])
    try:

        def found() -> list[str]:
            return [finding["kind"] for finding in house.json("key", "list")["findings"]]

        for _ in range(100):
            if "shadow" in found():
                break
            time.sleep(0.1)
        assert "shadow" in found()
        jobs = {job["name"]: job for job in house.json("status")["jobs"]}
        assert jobs["compare_keys"]["last_error"] is None
    finally:
        house.stop()
