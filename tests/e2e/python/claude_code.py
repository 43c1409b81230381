"""Claude Code, run headless through a Chamberlain, and the books of what it did."""

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
from house import House, KeepingMock, real_looking_key
from oracle import billed

PACKAGE = Path(__file__).parent.parent / "claude-code"
PATIENCE_S = 120
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}


def program() -> Path:
    """The program that was installed; a skip only where the registry has none to install."""
    missing = os.environ.get("CLAUDE_CODE_MISSING")
    if missing:
        pytest.skip(f"Claude Code could not be had: {missing}")
    found = sorted(PACKAGE.glob("node_modules/@anthropic-ai/claude-code-*/claude"))
    assert found, (
        "Claude Code is not installed: `cargo xtask test e2e` does it, and so does "
        f"`npm ci --ignore-scripts` in {PACKAGE}"
    )
    return found[0]


class Outside(ThreadingTCPServer):
    """Everything that is not this machine: a proxy that lets nothing through and remembers it."""

    daemon_threads = True

    def __init__(self):
        tried = self.tried = []

        class Refuse(StreamRequestHandler):
            def handle(self):
                tried.append(self.rfile.readline().decode("latin-1").strip())

        super().__init__(("127.0.0.1", 0), Refuse)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def directive(words: str, turn: int = 1) -> str:
    return f"[[mock: turn={turn} {words}]]"


def uses(tool: str, turn: int = 1, **given) -> str:
    """A directive: the model calls that tool in that turn."""
    quoted = json.dumps(given).replace("\\", "\\\\").replace('"', '\\"')
    return directive(f'tool={tool} tool_input="{quoted}"', turn)


@dataclass
class Run:
    """How it ended, what it said, what it asked of Chamberlain, and what came upstream of that."""

    code: int
    text: str
    calls: list[dict]
    entries: list[dict]

    def outcomes(self) -> list[tuple]:
        return [(call["outcome"], call["certainty"]) for call in self.calls]


class Desk:
    """A house in front of a mock, and Claude Code with a home and a folder of its own."""

    def __init__(self, folder: Path, **settings: str):
        self.program, self.outside = program(), Outside()
        self.mock = KeepingMock(folder)
        self.house = House(folder, upstream=self.mock.url, key=real_looking_key(), **settings)
        self.house.run("budget", "set", "production", "--daily", "1000", "--monthly", "1000")
        self.key = self.house.virtual_key("coder")["key"]
        self.home, self.work = folder / "home", folder / "work"
        for made in (self.home, self.work):
            made.mkdir()

    def environment(self, **more: str) -> dict[str, str]:
        """All that it is told; nothing of the machine's own settings, and no way out of it."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.home / ".claude"),
            "ANTHROPIC_BASE_URL": self.house.gateway,
            "ANTHROPIC_API_KEY": self.key,
            "HTTPS_PROXY": self.outside.url,
            "HTTP_PROXY": self.outside.url,
            "NO_PROXY": "127.0.0.1",
            **QUIET,
            **more,
        }

    def start(self, prompt: str, *flags: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.program, "--print", prompt, *flags],
            cwd=self.work,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, prompt: str, *flags: str, **more: str) -> Run:
        """Runs it to its end, and holds the books against what was billed."""
        before = self.seen()
        self.outside.tried.clear()
        run = self.ended(self.start(prompt, *flags, **more), before)
        is_quiet = not more.keys() & QUIET.keys()
        assert not (is_quiet and self.outside.tried), "it asked somebody else"
        return run

    def ask_mock(self, prompt: str) -> dict:
        """What arrives when it asks the mock itself."""
        number, _ = self.seen()
        child = self.start(prompt, ANTHROPIC_BASE_URL=self.mock.url)
        assert child.wait(timeout=PATIENCE_S) == 0
        [entry] = self.arrived(number)
        return entry

    def seen(self) -> tuple[int, set[str]]:
        number = max((entry["n"] for entry in self.mock.journal()), default=0)
        return number, {call["id"] for call in self.house.calls()}

    def ended(self, child: subprocess.Popen, before: tuple[int, set[str]]) -> Run:
        """Waits for the end of what was started when `before` had been seen."""
        try:
            text, noise = child.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        self.house.until_idle()
        number, known = before
        calls = [call for call in reversed(self.house.calls()) if call["id"] not in known]
        run = Run(child.returncode, text.strip(), calls, self.arrived(number))
        try:
            self.audit(run)
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\nit said: {text}\n{noise}") from wrong
        return run

    def arrived(self, since: int, seconds: float = 30) -> list[dict]:
        """What came upstream, once the mock has ended it all."""
        deadline = time.monotonic() + seconds
        while True:
            entries = self.mock.journal(since)
            if all(entry["outcome"] != "pending" for entry in entries):
                return entries
            assert time.monotonic() < deadline, "the mock still answers"
            time.sleep(0.01)

    def audit(self, run: Run) -> None:
        """Each request upstream is on record, each is paid for exactly, and nothing is held."""
        assert len(run.entries) == sum(call["attempts"] for call in run.calls)
        of = {entry["request_id"]: entry for entry in run.entries}
        for call in run.calls:
            entry = of.get(call["upstream_request_id"])
            truth = billed([entry] if entry else [])
            cost = Decimal(call["cost"])
            exact = call["certainty"] == "settled"
            assert cost == truth if exact else cost >= truth, f"billed {truth}: {call}"
            assert cost <= Decimal(call["reserved"]), call
            assert call["ended_at"], call
        for budget in self.house.budgets():
            assert Decimal(budget["reserved"]) == 0, f"money is held by no call: {budget}"

    def stop(self) -> None:
        assert self.house.json("audit", "verify")["ok"]
        assert self.house.stop() == 0
        self.mock.stop()
        self.outside.shutdown()
