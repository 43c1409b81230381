"""`kill -9` under load: what was billed is never more than what is charged, and within budget."""

import json
import random
import threading
import time
from decimal import Decimal

import httpx
from house import House, Mock, real_looking_key
from oracle import billed

KILLS = 50
LIMIT = Decimal("0.05")
REQUEST = {
    "model": "claude-haiku-5-5",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "[[mock: output_tokens=60 slow_body ms=2]]"}],
}


class Load:
    """Clients that never tire, some streaming, some not."""

    def __init__(self, gateway: str, key: str, clients: int = 12):
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.work, args=(gateway, key, index))
            for index in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def work(self, gateway: str, key: str, index: int) -> None:
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
        request = REQUEST | {"stream": index % 2 == 0}
        while not self.over.is_set():
            try:
                with httpx.Client(base_url=gateway, timeout=5) as client:
                    while not self.over.is_set():
                        if (
                            client.post("/v1/messages", json=request, headers=headers).status_code
                            == 429
                        ):
                            time.sleep(0.01)
            except httpx.HTTPError:
                time.sleep(0.005)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_fifty_kills(tmp_path):
    chance = random.Random(20261123)
    mock = Mock(tmp_path)
    upstream_key = real_looking_key()
    house = House(tmp_path, upstream=mock.url, key=upstream_key)
    made = house.virtual_key("crash", daily=f"{LIMIT:f}")
    key = made["key"]
    unsettled_seen = 0
    for kill in range(KILLS):
        load = Load(house.gateway, key)
        time.sleep(chance.uniform(0.02, 0.25))
        house.kill()
        load.stop()
        house = House(tmp_path, upstream=mock.url, key=upstream_key)
        budget, on_record = daily(house), calls(house)
        booked = Decimal(budget["settled"]) + Decimal(budget["unsettled"])
        # What calls are charged does not end with the day, as the budget's window does.
        charged = sum(Decimal(call["cost"]) for call in on_record)
        truth = billed(entries(mock))
        assert Decimal(budget["reserved"]) == 0, f"kill {kill}: I4, money is held by no call"
        assert truth <= charged, f"kill {kill}: I3, a crash refunded {truth - charged}"
        assert booked <= LIMIT, f"kill {kill}: I1, over budget"
        of_window = [call for call in on_record if call["at"] >= budget["window_start"]]
        assert booked == sum(Decimal(call["cost"]) for call in of_window), f"kill {kill}"
        unsettled = [call for call in on_record if call["certainty"] == "unsettled"]
        unsettled_seen = max(unsettled_seen, len(unsettled))
        # I2: whatever upstream saw is on record.
        processed = sum(1 for entry in entries(mock) if entry["status"] == 200)
        assert processed <= len(on_record), f"kill {kill}: a call left without a record"
    assert unsettled_seen > 0, "no kill hit a call in flight, so nothing was tried"
    verdict = json.loads(house.run("audit", "verify", "--json"))
    assert verdict["ok"], verdict
    assert house.stop() == 0
    assert mock.stop() == 0


def daily(house: House) -> dict:
    return next(
        budget
        for budget in house.budgets()
        if budget["scope"]["name"] == "crash" and budget["window"] == "daily"
    )


def entries(mock: Mock) -> list[dict]:
    return [entry for entry in mock.journal() if entry["path"] == "/v1/messages"]


def calls(house: House) -> list[dict]:
    found = []
    after: list[str] = []
    while True:
        page = house.json("calls", "--limit", "1000", *after)
        found += page["calls"]
        if not page["has_more"]:
            return found
        after = ["--before", page["calls"][-1]["id"]]
