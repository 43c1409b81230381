"""A clock that was ahead: budgets stay shut until a person says that it is right now."""

import sqlite3

import httpx
from house import House

YEAR_MS = 365 * 86_400_000


def status(house: House, key: str) -> int:
    return httpx.post(
        house.gateway + "/v1/messages",
        json={
            "model": "claude-haiku-5-5",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hi"}],
        },
        headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
    ).status_code


def test_budgets_of_a_year_ahead(tmp_path):
    house = House(tmp_path)
    key = house.virtual_key("clock", environment="staging")["key"]
    assert status(house, key) == 200
    assert house.stop() == 0
    # As if the clock had been a year ahead, and that year's budget of staging been spent.
    with sqlite3.connect(house.data / "chamberlain.db") as store:
        store.execute(
            """INSERT INTO balances (scope_kind, scope_id, window_kind, window_start, window_end,
                                     settled, granted)
               SELECT scope_kind, scope_id, window_kind, window_start + ?1, window_end + ?1,
                      '100000000000000', '100000000000000'
               FROM balances WHERE scope_kind = 'environment' AND scope_id = 'staging'
                               AND window_kind = 'daily'""",
            (YEAR_MS,),
        )
    house = House(tmp_path)
    assert "--accept-clock" in house.log.read_text()
    assert status(house, key) == 429, "an ended window was opened again by itself"
    assert house.stop() == 0
    house = House(tmp_path, flags=("--accept-clock",))
    assert status(house, key) == 200
    assert "clock.accepted" in house.run("audit", "export")
    assert house.stop() == 0
    house = House(tmp_path)
    assert status(house, key) == 200, "it has to be said once only"
    spent = [line for line in house.budgets() if line["scope"]["name"] == "clock"]
    assert all(float(line["settled"]) > 0 for line in spent), "what was spent today still counts"
    assert house.stop() == 0
