"""Sinks through the real binary: files under kills and on broken disks, programs, and fakes of
GitHub and GitLab that open what they are sent."""

import base64
import errno
import hashlib
import json
import os
import random
import secrets
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hosts import GitHub, GitLab
from house import BINARY, House, clean_environment, real_looking_key
from machine import Machine


class Place:
    """A folder with a configuration, a data folder with a key in it, and no server."""

    def __init__(self, folder: Path, config: str, environment: str = "production"):
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "chamberlain.toml"
        self.config.write_text("version = 1\n" + config)
        self.config.chmod(0o600)
        self.key = real_looking_key()
        self.run("key", "add", "--name", "main", "--environment", environment, stdin=self.key)

    def attempt(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [BINARY, "--config", str(self.config), "--data", str(self.data), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=clean_environment(**env),
            timeout=120,
        )

    def run(self, *arguments: str, stdin: str = "", ok: int = 0, **env: str) -> str:
        done = self.attempt(*arguments, stdin=stdin, **env)
        assert done.returncode == ok, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *arguments: str, ok: int = 0):
        done = self.attempt(*arguments, "--json")
        assert done.returncode == ok, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def sink(self, name: str) -> dict:
        [found] = [sink for sink in self.json("sink", "list")["sinks"] if sink["name"] == name]
        return found

    def kinds(self) -> list[str]:
        lines = self.run("audit", "export", "--json").splitlines()
        kinds = [json.loads(line)["record"]["kind"] for line in lines]
        return [kind for kind in kinds if kind.startswith("sink.")]


def env_file(path: Path, more: str = "") -> str:
    return (
        f'[sinks.app]\nkind = "env_file"\nenvironment = "production"\n'
        f'variable = "ANTHROPIC_API_KEY"\npath = "{path}"\n{more}\n'
    )


OLD = "# the bot's\nNODE_ENV=production\nANTHROPIC_API_KEY=old-value\nMY_ANTHROPIC_API_KEY=other\n"


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir(mode=0o700)
    return folder


def test_an_env_file_is_replaced_and_nothing_else(tmp_path, files):
    path = files / ".env.local"
    path.write_text(OLD)
    path.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(path, 1234, 5678)
    place = Place(tmp_path, env_file(path))
    assert "mode 644" in place.run("sink", "check", "app")
    assert path.read_text() == OLD, "a check changes nothing"
    place.run("sink", "deliver", "app")
    assert path.read_text() == OLD.replace("old-value", place.key)
    about = path.stat()
    assert stat.S_IMODE(about.st_mode) == 0o600
    if os.geteuid() == 0:
        assert (about.st_uid, about.st_gid) == (1234, 5678)
    assert os.listdir(files) == [".env.local"]
    assert "it was there" in place.run("sink", "deliver", "app")
    assert "it has this key" in place.run("sink", "check", "app")
    path.write_text(OLD)
    assert "another value" in place.run("sink", "check", "app")
    log = place.run("audit", "export") + place.run("sink", "list")
    assert place.key[20:50] not in log and place.kinds()[:2] == [
        "sink.delivery_begun",
        "sink.delivered",
    ]
    place.run("audit", "verify")


def test_a_link_and_an_open_folder_are_refused_with_what_to_do(tmp_path, files):
    path = files / ".env"
    (files / "real").write_text(OLD)
    path.symlink_to("real")
    place = Place(tmp_path, env_file(path))
    assert "is a link to real" in place.run("sink", "deliver", "app", ok=1)
    path.unlink()
    files.chmod(0o777)
    assert f"chmod o-w {files}" in place.run("sink", "check", ok=3)
    assert (files / "real").read_text() == OLD and not path.exists()


