"""Clients that never tire: the same mix of calls for the kills, the faults and the soak.

Each client is a thread with a connection of its own. What it gets is only counted, by kind of call
and status: under torture any answer may be right, and the books say whether it was.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

MODEL = "claude-haiku-5-5"
HEADERS = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
THREADS = {"anthropic-beta": "message-threads-2026-08-12"}
BROKEN = (OSError, http.client.HTTPException)

# Of a hundred calls. A kind that is not served is refused, and counted as that.
MIX = {"plain": 40, "stream": 28, "leave": 8, "count": 10, "file": 4, "thread": 6, "batch": 4}


def asking(text, **fields) -> dict:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 60, "messages": messages} | fields


class Client:
    """One client: an error breaks its connection off, and the next call makes a new one."""

    def __init__(self, gateway: str, key: str, seed: int, pace_ms: int = 2):
        place = urlsplit(gateway)
        self.address = (place.hostname, place.port)
        self.headers = HEADERS | {"x-api-key": key}
        self.chance = random.Random(seed)
        self.pace_ms = pace_ms
        self.counts: Counter = Counter()
        self.connection = None
        self.batches: list[str] = []

    def call(self, kind: str) -> int | str:
        try:
            status = getattr(self, kind)()
        except BROKEN:
            self.close()
            status = "broken"
        self.counts[kind, status] += 1
        return status

    def close(self) -> None:
        if self.connection:
            self.connection.close()
            self.connection = None

    def send(self, method: str, path: str, body=None, **headers) -> http.client.HTTPResponse:
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=60)
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        self.connection.request(method, path, body=body, headers=self.headers | headers)
        return self.connection.getresponse()

    def ask(self, method: str, path: str, body=None, **headers) -> tuple[int, bytes]:
        answer = self.send(method, path, body, **headers)
        return answer.status, answer.read()

    def slowly(self) -> str:
        return f"[[mock: output_tokens=60 slow_body ms={self.pace_ms}]]"

    def plain(self) -> int:
        return self.ask("POST", "/v1/messages", asking("[[mock: output_tokens=60]]"))[0]

    def stream(self) -> int:
        return self.ask("POST", "/v1/messages", asking(self.slowly(), stream=True))[0]

    def leave(self) -> int:
        """Leaves in the middle of a stream."""
        answer = self.send("POST", "/v1/messages", asking(self.slowly(), stream=True))
        if answer.status == 200:
            answer.read(self.chance.randint(1, 900))
            answer.close()
            self.close()
        else:
            answer.read()
        return answer.status

    def count(self) -> int:
        body = {name: value for name, value in asking("How many?").items() if name != "max_tokens"}
        return self.ask("POST", "/v1/messages/count_tokens", body)[0]

    def file(self) -> int:
        """Uploads a file, has it read, and deletes it."""
        form = b"--edge\r\n" b'content-disposition: form-data; name="file"; filename="a.txt"\r\n'
        form += b"content-type: text/plain\r\n\r\n" + b"x" * 500 + b"\r\n--edge--\r\n"
        kind = {"content-type": "multipart/form-data; boundary=edge"}
        status, text = self.ask("POST", "/v1/files", form, **kind)
        if status != 200:
            return status
        name = json.loads(text)["id"]
        document = {"type": "document", "source": {"type": "file", "file_id": name}}
        status, _ = self.ask("POST", "/v1/messages", asking([document]))
        self.ask("DELETE", f"/v1/files/{name}")
        return status

    def thread(self) -> int:
        """Begins a thread and goes on with it once."""
        begin = asking("Hello.", thread={"type": "create"})
        status, text = self.ask("POST", "/v1/messages", begin, **THREADS)
        if status != 200:
            return status
        last = {"type": "continue", "previous_message_id": json.loads(text)["id"]}
        return self.ask("POST", "/v1/messages", asking("Go on.", thread=last), **THREADS)[0]

    def batch(self) -> int:
        """Submits a batch of three, and looks at the one before."""
        items = [{"custom_id": f"i{n}", "params": asking("Hello.")} for n in range(3)]
        status, text = self.ask("POST", "/v1/messages/batches", {"requests": items})
        if status != 200:
            return status
        self.batches.append(json.loads(text)["id"])
        if len(self.batches) > 1:
            self.ask("GET", f"/v1/messages/batches/{self.batches.pop(0)}")
        return status


class Load:
    """Clients that call as fast as they can, or together at a rate."""

    def __init__(
        self,
        gateway: str,
        key: str,
        clients: int = 12,
        seed: int = 0,
        per_second: float | None = None,
        mix: dict[str, int] | None = None,
        pace_ms: int = 2,
    ):
        self.over = threading.Event()
        self.resting = threading.Event()
        self.gap = clients / per_second if per_second else None
        self.mix = mix or MIX
        self.clients = [Client(gateway, key, seed * 1_000 + n, pace_ms) for n in range(clients)]
        self.threads = [
            threading.Thread(target=self.work, args=(one,), daemon=True) for one in self.clients
        ]
        for thread in self.threads:
            thread.start()

    def work(self, client: Client) -> None:
        kinds, weights = zip(*self.mix.items())
        due = time.monotonic() + client.chance.random() * (self.gap or 0)
        while not self.over.is_set():
            if self.resting.is_set():
                time.sleep(0.01)
                due = time.monotonic()
                continue
            [kind] = client.chance.choices(kinds, weights)
            status = client.call(kind)
            if self.gap:
                # Who fell behind by more than a second does not catch up in a burst.
                due = max(due + self.gap, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))
            elif status != 200:
                time.sleep(0.005)
        client.close()

    def counts(self) -> Counter:
        return sum((client.counts.copy() for client in self.clients), Counter())

    def stop(self) -> Counter:
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.counts()
