"""Backups through the real binary: made while it serves, opened with stock `age` and `gpg`, refused
when anything is wrong with them, and put back without bringing back what was stopped since."""

import json
import os
import random
import re
import shutil
import subprocess
import tarfile
import time

import httpx
import pytest
from house import BINARY, House, clean_environment, real_looking_key

MISSING, CORRUPT, WRONG_KEY, CONFLICT, STALE = 5, 3, 4, 6, 8


def identity(folder, name: str) -> tuple[str, str]:
    """An age identity made by stock age: its file and its recipient."""
    path = folder / f"{name}.identity"
    subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
    path.chmod(0o600)
    lines = path.read_text().splitlines()
    [recipient] = [line.split()[-1] for line in lines if "public key:" in line]
    return str(path), recipient


def call(house, key: str) -> httpx.Response:
    return httpx.post(
        house.gateway + "/v1/messages",
        json={
            "model": "claude-haiku-5-5",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "a prompt nobody keeps"}],
        },
        headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
    )


def chamberlain(*words: str, data=None, stdin=None) -> subprocess.CompletedProcess:
    variables = {"CHAMBERLAIN_DATA": str(data)} if data else {}
    return subprocess.run(
        [BINARY, *map(str, words)],
        input=stdin,
        capture_output=True,
        env=clean_environment(**variables),
        timeout=120,
    )


def restore(file, who: str, master, data, *more: str) -> subprocess.CompletedProcess:
    words = ["backup", "restore", file, "--identity", who, "--master-key", master, "--json", *more]
    return chamberlain(*words, data=data)


def made(house, folder, *recipients: str) -> dict:
    words = [word for recipient in recipients for word in ("--recipient", recipient)]
    return house.json("backup", "create", "--to", str(folder), *words)


@pytest.fixture
def people(tmp_path):
    return identity(tmp_path, "alice"), identity(tmp_path, "bob")


def test_stock_age_and_tar_open_what_was_made_under_load(own_house, tmp_path, people):
    (alice, first), (bob, second) = people
    key = own_house.virtual_key("ci")["key"]
    answered = 0
    for round in range(3):
        for _ in range(5):
            assert call(own_house, key).status_code == 200
            answered += 1
        folder = tmp_path / f"round-{round}"
        folder.mkdir()
        backup = made(own_house, folder, first, second)
        for who in (alice, bob):
            plain = folder / "plain.tar"
            subprocess.run(["age", "-d", "-i", who, "-o", plain, backup["path"]], check=True)
            with tarfile.open(plain) as archive:
                assert archive.getnames() == ["manifest.note", "chamberlain.db"]
                text = archive.extractfile("manifest.note").read().decode()
                store = archive.extractfile("chamberlain.db").read()
                assert not re.search(rb"sk-ant-api03-[\w-]{20}", store), "a key in the clear"
            plain.unlink()
        manifest = json.loads(text.split("\n\n\u2014 ")[0])
        # Whatever was answered before is in it.
        assert manifest["counts"]["calls"] == answered
        assert manifest["audit"]["records"] == backup["records"]
        checked = own_house.json("backup", "verify", backup["path"], "--identity", alice)
        assert checked["ok"] and checked["sum"] is True
    sums = subprocess.run(["sha256sum", "-c", backup["path"] + ".sha256"], cwd=folder)
    assert sums.returncode == 0
    left = [path.name for path in own_house.data.iterdir() if "making" in path.name]
    assert left == [], "what is in the clear is gone"


def test_stock_gpg_opens_one_and_what_it_gives_is_put_back(own_house, tmp_path):
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    making = ["--passphrase", "", "--quick-generate-key", "ops@example.com", "default", "default"]
    subprocess.run([*gpg, *making, "never"], check=True, capture_output=True)
    public = tmp_path / "ops.asc"
    exported = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True)
    public.write_bytes(exported.stdout)
    words = ["--to", str(tmp_path), "--openpgp-key", str(public)]
    backup = own_house.json("backup", "create", *words)
    assert backup["path"].endswith(".gpg")
    plain = subprocess.run([*gpg, "--decrypt", backup["path"]], check=True, capture_output=True)
    master, target = own_house.data / "master.key", tmp_path / "elsewhere"
    words = ["backup", "restore", "-", "--decrypted", "--master-key", master, "--json"]
    cut = chamberlain(*words, data=target, stdin=plain.stdout[:-700])
    assert cut.returncode == CORRUPT, cut.stderr
    done = chamberlain(*words, data=target, stdin=plain.stdout)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == backup["records"]
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def test_each_thing_that_can_be_wrong_has_its_exit_code(own_house, tmp_path, people):
    (alice, first), (_, second) = people
    backup = made(own_house, tmp_path, first, second)["path"]
    mallory, _ = identity(tmp_path, "mallory")
    master, target = own_house.data / "master.key", tmp_path / "elsewhere"
    other = tmp_path / "other.key"
    other.write_text("chm_master_" + "ab" * 21 + "A")
    other.chmod(0o600)

    def ends(file, who, key=master, *more):
        done = restore(file, who, key, target, *more)
        assert not (target / "chamberlain.db").exists() and not (target / "restoring").exists()
        return done.returncode

    assert ends(tmp_path / "none.age", alice) == MISSING
    assert ends(backup, mallory) == WRONG_KEY
    assert ends(backup, alice, other) == WRONG_KEY
    cut = tmp_path / "cut.age"
    cut.write_bytes(open(backup, "rb").read()[:-1])
    assert ends(cut, alice) == CORRUPT
    assert ends(backup, alice, tmp_path / "no.key") not in (0, MISSING, CORRUPT)
    # A newer one lies beside it.
    own_house.virtual_key("later")
    made(own_house, tmp_path, first, second)
    assert ends(backup, alice) == STALE
    # A server runs there.
    assert restore(backup, alice, master, own_house.data).returncode == CONFLICT


