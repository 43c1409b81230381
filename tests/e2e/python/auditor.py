"""What must hold of a house's books, whatever was done to it; shared by all that torture one."""

import time
import urllib.request
from decimal import Decimal

from house import House
from oracle import Bill


def charged(budget: dict) -> Decimal:
    return Decimal(budget["settled"]) + Decimal(budget["unsettled"])


def used(budget: dict) -> Decimal:
    return charged(budget) + Decimal(budget["reserved"])


def within_limits(budgets: list[dict]) -> None:
    for budget in budgets:
        if budget["limit"] is not None:
            assert used(budget) <= Decimal(budget["limit"]), f"I1, over budget: {budget}"


def check_idle(house: House, bill: Bill, *scopes: str) -> Decimal:
    """With no call in flight: I1, I3, I4, and a sound audit log. Gives what was billed."""
    budgets = house.budgets()
    within_limits(budgets)
    for budget in budgets:
        assert Decimal(budget["reserved"]) == 0, f"I4, money is held by no call: {budget}"
    truth = bill.total()
    for scope in ("production", "organization", *scopes):
        assert truth <= charged(house.budget(scope)), f"I3, {scope} was charged less than billed"
    proof = house.json("audit", "verify")
    assert proof["ok"], proof
    return truth


def metrics(house: House) -> dict[str, float]:
    """The metrics without labels."""
    with urllib.request.urlopen(house.console + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        if "{" not in name
    }


def until(holds, what: str, seconds: float = 60) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.05)
