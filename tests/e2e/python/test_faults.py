"""What surrounds a house breaks under load, and is mended: the disk, the store, handles, the clock,
the processor, upstream. Calls may be refused; the books must hold, and then all goes on by itself.
"""

import errno
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from auditor import check_idle, until
from house import House, real_looking_key
from load import Load, asking
from machine import Machine
from oracle import Bill

PAUSE_S = float(os.environ.get("TORTURE_PAUSE_S", "4"))
DAY_S = 86_400
KINDS = {"plain": 50, "stream": 30, "leave": 10, "count": 10}


class Trial:
    """A house under load, and its auditor."""

    def __init__(self, house: House, mock, clients: int = 8, mix=KINDS, pace_ms: int = 2):
        self.house, self.bill = house, Bill(mock)
        for scope in ("organization", "production"):
            house.run("budget", "set", scope, "--daily", "100000", "--monthly", "100000")
        self.key = house.virtual_key("trial", monthly="100", concurrency=1_000)["key"]
        self.load = Load(house.gateway, self.key, clients, mix=mix, pace_ms=pace_ms)

    def good(self) -> int:
        """Calls that were answered so far."""
        return sum(n for (_, status), n in self.load.counts().items() if status == 200)

    def goes_on(self, more: int = 20, seconds: float = 60) -> None:
        """Waits until so many more calls were answered."""
        before = self.good()
        until(lambda: self.good() >= before + more, "calls are answered", seconds)

    def end(self) -> Counter:
        """Ends the load and the house, and checks the books."""
        counts = self.load.stop()
        print(dict(sorted(counts.items(), key=str)))
        self.house.until_idle(60)
        assert check_idle(self.house, self.bill, "trial") > 0
        assert self.house.stop() == 0
        return counts


def ask(house: House, key: str) -> tuple[int, str]:
    """One call: its status, and the code of a refusal."""
    request = urllib.request.Request(
        house.gateway + "/v1/messages",
        data=json.dumps(asking("Hi.")).encode(),
        headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-chamberlain-code"]


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_takes_no_writes(tmp_path, own_mock, why):
    machine = Machine(tmp_path)
    trial = Trial(machine.house(upstream=own_mock.url, key=real_looking_key()), own_mock)
    trial.goes_on()
    machine.refuse_writes(why)
    until(lambda: ask(trial.house, trial.key)[1] == "not_on_record", "calls are refused")
    time.sleep(0.3)
    sent = len(own_mock.journal())
    time.sleep(0.3)
    assert len(own_mock.journal()) == sent, "I2: a call left without a record"
    machine.allow_writes()
    trial.goes_on()
    house = trial.house
    until(lambda: "store.recovered" in house.run("audit", "export"), "the notice of it")
    trial.end()


def test_killed_while_the_disk_takes_no_writes(tmp_path, own_mock):
    machine = Machine(tmp_path)
    start = {"upstream": own_mock.url, "key": real_looking_key()}
    trial = Trial(machine.house(**start), own_mock)
    trial.goes_on()
    machine.refuse_writes(errno.EROFS)
    time.sleep(0.3)
    trial.house.kill()
    trial.load.stop()
    with pytest.raises(RuntimeError, match="exit_code"):
        machine.house(**start)
    machine.allow_writes()
    house = machine.house(**start)
    assert check_idle(house, trial.bill, "trial") > 0
    assert ask(house, trial.key) == (200, "")
    assert house.stop() == 0


class Small:
    """A file system of a few megabytes, in a mount namespace of its own."""

    def __init__(self, folder, size: str):
        self.place = folder / "data"
        self.place.mkdir()
        script = f"mount -t tmpfs -o mode=700,size={size} none {self.place} && echo ready && exec cat"
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self.holder.stdout.readline() != b"ready\n":
            self.holder.wait()
            pytest.skip("mounting is not allowed here")
        self.prefix = ("nsenter", "-m", "-t", str(self.holder.pid), "--")
        self.inside = f"/proc/{self.holder.pid}/root{self.place}"

    def fill(self) -> None:
        with open(f"{self.inside}/filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4_096))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def empty(self) -> None:
        os.unlink(f"{self.inside}/filler")

    def close(self) -> None:
        self.holder.stdin.close()
        self.holder.wait()


@pytest.fixture
def small(tmp_path):
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("it takes root, unshare and nsenter to mount a small file system")
    made = Small(tmp_path, "24m")
    yield made
    made.close()


def test_a_full_disk(tmp_path, own_mock, small):
    start = {"upstream": own_mock.url, "key": real_looking_key(), "prefix": small.prefix}
    trial = Trial(House(tmp_path, **start), own_mock)
    trial.goes_on()
    for kill in (False, True):
        small.fill()
        until(lambda: ask(trial.house, trial.key)[1] == "not_on_record", "calls are refused")
        if kill:
            trial.house.kill()
            trial.load.stop()
            small.empty()
            trial.house = House(tmp_path, **start)
            check_idle(trial.house, trial.bill, "trial")
            trial.load = Load(trial.house.gateway, trial.key, 8, mix=KINDS)
        else:
            small.empty()
        trial.goes_on()
    trial.end()


def test_a_store_that_another_process_locks(tmp_path, own_mock):
    trial = Trial(House(tmp_path, upstream=own_mock.url, key=real_looking_key()), own_mock)
    trial.goes_on()
    other = sqlite3.connect(trial.house.data / "chamberlain.db", isolation_level=None, timeout=30)
    other.execute("BEGIN EXCLUSIVE")
    until(lambda: ask(trial.house, trial.key)[1] == "not_on_record", "calls are refused")
    other.execute("ROLLBACK")
    other.close()
    trial.goes_on()
    trial.end()


def test_no_file_handles_left(tmp_path, own_mock):
    few = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), prefix=few)
    # Commands are run as they are: they are other processes.
    house.prefix = ()
    trial = Trial(house, own_mock, clients=4)
    trial.goes_on()
    place = urlsplit(house.gateway)
    crowd = [socket.create_connection((place.hostname, place.port)) for _ in range(120)]
    time.sleep(1)
    assert len(os.listdir(f"/proc/{house.child.pid}/fd")) >= 60, "handles were left"
    spent = cpu_s(house)
    time.sleep(2)
    busy = cpu_s(house) - spent
    assert house.child.poll() is None
    for one in crowd:
        one.close()
    trial.goes_on()
    trial.end()
    lines = house.log.read_text().count("\n")
    assert lines < 2_000, f"{lines} lines of log in a few seconds"
    print(f"{busy:.2f} s of processor time in 2 s without handles")