def test_no_changed_bit_and_no_cut_is_put_back(own_house, tmp_path, people):
    """A sample; the first test of `crates/chamberlain-vault/src/backup.rs` flips every bit of a
    small one. BACKUP_FLIPS=10000 makes it as long as the requirement says."""
    (alice, first), (bob, second) = people
    whole = open(made(own_house, tmp_path, first, second)["path"], "rb").read()
    master, dice = own_house.data / "master.key", random.Random(20261124)
    flips = int(os.environ.get("BACKUP_FLIPS", "25"))
    # The head, the first and the last chunk, and everywhere.
    places = [dice.randrange(len(whole)) for _ in range(flips)]
    places += [3, 30, 150, len(whole) - 1, len(whole) - 20]
    wrong = tmp_path / "wrong.age"
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        wrong.write_bytes(changed)
        done = chamberlain("backup", "verify", wrong, "--identity", alice, "--master-key", master)
        # Without the sum beside it a changed head may look like a wrong identity.
        assert done.returncode in (CORRUPT, WRONG_KEY, 1), (place, done.stderr)
    for length in (0, 1, 21, 22, 200, 65_536, len(whole) // 2, len(whole) - 16, len(whole) - 1):
        wrong.write_bytes(whole[:length])
        done = chamberlain("backup", "verify", wrong, "--identity", alice, "--master-key", master)
        assert done.returncode in (CORRUPT, 1), (length, done.stderr)
    # With it, it is always damage.
    shutil.copy(next(tmp_path.glob("chamberlain-*.sha256")), tmp_path / "wrong.age.sha256")
    wrong.write_bytes(bytes([whole[0]]) + whole[1:150] + bytes([whole[150] ^ 1]) + whole[151:])
    done = chamberlain("backup", "verify", wrong, "--identity", alice, "--master-key", master)
    assert done.returncode == CORRUPT


def test_what_was_stopped_since_does_not_come_back(own_house, own_mock, tmp_path, people):
    (alice, first), (_, second) = people
    kept, stopped = own_house.virtual_key("kept"), own_house.virtual_key("stopped")
    for key in (kept, stopped):
        assert call(own_house, key["key"]).status_code == 200
    backup = made(own_house, tmp_path, first, second)["path"]
    own_house.run("virtual", "revoke", "stopped", "--reason", "it leaked")
    assert call(own_house, kept["key"]).status_code == 200
    master = tmp_path / "kept-elsewhere.key"
    shutil.copy(own_house.data / "master.key", master)
    assert own_house.stop() == 0
    shutil.rmtree(own_house.data)

    # Meanwhile upstream does not take the key any more.
    own_mock.fail("/v1/models", "GET", 401, 1_000_000)
    target = tmp_path / "again"
    target.mkdir()
    done = restore(backup, alice, master, target / "data")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["virtual_keys_frozen"], told["upstream_keys_closed"]) == (3, 1)
    house = House(target, upstream=own_mock.url)
    try:
        before = len(own_mock.journal())
        # Every virtual key is held, the one that was revoked since among them.
        for key in (kept, stopped):
            assert call(house, key["key"]).status_code == 403
        asked = house.json("backup", "recheck")
        assert [key["open"] for key in asked["keys"]] == [False]
        assert "401" in asked["keys"][0]["answer"]
        # Whoever knows which ones are good says so; the other one stays shut.
        reason = "the ticket log says that it is good"
        house.run("backup", "release", "kept", "--reason", reason)
        assert call(house, stopped["key"]).status_code == 403
        # Money: everything is charged until somebody says what was spent.
        answer = call(house, kept["key"])
        assert answer.status_code in (429, 503) and "budget" in answer.text, answer.text
        house.run("backup", "settle", "--all", "--spent", "0.01", "--reason", "Console")
        # Production pauses itself when a budget is used up, and this one was taken for that.
        house.attempt("resume", "production")
        # And its upstream key is dead.
        answer = call(house, kept["key"])
        assert answer.status_code == 503 and "upstream key" in answer.text, answer.text
        sent = [entry for entry in own_mock.journal()[before:] if "messages" in entry["path"]]
        assert sent == [], "nothing left with a key that nobody had looked at"
        # Upstream takes it again: it was a slip of theirs.
        own_mock.forget()
        deadline = time.monotonic() + 60
        while not house.json("backup", "held")["upstream_keys"] == []:
            house.json("backup", "recheck")
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert call(house, kept["key"]).status_code == 200
        house.until_idle()
        spent = house.budget("production", "daily")
        assert float(spent["settled"]) > 0.01 and float(spent["unsettled"]) < 2, spent
        assert house.json("audit", "verify")["ok"]
        kinds = [json.loads(line)["record"]["kind"] for line in house.run("audit", "export").splitlines()]
        for kind in ("backup.restored", "backup.keys_released", "backup.spending_settled"):
            assert kinds.count(kind) == 1
        assert kinds.count("upstream_key.rechecked") == 1
    finally:
        assert house.stop() == 0