def whole(text: str, key: str) -> bool:
    return text in (OLD, OLD.replace("old-value", key))


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new(tmp_path, files):
    """Kills deliveries at random moments; what others read meanwhile is always whole."""
    path = files / ".env"
    path.write_text(OLD)
    place = Place(tmp_path, env_file(path))
    broken, reading = [], True

    def read():
        while reading:
            text = path.read_text()
            if not whole(text, place.key):
                broken.append(text)

    reader = threading.Thread(target=read)
    reader.start()
    command = [BINARY, "--config", str(place.config), "--data", str(place.data)]
    dice = random.Random(7)
    start = time.monotonic()
    place.run("sink", "deliver", "app")
    takes = time.monotonic() - start
    for _ in range(int(os.environ.get("SINK_KILLS", "25"))):
        path.write_text(OLD)
        child = subprocess.Popen(
            [*command, "sink", "deliver", "app"],
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(dice.uniform(takes * 0.3, takes * 1.1))
        child.kill()
        child.wait()
        assert whole(path.read_text(), place.key)
    reading = False
    reader.join()
    # The test itself writes the old text; only a mixture, or half of it, is a fault.
    assert not [text for text in broken if text and not OLD.startswith(text)]
    place.run("sink", "deliver", "app")
    assert os.listdir(files) == [".env"]
    assert path.read_text() == OLD.replace("old-value", place.key)


# Those of the new file itself, which has no name yet, cannot be told by its path.
NAMELESS = ["fchown", "fchmod"]
STEPS = ["openat", "fstat", "fsync", "linkat", "renameat", "unlinkat", "close", *NAMELESS]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not here")
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_each_step_leaves_the_old_file_or_the_new(tmp_path, files, step):
    """Kills the delivery in the system call itself, at each that touches the folder."""
    path = files / ".env"
    place = Place(tmp_path, env_file(path))
    for when in range(1, 9):
        path.write_text(OLD)
        inject = f"inject={step}:signal=KILL:when={when}"
        trace = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", inject]
        trace += [] if step in NAMELESS else ["-P", str(files), "-P", str(path)]
        command = [BINARY, "--config", str(place.config), "--data", str(place.data)]
        ended = subprocess.run(
            [*trace, *command, "sink", "deliver", "app"],
            env=clean_environment(),
            capture_output=True,
            timeout=120,
        )
        assert when > 1 or ended.returncode != 0, "the first was not killed"
        assert whole(path.read_text(), place.key), f"{step} {when}"
        left = set(os.listdir(files)) - {".env"}
        assert left <= {".env.chamberlain-new"}
        for name in left:
            assert stat.S_IMODE((files / name).stat().st_mode) == 0o600
        # Whatever was left is swept, and the state on record is mended, by doing it again.
        place.run("sink", "deliver", "app")
        assert path.read_text() == OLD.replace("old-value", place.key)
        assert os.listdir(files) == [".env"]
        assert place.sink("app")["last"]["state"] == "delivered"


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_writes_keeps_the_old_file(tmp_path, files, why):
    path = files / ".env"
    path.write_text(OLD)
    place = Place(tmp_path, env_file(path))
    (tmp_path / "machine").mkdir()
    machine = Machine(tmp_path / "machine")
    machine.refuse_writes(why)
    broken = machine.environment | {"MACHINE_FOLDER": str(files)}
    broken.pop("MACHINE_DISK")
    done = place.attempt("sink", "deliver", "app", **broken)
    assert done.returncode in (1, 7), done.stderr
    assert "the sink is as it was" in done.stderr and place.key not in done.stderr
    assert path.read_text() == OLD and os.listdir(files) == [".env"]
    last = place.sink("app")["last"]
    assert (last["state"], last["effect"]) == ("failed", "nothing")
    place.run("sink", "deliver", "app")
    assert path.read_text() == OLD.replace("old-value", place.key)


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def test_a_restarted_program_is_found_out_and_a_recreated_one_proves_the_key(tmp_path, files):
    """The seed's outage: the file is new, the container still has the old key."""
    path, created = files / ".env", files / "created-with"
    path.write_text(OLD)
    created.write_text("old-value")
    health = program(files / "health", f'printf %s "$(cat {created})" | sha256sum')
    recreate = files / "recreate"
    more = (
        f'recreate = ["{recreate}"]\nhealth = ["{health}"]\n'
        'health_shows = "sha256"\nhealth_timeout = "1s"\n'
    )
    place = Place(tmp_path, env_file(path, more))
    program(recreate, "exit 0")
    told = place.run("sink", "deliver", "app", ok=7)
    assert "with another key" in told and "--force-recreate" in told
    sink = place.sink("app")
    assert (sink["last"]["effect"], sink["holds"]["name"]) == ("done", "main")
    program(recreate, f"sed -n 's/^ANTHROPIC_API_KEY=//p' {path} | tr -d '\\n' > {created}")
    place.run("sink", "deliver", "app")
    assert created.read_text() == place.key
    assert hashlib.sha256(place.key.encode()).hexdigest() not in place.run("audit", "export")


def test_commands_that_only_restart_are_refused_by_the_configuration(tmp_path, files):
    more = 'recreate = ["/usr/bin/docker", "compose", "restart", "bot"]'
    config = tmp_path / "chamberlain.toml"
    config.write_text("version = 1\n" + env_file(files / ".env", more))
    done = subprocess.run(
        [BINARY, "config", "check", str(config)], capture_output=True, text=True,
        env=clean_environment(CHAMBERLAIN_CONFIG=str(config)),
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "--force-recreate" in said, said


def test_a_command_reads_the_key_and_is_killed_at_its_limit(tmp_path, files):
    got, args = files / "got", files / "args"
    put = program(files / "put", f"cat > {got}; tr '\\0' ' ' < /proc/$$/cmdline > {args}")
    slow = program(files / "slow", "cat >/dev/null; sleep 600")
    config = "".join(
        f'[sinks.{name}]\nkind = "command"\nenvironment = "production"\n'
        f'command = ["{path}"]\ntimeout = "1s"\n'
        for name, path in (("put", put), ("slow", slow))
    )
    place = Place(tmp_path, config)
    place.run("sink", "deliver", "put")
    assert got.read_text() == place.key and place.key not in args.read_text()
    told = place.run("sink", "deliver", "slow", ok=7)
    assert "did not end within 1000 ms and was killed" in told
    assert place.sink("slow")["last"]["effect"] == "unknown"
    running = subprocess.run(["pgrep", "-f", str(slow)], capture_output=True, text=True).stdout
    assert not running, "it outlived its limit"


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    text = "planted-" + secrets.token_hex(16)
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path, text


@pytest.fixture
def github(token):
    host = GitHub(token[1], "agentic-base/integration")
    yield host
    host.close()


@pytest.fixture
def gitlab(token):
    host = GitLab(token[1], "agentic-base/integration")
    yield host
    host.close()


NAME = "ANTHROPIC_API_KEY_STAGING"


def github_place(tmp_path: Path, host: GitHub, timeout: str = "10s") -> Place:
    config = (
        f'[sinks.ci]\nkind = "github"\nenvironment = "staging"\nrepository = "{host.repository}"\n'
        f'secret = "{NAME}"\napi = "{host.url}"\ntoken_file = "{tmp_path / "token"}"\n'
        f'timeout = "{timeout}"\n'
    )
    return Place(tmp_path, config, environment="staging")


def gitlab_place(tmp_path: Path, host: GitLab, timeout: str = "10s") -> Place:
    config = (
        f'[sinks.ci]\nkind = "gitlab"\nenvironment = "staging"\nproject = "{host.project}"\n'
        f'variable = "{NAME}"\napi = "{host.url}"\ntoken_file = "{tmp_path / "token"}"\n'
        f'timeout = "{timeout}"\n'
    )
    return Place(tmp_path, config, environment="staging")


def test_github_opens_what_it_is_sent(tmp_path, github, token):
    place = github_place(tmp_path, github)
    assert f"{NAME} is not there yet" in place.run("sink", "check")
    assert not github.writes(), "a check changes nothing"
    place.run("sink", "deliver", "ci")
    assert github.secrets[NAME][0] == place.key
    sent = json.dumps(github.asked)
    assert place.key not in sent
    # Twice within a second: the listed time cannot tell them apart, and need not.
    place.run("sink", "deliver", "ci")
    assert "not changed since" in place.run("sink", "check")
    github.put(NAME, "somebody's", "2030-01-01T00:00:00Z")
    assert "somebody else updated" in place.run("sink", "check")
    said = place.run("audit", "export") + place.run("sink", "list")
    assert token[1] not in said and place.key not in said


def test_a_virtual_key_goes_to_ci_without_being_seen(tmp_path, github):
    place = github_place(tmp_path, github)
    made = place.json("virtual", "create", "--name", "ci", "--environment", "staging")
    place.run("sink", "deliver", "ci", "--virtual", stdin=made["key"] + "\n")
    assert github.secrets[NAME][0] == made["key"]
    assert place.sink("ci")["holds"]["name"] == "ci"
    other = place.json("virtual", "create", "--name", "p", "--environment", "production")
    place.run("sink", "deliver", "ci", "--virtual", stdin=other["key"], ok=6)
    assert github.secrets[NAME][0] == made["key"]


TROUBLES = [
    # What the host does when it is written to, the exit code, and what is left behind.
    (401, 1, "nothing"),
    (403, 1, "nothing"),
    ((403, {"x-ratelimit-remaining": "0"}), 7, "nothing"),
    (404, 1, "nothing"),
    (422, 1, "nothing"),
    ((429, {"retry-after": "60"}), 7, "nothing"),
    (500, 7, "unknown"),
    (503, 7, "unknown"),
    (3.0, 7, "unknown"),
    ("lie", 7, "unknown"),
]


@pytest.mark.parametrize("trouble, code, effect", TROUBLES, ids=str)
def test_github_in_trouble(tmp_path, github, token, trouble, code, effect):
    place = github_place(tmp_path, github, timeout="2s")
    github.put(NAME, "old", "2026-01-01T00:00:00Z")
    github.trouble = lambda method, _: trouble if method == "PUT" else None
    told = place.run("sink", "deliver", "ci", ok=code)
    assert place.key not in told and token[1] not in told
    last = place.sink("ci")["last"]
    assert (last["state"], last["effect"]) == ("failed", effect), told
    github.trouble = lambda *_: None
    place.run("sink", "deliver", "ci")
    assert github.secrets[NAME][0] == place.key


@pytest.mark.parametrize("trouble, code, effect", TROUBLES, ids=str)
def test_gitlab_in_trouble(tmp_path, gitlab, token, trouble, code, effect):
    place = gitlab_place(tmp_path, gitlab, timeout="2s")
    code = 1 if trouble == "lie" else code
    gitlab.trouble = lambda method, _: trouble if method != "GET" else None
    told = place.run("sink", "deliver", "ci", ok=code)
    assert place.key not in told and token[1] not in told
    last = place.sink("ci")["last"]
    assert (last["state"], last["effect"]) == ("failed", effect), told
    gitlab.trouble = lambda *_: None
    place.run("sink", "deliver", "ci")
    assert gitlab.variables[NAME, "*"]["value"] == place.key


@pytest.mark.parametrize("status, code", [(401, 1), (403, 1), (404, 1), (429, 7), (503, 7)])
def test_a_host_that_cannot_be_asked_is_not_written_to(tmp_path, github, status, code):
    place = github_place(tmp_path, github)
    github.trouble = lambda method, _: status if method == "GET" else None
    place.run("sink", "check", ok=3)
    place.run("sink", "deliver", "ci", ok=code)
    assert not github.writes()
    assert place.sink("ci")["last"]["effect"] == "nothing"


def test_gitlabs_variable_is_protected_and_masked(tmp_path, gitlab):
    place = gitlab_place(tmp_path, gitlab)
    assert "absent on branches" in place.run("sink", "check")
    assert not gitlab.writes()
    told = place.run("sink", "deliver", "ci")
    assert "absent on branches" in told
    made = gitlab.variables[NAME, "*"]
    assert (made["value"], made["protected"], made["masked"]) == (place.key, True, True)
    assert [method for method, *_ in gitlab.writes()] == ["POST"]
    # It is there: nothing is written. Somebody opens it: it is closed again.
    place.run("sink", "deliver", "ci")
    assert len(gitlab.writes()) == 1
    made["protected"] = False
    assert "is not protected and masked" in place.run("sink", "check")
    place.run("sink", "deliver", "ci")
    assert [method for method, *_ in gitlab.writes()] == ["POST", "PUT"]
    assert gitlab.variables[NAME, "*"]["protected"] is True
    assert "it has this key" in place.run("sink", "check")


def test_a_gitlab_that_drops_the_flags_is_found_out(tmp_path, gitlab):
    place = gitlab_place(tmp_path, gitlab)
    gitlab.forgets_flags = True
    told = place.run("sink", "deliver", "ci", ok=1)
    assert "neither protected nor masked" in told and "has to be replaced" in told
    sink = place.sink("ci")
    assert (sink["last"]["effect"], sink["holds"]["name"]) == ("done", "main")


def test_development_is_given_a_virtual_key(tmp_path, files):
    path = files / ".env"
    template = "ANTHROPIC_BASE_URL=http://127.0.0.1:8787\nNODE_ENV=development\n"
    path.write_text(template)
    place = Place(
        tmp_path,
        env_file(path).replace("production", "development"),
        environment="development",
    )
    told = place.run("sink", "deliver", "app", ok=6)
    assert "takes virtual keys only" in told and path.read_text() == template
    made = place.json("virtual", "create", "--name", "dev", "--environment", "development")
    place.run("sink", "deliver", "app", "--virtual", stdin=made["key"])
    assert path.read_text() == f"{template}ANTHROPIC_API_KEY={made['key']}\n"
    place.run("sink", "deliver", "app", "--force", "--reason", "demo without network")
    assert path.read_text() == f"{template}ANTHROPIC_API_KEY={place.key}\n"
    assert "demo without network" in place.run("audit", "export")


def test_a_hanging_sink_keeps_nobody_from_removing_the_key(tmp_path, files, mock):
    begun = files / "begun"
    hang = program(files / "hang", f"touch {begun}; sleep 600")
    config = tmp_path / "chamberlain.toml"
    config.write_text(
        'version = 1\n[sinks.hang]\nkind = "command"\nenvironment = "production"\n'
        f'command = ["{hang}"]\ntimeout = "4s"\n'
    )
    config.chmod(0o600)
    house = House(
        tmp_path, upstream=mock.url, key=real_looking_key(), flags=("--config", str(config))
    )
    delivery = threading.Thread(target=lambda: house.attempt("sink", "deliver", "hang"))
    delivery.start()
    while not begun.exists():
        time.sleep(0.01)
    [key] = house.json("key", "list")["keys"]
    house.run("key", "remove", key["id"], "--reason", "leaked")
    assert delivery.is_alive(), "the delivery ended before the key was removed"
    delivery.join()
    [sink] = house.json("sink", "list")["sinks"]
    assert (sink["last"]["state"], sink["last"]["effect"]) == ("failed", "unknown")
    assert house.stop() == 0


KUBECTL = shutil.which("kubectl")


@pytest.mark.skipif(not KUBECTL, reason="kubectl is not here")
def test_kubectl_reads_the_manifest(tmp_path, files):
    path, got = files / "anthropic.yaml", files / "got"
    # What kubectl itself reads out of the manifest, without a cluster.
    read = f"exec {KUBECTL} label --local -f - checked=yes -o json > {got}"
    apply = program(files / "apply", read)
    common = (
        'kind = "kubernetes"\nenvironment = "production"\nnamespace = "agentic-base"\n'
        'secret = "anthropic"\nvariable = "ANTHROPIC_API_KEY"\n'
    )
    config = f'[sinks.file]\n{common}path = "{path}"\n[sinks.run]\n{common}command = ["{apply}"]\n'
    place = Place(tmp_path, config)
    place.run("sink", "deliver", "file")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    place.run("sink", "deliver", "run")
    made = json.loads(got.read_text())
    named = (made["metadata"]["namespace"], made["metadata"]["name"])
    assert (made["kind"], named) == ("Secret", ("agentic-base", "anthropic"))
    assert base64.b64decode(made["data"]["ANTHROPIC_API_KEY"]).decode() == place.key
