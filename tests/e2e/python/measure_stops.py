"""Measures how long streams live on after somebody stops them.

    CHAMBERLAIN_BIN=target/release/chamberlain python tests/e2e/python/measure_stops.py --streams 500

Opens so many streams through a real Chamberlain to the mock, stops them in each of the ways there
are, and prints how long after the command was *started* the last words came to each client, as the
table that stands in docs/performance.md: the start of the command line's own process is in it. No
test: it asserts nothing about time.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from house import BINARY, House, Mock, clean_environment, real_looking_key

SCENARIO = "slow_body ms=500 output_tokens=4000"


async def stream(address, key, started, ended):
    """One stream, read until it is ended; notes when its error event came."""
    body = json.dumps(
        {
            "model": "claude-haiku-4-5",
            "max_tokens": 4096,
            "stream": True,
            "messages": [{"role": "user", "content": "Count."}],
        }
    )
    reader, writer = await asyncio.open_connection(*address)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: {key}\r\n"
        f"anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
        f"x-mock-scenario: {SCENARIO}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write((head + body).encode())
    begun = False
    while line := await reader.readline():
        if not begun and line.startswith(b"event: message_start"):
            begun = True
            started.append(time.monotonic())
        elif line.startswith(b"event: error"):
            ended.append(time.monotonic())
            break
    writer.close()


async def measure(house, count, key, command):
    """Seconds from the start of `command` to the end of each of `count` streams."""
    url = urlsplit(house.gateway)
    started, ended = [], []
    tasks = [
        asyncio.create_task(stream((url.hostname, url.port), key, started, ended))
        for _ in range(count)
    ]
    while len(started) < count:
        assert not any(task.done() for task in tasks), "a stream ended before it was stopped"
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    before = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        BINARY,
        *command,
        stdout=subprocess.DEVNULL,
        env=clean_environment(CHAMBERLAIN_DATA=str(house.data)),
    )
    assert await child.wait() == 0, command
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    assert len(ended) == count, f"{count - len(ended)} streams ended without a word"
    return sorted(at - before for at in ended)


def at(seconds, share):
    return seconds[min(len(seconds) - 1, int(share * len(seconds)))] * 1_000


def ways(house, round_number):
    """What is stopped: its name, the key whose calls it stops, the command, what undoes it."""
    name = f"measured{round_number}"
    frozen = house.virtual_key(f"{name}-freeze")
    revoked = house.virtual_key(f"{name}-revoke")
    paused = house.virtual_key(f"{name}-pause")
    yield "freeze a virtual key", frozen, ["virtual", "freeze", frozen["id"], "--reason", "m"], None
    revoke = ["virtual", "revoke", revoked["id"], "--reason", "m"]
    yield "revoke a virtual key", revoked, revoke, None
    for scope in ("production", "organization"):
        pause = ["pause", scope, "--reason", "m", "--end-calls"]
        yield f"pause {scope} --end-calls", paused, pause, ["resume", scope]
    upstream = next(key for key in house.json("key", "list")["keys"])["id"]
    yield "remove an upstream key", paused, ["key", "remove", upstream, "--reason", "m"], "last"


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--streams", type=int, default=500)
    asked.add_argument("--rounds", type=int, default=3)
    asked = asked.parse_args()
    seen = {}
    for round_number in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            mock = Mock(folder)
            house = House(folder, upstream=mock.url, key=real_looking_key())
            try:
                for name, key, command, undo in ways(house, round_number):
                    seconds = asyncio.run(measure(house, asked.streams, key["key"], command))
                    seen.setdefault(name, []).extend(seconds)
                    if isinstance(undo, list):
                        house.run(*undo)
            finally:
                house.kill()
                mock.kill()
    print(f"{asked.streams} streams at a time, {asked.rounds} rounds, milliseconds", file=sys.stderr)
    print("| What is done | streams | p50 | p99 | longest |")
    print("|---|---|---|---|---|")
    for name, seconds in seen.items():
        seconds.sort()
        figures = [at(seconds, share) for share in (0.5, 0.99, 1.0)]
        print(f"| {name} | {len(seconds)} | " + " | ".join(f"{ms:.0f}" for ms in figures) + " |")


if __name__ == "__main__":
    main()
