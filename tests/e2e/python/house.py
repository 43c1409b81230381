"""A Chamberlain and a fake Anthropic, started as real processes for one test."""

import atexit
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

BINARY = os.environ["CHAMBERLAIN_BIN"]


def real_looking_key() -> str:
    """A text of the shape of an Anthropic key, made now: no such text is kept in any file."""
    return "sk-ant-api03-" + secrets.token_hex(47)[:93] + "AA"


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without anything that would configure Chamberlain or an SDK by accident."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHAMBERLAIN_", "ANTHROPIC_"))
    }
    return kept | extra


class Process:
    """A child that prints one JSON object when it is ready, and logs to a file.

    `prefix` is a command that becomes the child: it changes what surrounds it, and runs it.
    """

    def __init__(
        self, arguments: list[str], log: Path, prefix: tuple[str, ...] = (), **environment: str
    ):
        self.log = log
        self.prefix = prefix
        self.child = subprocess.Popen(
            [*prefix, BINARY, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            env=clean_environment(**environment),
        )
        # A test that fails leaves none behind.
        atexit.register(self.child.kill)
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{arguments} ended with {self.child.wait()}: {log.read_text()}")
        text = line
        while True:
            try:
                self.ready = json.loads(text)
                break
            except json.JSONDecodeError:
                more = self.child.stdout.readline()
                if not more:
                    raise RuntimeError(f"{arguments} printed {text!r}") from None
                text += more

    def stop(self) -> int:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()


class Mock(Process):
    """`chamberlain mock`, the fake Anthropic."""

    def __init__(self, folder: Path, *flags: str):
        arguments = ["mock", "--listen", "127.0.0.1:0", "--json", *flags]
        super().__init__(arguments, folder / "mock.log")
        self.url = self.ready["url"]

    def journal(self, since: int = 0) -> list[dict]:
        with urllib.request.urlopen(f"{self.url}/mock/journal?since={since}") as answer:
            found = json.load(answer)
        return found if isinstance(found, list) else found["entries"]

    def entry(self, number: int) -> dict:
        with urllib.request.urlopen(f"{self.url}/mock/journal/{number}") as answer:
            return json.load(answer)

    def advance(self, seconds: int) -> None:
        """Lets time run ahead for batches."""
        self.post(f"clock?advance_s={seconds}")

    def fail(self, path: str, method: str, status: int, times: int) -> None:
        """Makes the next requests to paths that begin so fail."""
        self.post(f"fail?path={path}&method={method}&status={status}&times={times}")

    def post(self, path: str) -> None:
        request = urllib.request.Request(f"{self.url}/mock/{path}", method="POST")
        urllib.request.urlopen(request).close()

    def forget(self) -> None:
        for path in ("journal", "state"):
            request = urllib.request.Request(f"{self.url}/mock/{path}", method="DELETE")
            urllib.request.urlopen(request).close()


class KeepingMock(Mock):
    """A mock that keeps what it was sent."""

    def __init__(self, folder: Path):
        super().__init__(folder, "--keep-bodies")

    def body(self, number: int) -> dict:
        """The body of the request of that number."""
        with urllib.request.urlopen(f"{self.url}/mock/journal/{number}/body") as answer:
            return json.load(answer)

    def bodies(self, since: int = 0) -> list[dict]:
        """The messages that were asked for."""
        asked = [entry["n"] for entry in self.journal(since) if entry["path"] == "/v1/messages"]
        return [self.body(number) for number in asked]


class House(Process):
    """`chamberlain up` on a data folder."""

    def __init__(
        self,
        folder: Path,
        upstream: str | None = None,
        key: str | None = None,
        flags: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        **env: str,
    ):
        self.data = folder / "data"
        self.folder = folder
        arguments = ["up", "--data", str(self.data), "--json"]
        arguments += ["--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", *flags]
        if upstream:
            arguments += ["--upstream", upstream]
        if key:
            env["ANTHROPIC_API_KEY"] = key
        super().__init__(arguments, folder / "chamberlain.log", prefix, **env)
        self.gateway = self.ready["gateway"]
        self.console = self.ready["console"]
        self.first_key = self.ready["virtual_key"]

    def attempt(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        """Runs a command on this house's data, however it ends."""
        return subprocess.run(
            [*self.prefix, BINARY, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=clean_environment(CHAMBERLAIN_DATA=str(self.data)),
            timeout=120,
        )

    def run(self, *arguments: str, ok: tuple[int, ...] = (0,), stdin: str = "") -> str:
        """Runs a command on this house's data; its standard output."""
        done = self.attempt(*arguments, stdin=stdin)
        assert done.returncode in ok, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, ok: tuple[int, ...] = (0,)):
        return json.loads(self.run(*arguments, "--json", ok=ok))

    def virtual_key(self, name: str = "test", environment: str = "production", **limits) -> dict:
        """Makes a virtual key; `rpm` is wide unless said otherwise, so tests are not held up."""
        limits = {"rpm": 1_000_000} | limits
        flags = []
        for flag, value in limits.items():
            if value is True:
                flags.append(f"--{flag.replace('_', '-')}")
            else:
                flags += [f"--{flag.replace('_', '-')}", str(value)]
        return self.json("virtual", "create", "--name", name, "--environment", environment, *flags)

    def budget(self, name: str, window: str = "monthly") -> dict:
        """The one budget of that scope and window."""
        [found] = [
            budget
            for budget in self.budgets()
            if (budget["scope"]["name"], budget["window"]) == (name, window)
        ]
        return found

    def budgets(self) -> list[dict]:
        return self.json("budget", "list")["budgets"]

    def calls(self) -> list[dict]:
        return self.json("calls", "--limit", "1000")["calls"]

    def until_idle(self, seconds: float = 30) -> None:
        """Waits until no call is in flight."""
        deadline = time.monotonic() + seconds
        while self.json("status")["running"]["in_flight"]:
            assert time.monotonic() < deadline, "calls are still in flight"
            time.sleep(0.02)