def test_what_was_there_is_set_aside_with_its_intake(own_house, tmp_path, people):
    (alice, first), (_, second) = people
    key = own_house.virtual_key("ci")["key"]
    assert call(own_house, key).status_code == 200
    backup = made(own_house, tmp_path, first, second)
    for _ in range(20):
        assert call(own_house, key).status_code == 200
    own_house.kill()
    master = own_house.data / "master.key"
    assert restore(backup["path"], alice, master, own_house.data).returncode == CONFLICT
    done = restore(backup["path"], alice, master, own_house.data, "--replace")
    assert done.returncode == 0, done.stderr
    aside = json.loads(done.stdout)["aside"]
    assert aside and (own_house.data / aside / "chamberlain.db").exists()
    # The intake of the store that was set aside is not taken for this one's.
    calls = chamberlain("calls", "--json", data=own_house.data)
    assert len(json.loads(calls.stdout)["calls"]) == 1
    verified = json.loads(chamberlain("audit", "verify", "--json", data=own_house.data).stdout)
    assert verified["ok"], verified


def test_a_house_backs_itself_up_and_drills_it(own_mock, tmp_path):
    alice, first = identity(tmp_path, "alice")
    _, second = identity(tmp_path, "bob")
    folder = tmp_path / "backups"
    settings = {
        "CHAMBERLAIN_BACKUP__FOLDER": str(folder),
        "CHAMBERLAIN_BACKUP__RECIPIENTS": f"{first},{second}",
        "CHAMBERLAIN_BACKUP__DRILL_IDENTITY": alice,
    }
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), **settings)
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.age")):
            assert time.monotonic() < deadline, house.log.read_text()
            time.sleep(0.1)
        [backup] = folder.glob("*.age")
        key = house.virtual_key("ci")["key"]
        assert call(house, key).status_code == 200
        before = len(own_mock.journal())
        words = ["backup", "drill", "--identity", alice, backup]
        drilled = chamberlain(*words, "--json", data=house.data)
        assert drilled.returncode == 0, drilled.stdout
        report = json.loads(drilled.stdout)
        assert report["ok"] and report["problem"] is None
        names = [step["name"] for step in report["steps"]]
        assert names[0] == "put back" and "one call in each environment" in names
        assert len(own_mock.journal()) == before, "nothing of a drill goes upstream"
        assert not list(house.data.glob("drill-*")), "it is destroyed"
        status = house.json("status")["backup"]
        assert status["drill"]["problem"] is None and status["last_at"], status
        checks = {check["name"]: check["state"] for check in house.json("doctor", ok=(0, 3))["checks"]}
        assert checks["backups"] == "ok"
        # One that cannot be put back is found out, and somebody is told.
        whole = backup.read_bytes()
        backup.write_bytes(whole[:-100])
        failed = chamberlain(*words, "--json", data=house.data)
        assert failed.returncode == CORRUPT, failed.stderr
        assert "damaged" in json.loads(failed.stdout)["problem"]
        assert "damaged" in house.json("status")["backup"]["drill"]["problem"]
        records = [json.loads(line)["record"] for line in house.run("audit", "export").splitlines()]
        kinds = [record["kind"] for record in records]
        assert kinds.count("backup.drilled") >= 2 and "backup.drill_failed" in kinds
    finally:
        assert house.stop() == 0
