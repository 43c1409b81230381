"""What calls cost, worked out a second time with decimals, independent of the code under test."""

from decimal import Decimal

# US dollars per million tokens: input, output, 5-minute write, 1-hour write, cache read.
PRICES = {
    "claude-haiku-5-5": ("0.10", "0.50", "0.125", "0.20", "0.01"),
    "claude-sonnet-5-5": ("2", "10", "2.5", "4", "0.10"),
    "claude-opus-5-5": ("4", "20", "5", "8", "0.20"),
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


def billed(entries: list[dict]) -> Decimal:
    """What the mock says all these requests are billed; items of batches at half of it."""
    at_once = (
        cost_of(charge)
        for entry in entries
        if entry["billed"]
        for charge in entry["billed"]["charges"]
    )
    in_batches = (
        cost_of(charge) / 2
        for entry in entries
        for bill in entry.get("batch_billed", [])
        for charge in bill["charges"]
    )
    return sum(at_once, Decimal(0)) + sum(in_batches, Decimal(0))