def cpu_s(house: House) -> float:
    with open(f"/proc/{house.child.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_clock_that_is_set_forward_and_back(tmp_path, own_mock):
    machine = Machine(tmp_path)
    start = {"upstream": own_mock.url, "key": real_looking_key()}
    house = machine.house(**start)
    trial = Trial(house, own_mock)
    trial.goes_on()
    spent = Decimal(house.budget("trial", "daily")["settled"])
    for ahead_s in (90, -90, 40 * 60, 0):
        machine.set_clock_ahead(ahead_s)
        trial.goes_on()
    until(lambda: Decimal(house.budget("trial", "daily")["settled"]) > spent, "it is charged on")
    # Two days ahead and back: the day that was spent in does not begin anew.
    trial.load.stop()
    house.until_idle(60)
    before = house.budget("trial", "daily")
    machine.set_clock_ahead(2 * DAY_S)
    assert ask(house, trial.key) == (200, "")
    ahead = house.budget("trial", "daily")
    assert ahead["window_start"] > before["window_start"]
    machine.set_clock_ahead(0)
    assert ask(house, trial.key) == (200, "")
    back = house.budget("trial", "daily")
    assert back["window_start"] == ahead["window_start"], "a window that ended was opened again"
    check_idle(house, trial.bill, "trial")
    # A kill, and a clock two days ahead at the next start.
    house.kill()
    machine.set_clock_ahead(2 * DAY_S)
    trial.house = machine.house(**start)
    trial.load = Load(trial.house.gateway, trial.key, 4, mix=KINDS)
    trial.goes_on()
    trial.end()


def test_a_process_that_is_stopped_for_a_while(tmp_path, own_mock):
    """Longer than the answers of clients that left may be read on: none is taken for cut off."""
    config = tmp_path / "chamberlain.toml"
    config.write_text('version = 1\n[upstream]\ndrain_timeout = "2s"\n')
    flags = ("--config", str(config))
    house = House(tmp_path, upstream=own_mock.url, key=real_looking_key(), flags=flags)
    trial = Trial(house, own_mock, mix=KINDS | {"leave": 100}, pace_ms=20)
    trial.goes_on(40)
    house.child.send_signal(signal.SIGSTOP)
    time.sleep(PAUSE_S)
    house.child.send_signal(signal.SIGCONT)
    trial.goes_on()
    assert trial.end()["plain", "broken"] == 0, "calls that waited were lost"


class Relay:
    """What lies between a house and its upstream: it can be torn down in the middle of answers."""

    def __init__(self, target: str):
        place = urlsplit(target)
        self.target = (place.hostname, place.port)
        self.port = 0
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.up()

    def up(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.take, args=(self.listener,), daemon=True).start()

    def down(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            found, self.open = self.open, set()
        for one in found:
            shut(one)

    def take(self, listener: socket.socket) -> None:
        while True:
            try:
                here, _ = listener.accept()
                there = socket.create_connection(self.target)
            except OSError:
                return
            with self.lock:
                self.open |= {here, there}
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while some := source.recv(1 << 16):
                sink.sendall(some)
        except OSError:
            pass
        for one in (source, sink):
            shut(one)
        with self.lock:
            self.open -= {source, sink}


def shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()


def test_upstream_is_killed_and_comes_back(tmp_path, own_mock):
    config = tmp_path / "chamberlain.toml"
    config.write_text('version = 1\n[breaker]\nreset_timeout = "1s"\n')
    relay = Relay(own_mock.url)
    start = {"upstream": relay.url, "flags": ("--config", str(config))}
    trial = Trial(House(tmp_path, key=real_looking_key(), **start), own_mock)
    for _ in range(3):
        trial.goes_on()
        relay.down()
        time.sleep(0.5)
        relay.up()
    trial.goes_on()
    counts = trial.end()
    assert counts["plain", 502] + counts["stream", "broken"] > 0, "nothing was tried"
    relay.down()
