"""A soak: mixed load for minutes or hours, and whether memory, descriptors and files stay flat.

    CHAMBERLAIN_BIN=target/release/chamberlain python tests/e2e/python/soak.py --minutes 60 --rate 200

Every five seconds one line of the CSV file says how the process is. Every minute the load rests
until no call is in flight, and the auditor compares what the mock billed with what was charged. At
the end a straight line is laid through each column after the warm-up: what grows is named.
Not a test: pytest does not collect it.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from auditor import metrics
from house import House, Mock, real_looking_key
from load import Load
from oracle import billed

EVERY_S = 5
REST_S = 60
# What may grow over the measured time: as a share of the column's mean, and at least so much.
FLAT = {
    "rss_anon_kib": (0.10, 8 * 1024),
    "fds": (0.10, 10),
    "threads": (0.10, 2),
    "wal_bytes": (0.25, 4 << 20),
    "store_queue": (0.25, 50),
    "body_bytes": (0.25, 1 << 20),
    "in_flight": (0.25, 10),
}


def sample(house: House, start: float, load: Load) -> dict:
    pid = house.child.pid
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    shown = metrics(house)
    database = house.data / "chamberlain.db"
    counts = load.counts()
    return {
        "second": round(time.monotonic() - start, 1),
        "calls": counts.total(),
        "not_200": sum(n for (_, status), n in counts.items() if status != 200),
        "rss_kib": int(status["VmRSS"].split()[0]),
        "rss_anon_kib": int(status["RssAnon"].split()[0]),
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
        "cpu_s": (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
        "store_bytes": database.stat().st_size,
        "wal_bytes": database.with_name("chamberlain.db-wal").stat().st_size,
        "store_queue": int(shown["chamberlain_store_queue"]),
        "in_flight": int(shown["chamberlain_calls_in_flight"]),
        "body_bytes": int(shown["chamberlain_request_body_bytes"]),
        "audit_records": int(shown["chamberlain_audit_records"]),
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares: how much the second grows for each unit of the first."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    width = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / width if width else 0.0


def verdict(rows: list[dict], warm_up_s: float) -> bool:
    """Prints how each column went, and says whether all are flat."""
    rows = [row for row in rows if row["second"] >= warm_up_s]
    if len(rows) < 10:
        print("too short to say anything")
        return False
    span = rows[-1]["second"] - rows[0]["second"]
    flat = True
    print(f"{len(rows)} samples over {span / 60:.1f} min after the warm-up")
    for name, (share, least) in FLAT.items():
        values = [row[name] for row in rows]
        grown = slope([(row["second"], row[name]) for row in rows]) * span
        mean = sum(values) / len(values)
        good = grown <= max(share * mean, least)
        flat &= good
        print(
            f"{name:14} min {min(values):>12,} mean {mean:>14,.0f} max {max(values):>12,} "
            f"trend {grown:>+14,.0f} over the span  {'flat' if good else 'GROWS'}"
        )
    first, last = rows[0], rows[-1]
    calls = last["calls"] - first["calls"]
    print(f"rate           {calls / span:.1f} calls/s")
    print(f"CPU            {(last['cpu_s'] - first['cpu_s']) / calls * 1e6:.0f} µs a call")
    print(f"store          {(last['store_bytes'] - first['store_bytes']) / calls:,.0f} bytes a call")
    return flat


class Auditor:
    """Compares the mock's bill with the budget of the soak's key."""

    def __init__(self, house: House, mock: Mock):
        self.house, self.mock = house, mock
        self.bill = Decimal(0)

    def compare(self) -> None:
        """With the load at rest: nothing may be reserved, and nothing billed be uncharged."""
        deadline = time.monotonic() + 120
        while metrics(self.house)["chamberlain_calls_in_flight"]:
            assert time.monotonic() < deadline, "calls are in flight after two minutes of rest"
            time.sleep(0.05)
        self.bill += billed(self.mock.journal())
        self.mock.forget()
        [month] = [
            budget
            for budget in self.house.budgets()
            if budget["scope"]["name"] == "soak" and budget["window"] == "monthly"
        ]
        charged = Decimal(month["settled"]) + Decimal(month["unsettled"])
        assert Decimal(month["reserved"]) == 0, month
        assert self.bill <= charged <= Decimal(month["limit"]), (self.bill, month)
        self.charged = charged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=200, help="calls a second")
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--warm-up", type=float, default=5, help="minutes that do not count")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--seed", type=int, default=20261123)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return soak(said, Path(folder))


def soak(said: argparse.Namespace, folder: Path) -> int:
    mock = Mock(folder)
    house = House(folder, upstream=mock.url, key=real_looking_key())
    key = house.virtual_key("soak", monthly="90", concurrency=1_000)["key"]
    auditor = Auditor(house, mock)
    load = Load(house.gateway, key, said.clients, said.seed, per_second=said.rate)
    start = rested = time.monotonic()
    rows: list[dict] = []
    audits = 0
    with said.csv.open("w", newline="") as file:
        writer = None
        while time.monotonic() - start < said.minutes * 60:
            time.sleep(EVERY_S)
            rows.append(sample(house, start, load))
            writer = writer or csv.DictWriter(file, rows[0])
            if len(rows) == 1:
                writer.writeheader()
            writer.writerow(rows[-1])
            file.flush()
            if time.monotonic() - rested >= REST_S:
                load.resting.set()
                auditor.compare()
                audits += 1
                load.resting.clear()
                rested = time.monotonic()
    counts = load.stop()
    auditor.compare()
    flat = verdict(rows, said.warm_up * 60)
    for (kind, status), number in sorted(counts.items(), key=str):
        print(f"{kind:8} {status}: {number:,}")
    print(f"billed {auditor.bill} and charged {auditor.charged} US dollars; {audits + 1} comparisons")
    proof = house.json("audit", "verify")
    print("audit verify:", "sound" if proof["ok"] else proof)
    ended = house.stop(), mock.stop()
    print("ended with", *ended)
    return 0 if flat and proof["ok"] and ended == (0, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
