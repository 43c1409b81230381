"""What calls cost, worked out a second time with decimals, independent of the code under test."""

import time
from decimal import Decimal

# US dollars per million tokens: input, output, 5-minute write, 1-hour write, cache read.
PRICES = {
    "claude-haiku-5-5": ("0.10", "0.50", "0.125", "0.20", "0.01"),
    "claude-sonnet-5-5": ("2", "10", "2.5", "4", "0.10"),
    "claude-opus-5-5": ("4", "20", "5", "8", "0.20"),
    "claude-opus-4-8": ("5", "25", "6.25", "10", "0.50"),
    "claude-haiku-4-5-20251001": ("1", "5", "1.25", "2", "0.10"),
}


def cost_of(charge: dict) -> Decimal:
    """One entry of the mock's bill: tokens of one model."""
    rates = [Decimal(rate) for rate in PRICES[charge["model"]]]
    prompt = sum(
        charge.get(name, 0) for name in ("input", "cache_write_5m", "cache_write_1h", "cache_read")
    )
    if charge["model"] == "claude-haiku-5-5" and prompt > 100_000:
        rates = [rate * 5 for rate in rates]
    names = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    return sum(Decimal(charge.get(name, 0)) * rate for name, rate in zip(names, rates)) / 1_000_000


def cost_of_bill(bill: dict) -> Decimal:
    """One message: its tokens, and a cent for each web search."""
    tokens = sum((cost_of(charge) for charge in bill["charges"]), Decimal(0))
    return tokens + Decimal(bill["web_searches"]) / 100


def billed(entries: list[dict]) -> Decimal:
    """What the mock says all these requests are billed; items of batches at half of it."""
    at_once = (cost_of_bill(entry["billed"]) for entry in entries if entry["billed"])
    in_batches = (
        cost_of(charge) / 2
        for entry in entries
        for bill in entry.get("batch_billed", [])
        for charge in bill["charges"]
    )
    return sum(at_once, Decimal(0)) + sum(in_batches, Decimal(0))


class Bill:
    """The mock's bill, added up as it grows: an entry is read again until it changes no more."""

    def __init__(self, mock):
        self.mock = mock
        self.after = 0
        self.told = Decimal(0)
        self.batches: list[int] = []

    def total(self, seconds: float = 30) -> Decimal:
        """What everything that was sent is billed, once no answer is on its way."""
        deadline = time.monotonic() + seconds
        while True:
            entries = self.mock.journal(since=self.after)
            if all(entry["outcome"] != "pending" for entry in entries):
                break
            assert time.monotonic() < deadline, "the mock still answers"
            time.sleep(0.01)
        batches = [entry["n"] for entry in entries if is_submission(entry)]
        self.told += billed([entry for entry in entries if entry["n"] not in batches])
        self.after = max((entry["n"] for entry in entries), default=self.after)
        self.batches += batches
        # The bill of a batch grows while its items are answered.
        return self.told + billed([self.mock.entry(n) for n in self.batches])


def is_submission(entry: dict) -> bool:
    return (entry["method"], entry["path"]) == ("POST", "/v1/messages/batches")
