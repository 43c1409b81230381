"""`kill -9` at random points under everything at once: calls of all kinds, and operators at work.

`TORTURE_KILLS=200` is the long run, `TORTURE_SEED` another seed (CONTRIBUTING.md).
"""

import json
import os
import random
import threading
import time
from collections import Counter
from decimal import Decimal

from auditor import check_idle, metrics, until, used, within_limits
from house import House, Mock, real_looking_key
from load import Load
from oracle import Bill

KILLS = int(os.environ.get("TORTURE_KILLS", "20"))
SEED = int(os.environ.get("TORTURE_SEED", "20261123"))
STEP = Decimal("0.0001")


class Operator(threading.Thread):
    """Raises a budget, freezes and unfreezes a key, and looks at all budgets, until it is over.

    It remembers what it was told was done, and what it had asked when the answer did not come.
    """

    def __init__(self, house: House, limit: Decimal, frozen: bool):
        super().__init__()
        self.house, self.over = house, threading.Event()
        self.limits, self.states = {limit}, {frozen}
        self.samples = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.raise_budget()
                self.sample()
                self.turn_key()
                self.sample()
        except Exception as error:
            self.error = error

    def raise_budget(self) -> None:
        wanted = max(self.limits) + STEP
        self.limits.add(wanted)
        if self.done("budget", "set", "tight", "--monthly", f"{wanted:f}"):
            self.limits = {wanted}

    def turn_key(self) -> None:
        if len(self.states) > 1:
            return
        wanted = not next(iter(self.states))
        self.states.add(wanted)
        because = ("--reason", "torture") if wanted else ()
        if self.done("virtual", "freeze" if wanted else "unfreeze", "turned", *because):
            self.states = {wanted}

    def done(self, *arguments: str) -> bool:
        return not self.over.is_set() and self.house.attempt(*arguments).returncode == 0

    def sample(self) -> None:
        if self.over.is_set():
            return
        shown = self.house.attempt("budget", "list", "--json")
        if shown.returncode == 0:
            within_limits(json.loads(shown.stdout)["budgets"])
            self.samples += 1

    def stop(self) -> None:
        self.over.set()
        self.join()
        if self.error:
            raise self.error


def test_kills_under_mixed_load(tmp_path):
    print(f"{KILLS} kills, seed {SEED}")
    chance = random.Random(SEED)
    mock = Mock(tmp_path)
    upstream_key = real_looking_key()
    house = House(tmp_path, upstream=mock.url, key=upstream_key)
    for scope in ("organization", "production"):
        house.run("budget", "set", scope, "--daily", "100000", "--monthly", "100000")
    limit, frozen = STEP, False
    tight = house.virtual_key("tight", monthly=f"{limit:f}", concurrency=1_000)["key"]
    keys = [house.virtual_key(name, concurrency=1_000)["key"] for name in ("wide", "turned")]
    bill, counts, samples = Bill(mock), Counter(), 0
    unsettled, fullest = Decimal(0), Decimal(0)
    for kill in range(KILLS):
        loads = [
            Load(house.gateway, key, clients=4, seed=chance.randrange(1 << 30))
            for key in (tight, *keys)
        ]
        operator = Operator(house, limit, frozen)
        operator.start()
        time.sleep(chance.uniform(0.02, 0.5))
        house.kill()
        operator.over.set()
        counts += sum((load.stop() for load in loads), Counter())
        operator.stop()
        samples += operator.samples
        house = House(tmp_path, upstream=mock.url, key=upstream_key)
        limit, frozen = after_the_kill(house, bill, operator)
        unsettled = max(unsettled, Decimal(house.budget("production")["unsettled"]))
        fullest = max(fullest, used(house.budget("tight")) / limit)
    print(f"{samples} samples of all budgets; {dict(sorted(counts.items(), key=str))}")
    assert samples > 0 and unsettled > 0, "nothing was tried"
    assert fullest > Decimal("0.7"), "the tight budget was never nearly used up"
    at_the_end(house, bill)
    assert house.stop() == 0
    assert mock.stop() == 0


def after_the_kill(house: House, bill: Bill, operator: Operator) -> tuple[Decimal, bool]:
    """Checks the books and what operators did; the tight budget and whether the key is frozen."""
    check_idle(house, bill)
    limit = Decimal(house.budget("tight")["limit"])
    assert limit in operator.limits, "a budget that was set is not as it was set"
    frozen = house.json("virtual", "show", "turned")["state"] == "frozen"
    assert frozen in operator.states, "a key that was frozen is not frozen, or the other way round"
    return limit, frozen


def at_the_end(house: House, bill: Bill) -> None:
    """Every call is charged once: the calls on record add up to what their budgets say."""
    until_trued_up(house)
    check_idle(house, bill)
    charged: Counter = Counter()
    for call in calls(house):
        assert call["ended_at"], f"a call without an end: {call}"
        charged[call["virtual_key_name"]] += Decimal(call["cost"])
    for name in ("tight", "wide", "turned"):
        assert charged[name] == used(house.budget(name)), f"{name} is charged something else"
    kinds = Counter(
        (record["kind"], record["subject"])
        for record in map(json.loads, house.run("audit", "export").splitlines())
        for record in [record["record"]]
        if record["kind"] in ("call.settled", "call.trued_up", "call.unsettled")
    )
    assert all(times == 1 for times in kinds.values()), "something was settled twice"


def until_trued_up(house: House, seconds: float = 60) -> None:
    """Waits until the books change no more: no call in flight, no batch to be looked at."""
    house.until_idle(seconds)
    until(lambda: metrics(house)["chamberlain_batches_open"] == 0, "batches end", seconds)


def calls(house: House) -> list[dict]:
    found: list[dict] = []
    after: tuple[str, ...] = ()
    while True:
        page = house.json("calls", "--limit", "1000", *after)
        found += page["calls"]
        if not page["has_more"]:
            return found
        after = ("--before", page["calls"][-1]["id"])
