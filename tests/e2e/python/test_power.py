"""Power losses under load: nothing is left but what was synced, and the machine starts anew.

The disk is imitated: whatever the process syncs is copied aside at that moment, and after the loss
only the copies are there (machine.c). `TORTURE_POWER_LOSSES` is how many, `TORTURE_SEED` the seed.
"""

import json
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path

from auditor import charged, check_idle
from house import House, real_looking_key
from load import Load
from machine import Machine
from oracle import Bill

LOSSES = int(os.environ.get("TORTURE_POWER_LOSSES", "8"))
SEED = int(os.environ.get("TORTURE_SEED", "20261123"))
MIX = {"plain": 50, "stream": 30, "leave": 10, "count": 10}
LIMIT = Decimal("1")
CLIENTS = 8
CALL_MAX = Decimal("0.0003")


class Operator(threading.Thread):
    """Signs the audit log's head and raises a budget again and again, and keeps what was told."""

    def __init__(self, house: House, note: Path, limit: Decimal):
        super().__init__()
        self.house, self.over = house, threading.Event()
        self.note = note
        self.limit = limit

    def run(self) -> None:
        while not self.over.is_set():
            self.note.write_text(self.house.run("audit", "checkpoint"))
            wanted = self.limit + Decimal("0.01")
            self.house.run("budget", "set", "power", "--monthly", f"{wanted:f}")
            self.limit = wanted

    def stop(self) -> None:
        """What it began is done; no command may find a folder whose house is gone."""
        self.over.set()
        self.join()


class Books:
    """What must hold after each power loss."""

    def __init__(self, bill: Bill, limit: Decimal):
        self.bill, self.limit = bill, limit
        self.truth = self.charge = Decimal(0)

    def check(self, house: House, operator: Operator) -> None:
        log = [json.loads(line)["record"] for line in house.run("audit", "export").splitlines()]
        opened = [record for record in log if record["kind"] == "store.opened"][-1]
        assert opened["facts"]["facts"]["last_run"] == "power_lost", opened
        truth = check_idle(house, self.bill, "power")
        mine = house.budget("power")
        assert Decimal(mine["limit"]) == operator.limit, "a change that was acknowledged is lost"
        # What is set aside for good is a step of the lease and what calls had reserved.
        extra = (charged(mine) - truth) - (self.charge - self.truth)
        assert extra <= operator.limit / 100 + 4 * CLIENTS * CALL_MAX, f"{extra} set aside"
        proof = house.json("audit", "verify", "--checkpoint", str(operator.note))
        assert proof["ok"], proof
        self.truth, self.charge, self.limit = truth, charged(mine), operator.limit


def test_power_losses_under_load(tmp_path, own_mock):
    print(f"{LOSSES} power losses, seed {SEED}")
    chance = random.Random(SEED)
    machine = Machine(tmp_path)
    start = {"upstream": own_mock.url, "key": real_looking_key()}
    house = machine.house(**start)
    for scope in ("organization", "production"):
        house.run("budget", "set", scope, "--daily", "100000", "--monthly", "100000")
    made = house.virtual_key("power", monthly=f"{LIMIT:f}", concurrency=1_000)
    assert house.stop() == 0
    machine.flush()
    house = machine.house(**start)
    books = Books(Bill(own_mock), LIMIT)
    lost = 0
    for _ in range(LOSSES):
        seed = chance.randrange(1 << 30)
        load = Load(house.gateway, made["key"], CLIENTS, seed, mix=MIX)
        operator = Operator(house, tmp_path / "head.note", books.limit)
        operator.start()
        time.sleep(chance.uniform(0.1, 0.6))
        operator.stop()
        time.sleep(chance.uniform(0.2, 1.5))
        house.kill()
        load.stop()
        before = records(machine.data)
        machine.lose_power()
        lost += before - records(machine.data)
        house = machine.house(**start)
        books.check(house, operator)
    print(f"{lost} audit records lost; billed {books.truth}, charged {books.charge}")
    assert lost > 0, "no power loss lost anything, so nothing was tried"
    assert house.stop() == 0


def records(folder: Path) -> int:
    """How many audit records a killed house's files hold. They are copied, not to be changed."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("chamberlain.db", "chamberlain.db-wal"):
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        with sqlite3.connect(Path(copy) / "chamberlain.db") as store:
            return store.execute(
                "SELECT ifnull(sum(length(heads)), 0) / 36 FROM audit_blocks"
            ).fetchone()[0]
