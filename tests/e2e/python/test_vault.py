"""A change of the master key through the real binary: what it leaves behind, and that nothing is lost
wherever it is killed."""

import os
import random
import shutil
import subprocess
import time

import httpx
import pytest
from house import BINARY, House, clean_environment, real_looking_key

PROBLEM, CONFLICT, UNAVAILABLE = 3, 6, 7


def chamberlain(data, *words: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BINARY, *words, "--data", str(data)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(**env),
        timeout=120,
    )


def rekeyed(data, *words: str, **env: str) -> subprocess.CompletedProcess:
    done = chamberlain(data, "vault", "rekey", *words, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def ask(house, key: str) -> int:
    answer = httpx.post(
        house.gateway + "/v1/messages",
        json={
            "model": "claude-haiku-5-5",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "hello"}],
        },
        headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
    )
    return answer.status_code


@pytest.fixture
def stopped(tmp_path, own_mock):
    """A house with two upstream keys and an admin key that nobody serves."""
    house = House(tmp_path, own_mock.url, real_looking_key())
    house.run("key", "add", "--name", "other", "--environment", "staging", stdin=real_looking_key())
    admin = real_looking_key().replace("api03", "admin01")
    house.run("key", "admin", "add", "--unchecked", stdin=admin)
    house.stop()
    return house


def keys(data) -> list[str]:
    return sorted(path.name for path in data.glob("master.key*"))


def test_a_new_master_key_opens_everything_and_the_old_one_nothing(stopped, tmp_path, own_mock):
    data = stopped.data
    old = (data / "master.key").read_bytes()
    done = rekeyed(data)
    assert "chm_master_" not in done.stdout + done.stderr
    new = (data / "master.key").read_bytes()
    [aside] = [name for name in keys(data) if name != "master.key"]
    assert aside.startswith("master.key.until-") and (data / aside).read_bytes() == old != new
    assert all((data / name).stat().st_mode & 0o077 == 0 for name in keys(data))
    wrong = chamberlain(data, "key", "list", CHAMBERLAIN_MASTER_KEY_FILE=str(data / aside))
    assert wrong.returncode == UNAVAILABLE and "not the master key" in wrong.stderr

    house = House(tmp_path, own_mock.url)
    try:
        key = house.virtual_key("ci")["key"]
        assert ask(house, key) == 200
        assert house.json("audit", "verify")["ok"]
        refused = house.attempt("vault", "rekey")
        assert refused.returncode == CONFLICT and "stop it" in refused.stderr
        assert (data / "master.key").read_bytes() == new
    finally:
        house.stop()


def test_it_can_lie_elsewhere_or_be_a_passphrase(stopped, tmp_path):
    data, elsewhere, words = stopped.data, tmp_path / "safe.key", tmp_path / "words"
    rekeyed(data, "--new-key-file", str(elsewhere))
    assert elsewhere.stat().st_mode & 0o777 == 0o600
    assert "master.key" not in keys(data)
    there = {"CHAMBERLAIN_MASTER_KEY_FILE": str(elsewhere)}
    assert chamberlain(data, "key", "list").returncode == UNAVAILABLE
    assert chamberlain(data, "key", "list", **there).returncode == 0
    again = chamberlain(data, "vault", "rekey", "--new-key-file", str(elsewhere), **there)
    assert again.returncode == CONFLICT, again.stderr
    assert chamberlain(data, "vault", "rekey", **there).returncode == 2

    words.write_text("some seven words that nobody would guess\n")
    words.chmod(0o600)
    rekeyed(data, "--new-passphrase-file", str(words), **there)
    assert chamberlain(data, "key", "list", **there).returncode == UNAVAILABLE
    spoken = {"CHAMBERLAIN_PASSPHRASE_FILE": str(words)}
    assert chamberlain(data, "key", "list", **spoken).returncode == 0
    # And back: a rekey opens everything sealed, and fails if one thing does not.
    rekeyed(data, "--new-key-file", str(data / "fresh.key"), **spoken)


def test_cut_short_between_any_two_steps_the_next_start_finishes_it(stopped, tmp_path):
    """Every state that a kill can leave, put together from the files of before and after."""
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(stopped.data, before)
    rekeyed(stopped.data)
    shutil.copytree(stopped.data, after)
    [aside] = [name for name in keys(after) if name != "master.key"]
    old, new = (before / "master.key", after / "master.key")
    made = {
        # the new key is written; the store is the old one
        "written": (before, {"master.key": old, "master.key.new": new}),
        # half of the new key is written
        "torn": (before, {"master.key": old, "master.key.new": None}),
        # the store is the new one; no file was moved
        "committed": (after, {"master.key": old, "master.key.new": new}),
        # the old key has its other name
        "linked": (after, {"master.key": old, "master.key.new": new, aside: old}),
        # all done
        "installed": (after, {"master.key": new, aside: old}),
        # somebody moved the old key away in between
        "moved": (after, {"master.key.new": new}),
    }
    for name, (store, files) in made.items():
        data = tmp_path / name
        shutil.copytree(store, data)
        for path in data.glob("master.key*"):
            path.unlink()
        for file, content in files.items():
            (data / file).write_bytes(content.read_bytes() if content else b"chm_mas")
            (data / file).chmod(0o600)
        listed = chamberlain(data, "key", "list", "--json")
        assert listed.returncode == 0, (name, listed.stderr)
        # It opens everything that is sealed, or fails.
        rekeyed(data)
        assert "master.key" in keys(data) and "master.key.new" not in keys(data), name


def test_kills_at_any_moment(stopped):
    """`kill -9` at random moments, one after the other on the same house: after each of them
    everything opens, for the next change opens everything."""
    data, seed = stopped.data, int(os.environ.get("TORTURE_SEED", time.time_ns() % 1_000_000))
    print(f"TORTURE_SEED={seed}")
    dice = random.Random(seed)
    began = time.monotonic()
    rekeyed(data)
    whole = time.monotonic() - began
    ends = {"killed": 0, "done": 0}
    for _ in range(int(os.environ.get("TORTURE_KILLS", "25"))):
        child = subprocess.Popen(
            [BINARY, "vault", "rekey", "--data", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        )
        time.sleep(dice.uniform(0, whole * 1.2))
        child.kill()
        ends["done" if child.wait() == 0 else "killed"] += 1
        listed = chamberlain(data, "key", "list", "--json")
        assert listed.returncode == 0, listed.stderr
    rekeyed(data)
    print(ends)
    assert ends["killed"], "nothing was ever killed"
    assert chamberlain(data, "audit", "verify").returncode == 0
