"""Faithful fakes of the parts of GitHub's and GitLab's APIs that sinks use.

Each answers as the real one: the same paths, fields, statuses and messages; GitHub opens what it is
sent with libsodium. `trouble` makes it answer otherwise: a function of method and path that gives a
status, a pair of a status and headers, "lie" (say yes and do nothing), or seconds to wait.
"""

import base64
import json
import re
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from nacl.public import PrivateKey, SealedBox


class Host:
    """A host on a port of its own; `asked` has every request."""

    def __init__(self, token: str):
        self.token = token
        self.asked: list[tuple[str, str, str]] = []
        self.trouble = lambda method, path: None
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length).decode()
                host.asked.append((self.command, self.path, body))
                trouble = host.trouble(self.command, self.path)
                if isinstance(trouble, float):
                    time.sleep(trouble)
                    trouble = None
                headers = {}
                if isinstance(trouble, tuple):
                    trouble, headers = trouble
                if isinstance(trouble, int):
                    status, answer = trouble, {"message": f"trouble {trouble}"}
                elif not host.knows(self.headers):
                    status, answer = 401, {"message": "401 Unauthorized"}
                else:
                    data = json.loads(body) if body else {}
                    status, answer = host.answer(self.command, self.path, data, trouble == "lie")
                text = b"" if answer is None else json.dumps(answer).encode()
                self.send_response_only(status)
                self.send_header("date", formatdate(usegmt=True))
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = handle_one

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def writes(self) -> list[tuple[str, str, str]]:
        return [asked for asked in self.asked if asked[0] != "GET"]


class GitHub(Host):
    """One repository's secrets. `secrets` has name → (value, updated_at)."""

    def __init__(self, token: str, repository: str):
        super().__init__(token)
        self.repository = repository
        self.private = PrivateKey.generate()
        self.secrets: dict[str, tuple[str, str]] = {}

    def knows(self, headers) -> bool:
        return headers.get("authorization") == f"Bearer {self.token}"

    def answer(self, method: str, path: str, data: dict, lie: bool):
        found = re.fullmatch(rf"/repos/{self.repository}/actions/secrets/([\w-]+)", path)
        if not found:
            return 404, {"message": "Not Found"}
        name = found[1].upper()
        if found[1] == "public-key":
            key = base64.b64encode(bytes(self.private.public_key)).decode()
            return 200, {"key_id": "568250167242549743", "key": key}
        if method == "GET":
            if name not in self.secrets:
                return 404, {"message": "Not Found"}
            at = self.secrets[name][1]
            return 200, {"name": name, "created_at": at, "updated_at": at}
        if data.get("key_id") != "568250167242549743":
            return 422, {"message": "Invalid request.\n\n\"key_id\" wasn't supplied."}
        if lie:
            return 204, None
        sealed = base64.b64decode(data["encrypted_value"])
        value = SealedBox(self.private).decrypt(sealed).decode()
        status = 204 if name in self.secrets else 201
        self.put(name, value)
        return status, ({} if status == 201 else None)

    def put(self, name: str, value: str, at: str | None = None) -> None:
        at = at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.secrets[name] = (value, at)


class GitLab(Host):
    """One project's variables, by key and environment scope."""

    def __init__(self, token: str, project: str):
        super().__init__(token)
        self.project = project
        self.variables: dict[tuple[str, str], dict] = {}
        self.forgets_flags = False

    def knows(self, headers) -> bool:
        return headers.get("private-token") == self.token

    def answer(self, method: str, path: str, data: dict, lie: bool):
        parts = urlsplit(path)
        found = re.fullmatch(r"/projects/([^/]+)(/variables(?:/(\w+))?)?", parts.path)
        if not found or unquote(found[1]) != self.project:
            return 404, {"message": "404 Project Not Found"}
        if not found[2]:
            return 200, {"id": 1, "path_with_namespace": self.project}
        if method == "POST":
            key = (data["key"], data.get("environment_scope", "*"))
            if key in self.variables:
                return 400, {"message": {"key": [f"({key[0]}) has already been taken"]}}
            return (201, data) if lie else self.write(key, data, 201)
        scope = parse_qs(parts.query).get("filter[environment_scope]", ["*"])[0]
        key = (found[3], scope)
        if key not in self.variables:
            return 404, {"message": "404 Variable Not Found"}
        if method == "GET":
            return 200, self.variables[key]
        return (200, data) if lie else self.write(key, data, 200)

    def write(self, key: tuple[str, str], data: dict, status: int):
        value = data["value"]
        if data.get("masked") and not re.fullmatch(r"[A-Za-z0-9+/=@:.~_-]{8,}", value):
            return 400, {"message": {"value": ["is invalid"]}}
        flags = ("protected", "masked")
        self.variables[key] = {
            "key": key[0],
            "value": value,
            "variable_type": data.get("variable_type", "env_var"),
            "environment_scope": key[1],
            "raw": data.get("raw", False),
            "hidden": False,
            "description": None,
            **{flag: data.get(flag, False) and not self.forgets_flags for flag in flags},
        }
        return status, self.variables[key]
