"""Requests that two readers could read differently, as raw bytes: what is answered, how many of
them reach upstream, and whether the connection goes on."""

import json
import socket
from urllib.parse import urlsplit

import pytest
from hpack import Encoder
from house import House, Mock, real_looking_key
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

BODY = json.dumps(
    {
        "model": "claude-haiku-5-5",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": "Hello"}],
    }
).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AS_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
KEPT, CLOSED = "kept", "closed"


class Wire:
    """One connection, spoken by hand."""

    def __init__(self, house, key):
        at = urlsplit(house.gateway)
        self.key = key.encode()
        self.socket = socket.create_connection((at.hostname, at.port), timeout=30)
        self.read = b""

    def head(self, lines=b"", start=b"POST /v1/messages HTTP/1.1", host=b"Host: gateway\r\n"):
        key = b"x-api-key: " + self.key + b"\r\nanthropic-version: 2023-06-01\r\n"
        return start + b"\r\n" + host + key + b"content-type: application/json\r\n" + lines + b"\r\n"

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It was closed before all was sent; the answer says why.

    def more(self):
        try:
            found = self.socket.recv(65536)
        except ConnectionResetError:
            found = b""
        self.read += found
        return bool(found)

    def answer(self):
        """The next answer's status and body; None when the connection ends before one."""
        while b"\r\n\r\n" not in self.read:
            if not self.more():
                return None
        head, self.read = self.read.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ")[1])
        lines = [line.split(b":", 1) for line in head.split(b"\r\n")[1:]]
        headers = {name.strip().lower(): value.strip() for name, value in lines}
        if status == 100:
            return status, headers, b""
        if headers.get(b"transfer-encoding") == b"chunked":
            while b"\r\n0\r\n\r\n" not in self.read:
                assert self.more()
            body, self.read = self.read.split(b"\r\n0\r\n\r\n", 1)
            return status, headers, body
        length = int(headers.get(b"content-length", b"0"))
        while len(self.read) < length and self.more():
            pass
        body, self.read = self.read[:length], self.read[length:]
        return status, headers, body

    def is_closed(self):
        """Whether the other side ended it. One that goes on answers a probe."""
        self.send(b"HEAD / HTTP/1.1\r\nHost: gateway\r\n\r\n")
        answer = self.answer()
        assert answer is None or answer[0] == 200, answer
        return answer is None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    mock = Mock(tmp_path_factory.mktemp("mock"))
    house = House(tmp_path_factory.mktemp("house"), upstream=mock.url, key=real_looking_key())
    key = house.virtual_key("raw", "development", daily=1000, monthly=1000)["key"]
    yield house, mock, key
    assert house.stop() == 0
    mock.stop()


SMUGGLED = b"POST /v1/messages HTTP/1.1\r\nHost: smuggled\r\nContent-Length: 0\r\n\r\n"
OLD = b"POST /v1/messages HTTP/1.0"
BAD_CHUNKS = b"%x\r\n%s\r\n"

# Name, lines, what follows the head, the statuses, how many calls upstream, and the connection.
TABLE = [
    ("a length", LENGTH, BODY, [200], 1, KEPT),
    ("chunks", CHUNKED, AS_CHUNKS, [200], 1, KEPT),
    ("chunks in capitals", b"Transfer-Encoding: CHUNKED\r\n", AS_CHUNKS, [200], 1, KEPT),
    # Two framings: chunks are what counts, and nothing after them is read.
    ("length, then chunks", LENGTH + CHUNKED, AS_CHUNKS + SMUGGLED, [200], 1, CLOSED),
    ("chunks, then length", CHUNKED + LENGTH, AS_CHUNKS + SMUGGLED, [200], 1, CLOSED),
    ("short length and chunks", b"Content-Length: 4\r\n" + CHUNKED, AS_CHUNKS, [200], 1, CLOSED),
    ("the same length twice", LENGTH + LENGTH, BODY, [200], 1, KEPT),
    ("two lengths", LENGTH + b"Content-Length: 3\r\n", BODY, [400], 0, CLOSED),
    ("a list of lengths", b"Content-Length: 3, 3\r\n", b"abc", [400], 0, CLOSED),
    ("a signed length", b"Content-Length: +3\r\n", b"abc", [400], 0, CLOSED),
    ("a negative length", b"Content-Length: -3\r\n", b"abc", [400], 0, CLOSED),
    ("a length in hexadecimal", b"Content-Length: 0x3\r\n", b"abc", [400], 0, CLOSED),
    ("an empty length", b"Content-Length:\r\n", b"", [400], 0, CLOSED),
    ("a length that wraps", b"Content-Length: 18446744073709551619\r\n", b"abc", [400], 0, CLOSED),
    ("a length beyond the limit", b"Content-Length: 99999999\r\n", b"", [413], 0, CLOSED),
    # Transfer-Encoding that somebody else may read differently.
    ("not chunked", b"Transfer-Encoding: identity\r\n", BODY, [400], 0, CLOSED),
    ("almost chunked", b"Transfer-Encoding: xchunked\r\n", AS_CHUNKS, [400], 0, CLOSED),
    ("quoted", b'Transfer-Encoding: "chunked"\r\n', AS_CHUNKS, [400], 0, CLOSED),
    ("not last", b"Transfer-Encoding: chunked, identity\r\n", AS_CHUNKS, [400], 0, CLOSED),
    ("gzip too", b"Transfer-Encoding: gzip, chunked\r\n", AS_CHUNKS, [400], 0, CLOSED),
    ("chunked twice", CHUNKED + CHUNKED, AS_CHUNKS, [400], 0, CLOSED),
    ("two encodings", b"Transfer-Encoding: identity\r\n" + CHUNKED, AS_CHUNKS, [400], 0, CLOSED),
    ("a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", AS_CHUNKS, [400], 0, CLOSED),
    ("a space before the colon", b"Transfer-Encoding : chunked\r\n", AS_CHUNKS, [400], 0, CLOSED),
    ("a space before a length's", b"Content-Length : 3\r\n", b"abc", [400], 0, CLOSED),
    # Lines.
    ("a folded line", b"x-a: b\r\n c: d\r\n" + LENGTH, BODY, [400], 0, CLOSED),
    ("a folded encoding", b"Transfer-Encoding:\r\n chunked\r\n", AS_CHUNKS, [400], 0, CLOSED),
    ("a null byte", b"x-a: b\x00c\r\n" + LENGTH, BODY, [400], 0, CLOSED),
    ("a null byte in a name", b"x-\x00a: b\r\n" + LENGTH, BODY, [400], 0, CLOSED),
    ("a bare carriage return", b"x-a: b\rTransfer-Encoding: chunked\r\n", b"", [400], 0, CLOSED),
    ("no colon", b"nonsense\r\n" + LENGTH, BODY, [400], 0, CLOSED),
    ("a bare line feed", b"x-a: b\n" + LENGTH, BODY, [200], 1, KEPT),
    # Chunks.
    ("a chunk extension", CHUNKED, AS_CHUNKS.replace(b"\r\n", b";a=b\r\n", 1), [200], 1, KEPT),
    ("a negative chunk", CHUNKED, b"-5\r\nabcde\r\n0\r\n\r\n", [400], 0, CLOSED),
    ("a huge chunk", CHUNKED, b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", [400], 0, CLOSED),
    ("a chunk of nothing", CHUNKED, b"\r\n\r\n0\r\n\r\n", [400], 0, CLOSED),
    ("a chunk with 0x", CHUNKED, b"0x5\r\nabcde\r\n0\r\n\r\n", [400], 0, CLOSED),
    ("a chunk that is longer", CHUNKED, b"3\r\nabcd\r\n0\r\n\r\n", [400], 0, CLOSED),
    ("a chunk after a line feed", CHUNKED, AS_CHUNKS.replace(b"\r\n", b"\n", 1), [400], 0, CLOSED),
    # Trailers are read over, never merged.
    (
        "trailers",
        CHUNKED,
        AS_CHUNKS[:-2] + b"x-evil: 1\r\nContent-Length: 3\r\nx-api-key: other\r\n\r\n",
        [200],
        1,
        KEPT,
    ),
    # Hosts and expectations.
    ("a second host", b"Host: other\r\n" + LENGTH, BODY, [400], 0, CLOSED),
    ("an unknown expectation", b"Expect: a-miracle\r\n" + LENGTH, BODY, [417], 0, CLOSED),
    # What is not switched to.
    (
        "h2c",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n" + LENGTH,
        BODY,
        [200],
        1,
        KEPT,
    ),
    ("a web socket", b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + LENGTH, BODY, [200], 1, KEPT),
    # Sizes.
    ("130 headers", b"".join(b"x-%d: 1\r\n" % n for n in range(130)) + LENGTH, BODY, [431], 0, CLOSED),
    ("a header of 200 KB", b"x-a: " + b"a" * 200_000 + b"\r\n" + LENGTH, BODY, [431], 0, CLOSED),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_framing(place, row):
    _, lines, follows, statuses, calls, then = row
    house, mock, key = place
    before = len(mock.journal())
    wire = Wire(house, key)
    wire.send(wire.head(lines) + follows)
    assert [wire.answer()[0] for _ in statuses] == statuses
    assert wire.is_closed() == (then == CLOSED)
    assert wire.read == b"", "nothing else is answered"
    arrived = mock.journal()[before:]
    assert len(arrived) == calls
    for entry in arrived:
        assert "x-evil" not in json.dumps(entry["headers"]).lower()


STARTS = [
    ("an absolute target", b"POST http://gateway/v1/messages HTTP/1.1", [403], KEPT),
    ("a target elsewhere", b"POST http://api.anthropic.com/v1/messages HTTP/1.1", [403], KEPT),
    ("a tunnel", b"CONNECT api.anthropic.com:443 HTTP/1.1", [400], CLOSED),
    ("all of it", b"OPTIONS * HTTP/1.1", [403], KEPT),
    ("a target of 9 KB", b"POST /v1/messages?" + b"a" * 9_000 + b" HTTP/1.1", [414], CLOSED),
    ("a target of 70 KB", b"POST /v1/messages?" + b"a" * 70_000 + b" HTTP/1.1", [414], CLOSED),
    ("a small method", b"post /v1/messages HTTP/1.1", [405], KEPT),
    ("HTTP 1.2", b"POST /v1/messages HTTP/1.2", [400], CLOSED),
    ("HTTP 2 in words", b"POST /v1/messages HTTP/2.0", [400], CLOSED),
    ("two spaces", b"POST  /v1/messages HTTP/1.1", [400], CLOSED),
    ("a tab", b"POST\t/v1/messages HTTP/1.1", [400], CLOSED),
    ("a null byte", b"POST /v1/mess\x00ages HTTP/1.1", [400], CLOSED),
    ("no version", b"POST /v1/messages", [400], CLOSED),
]


@pytest.mark.parametrize("row", STARTS, ids=[row[0] for row in STARTS])
def test_request_lines(place, row):
    _, start, statuses, then = row
    house, mock, key = place
    before = len(mock.journal())
    wire = Wire(house, key)
    wire.send(wire.head(LENGTH, start) + BODY)
    assert [wire.answer()[0] for _ in statuses] == statuses
    assert wire.is_closed() == (then == CLOSED)
    assert len(mock.journal()) == before


def test_http_1_0(place):
    house, mock, key = place
    before = len(mock.journal())
    for lines, host, closed in [
        (LENGTH, b"", True),
        (b"Connection: keep-alive\r\n" + LENGTH, b"", False),
        (b"Connection: keep-alive\r\n" + LENGTH, b"Host: gateway\r\n", False),
    ]:
        wire = Wire(house, key)
        wire.send(wire.head(lines, OLD, host) + BODY)
        status, headers, body = wire.answer()
        assert status == 200 and b"transfer-encoding" not in headers and json.loads(body)
        assert wire.is_closed() == closed
    assert len(mock.journal()) == before + 3
    # It knows no chunks.
    wire = Wire(house, key)
    wire.send(wire.head(CHUNKED, OLD) + AS_CHUNKS)
    assert wire.answer()[0] == 400 and wire.is_closed()
    # Before it there were no heads at all.
    wire = Wire(house, key)
    wire.send(b"GET /v1/models\r\n")
    answer = wire.answer()
    assert answer[0] == 400 and wire.is_closed()
    # And since then a host is named.
    wire = Wire(house, key)
    wire.send(wire.head(LENGTH, host=b"") + BODY)
    status, _, body = wire.answer()
    assert status == 400 and b"host header" in body and wire.is_closed()
    assert len(mock.journal()) == before + 3


def test_requests_in_a_row(place):
    house, mock, key = place
    before = len(mock.journal())
    wire = Wire(house, key)
    wrong = wire.head(LENGTH, b"POST /v1/complete HTTP/1.1") + BODY
    wire.send((wire.head(LENGTH) + BODY) + wrong + (wire.head(CHUNKED) + AS_CHUNKS))
    assert [wire.answer()[0] for _ in range(3)] == [200, 403, 200]
    assert not wire.is_closed()
    assert len(mock.journal()) == before + 2


def test_whoever_asks_before_sending_is_answered(place):
    house, mock, key = place
    before = len(mock.journal())
    wire = Wire(house, key)
    wire.send(wire.head(b"Expect: 100-continue\r\n" + LENGTH))
    assert wire.answer()[0] == 100
    wire.send(BODY)
    assert wire.answer()[0] == 200 and not wire.is_closed()
    # No body is asked for where it would be thrown away, and what may come of it is not read.
    wire = Wire(house, "chm_nobody_" + "x" * 43)
    wire.send(wire.head(b"Expect: 100-continue\r\n" + LENGTH))
    assert wire.answer()[0] == 401 and wire.is_closed()
    # HTTP/1.0 knows no expectations: the body just comes.
    wire = Wire(house, key)
    wire.send(wire.head(b"Expect: 100-continue\r\n" + LENGTH, OLD) + BODY)
    assert wire.answer()[0] == 200
    assert len(mock.journal()) == before + 2


class Frames(Wire):
    """One connection of HTTP/2, spoken by hand."""

    def __init__(self, house, key):
        super().__init__(house, key)
        self.encoder = Encoder()
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())

    def fields(self, *more, method="POST", path="/v1/messages"):
        first = [(":method", method), (":scheme", "http"), (":authority", "gateway")]
        own = [("x-api-key", self.key.decode()), ("anthropic-version", "2023-06-01")]
        own.append(("content-type", "application/json"))
        return self.encoder.encode([*first, (":path", path), *own, *more])

    def put(self, *frames):
        self.send(b"".join(frame.serialize() for frame in frames))

    def headers(self, stream, *more, end=False, **what):
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        return HeadersFrame(stream, data=self.fields(*more, **what), flags=flags)

    def frame(self):
        """The next frame; None when the connection ends."""
        while len(self.read) < 9:
            if not self.more():
                return None
        frame, length = Frame.parse_frame_header(memoryview(self.read[:9]))
        while len(self.read) < 9 + length:
            if not self.more():
                return None
        frame.parse_body(memoryview(self.read[9 : 9 + length]))
        self.read = self.read[9 + length :]
        return frame

    def until(self, kind):
        """The next frame of a kind."""
        while (frame := self.frame()) is not None:
            if isinstance(frame, kind):
                return frame
        return None


@pytest.mark.parametrize(
    "more",
    [
        [("content-length", str(len(BODY) + 1))],
        [("content-length", str(len(BODY) - 1))],
        [("content-length", "1"), ("content-length", "2")],
        [("transfer-encoding", "chunked")],
        [("connection", "close")],
    ],
    ids=["a longer length", "a shorter length", "two lengths", "an encoding", "a connection"],
)
def test_streams_whose_head_does_not_fit(place, more):
    house, mock, key = place
    before = len(mock.journal())
    wire = Frames(house, key)
    wire.put(wire.headers(1, *more), DataFrame(1, data=BODY, flags=["END_STREAM"]))
    reset = wire.until((RstStreamFrame, GoAwayFrame))
    assert reset is not None
    assert len(mock.journal()) == before


def test_a_flood_of_resets_ends_the_connection(place):
    house, mock, key = place
    wire = Frames(house, key)
    for stream in range(1, 4001, 2):
        wire.put(wire.headers(stream), RstStreamFrame(stream, error_code=8))
    away = wire.until(GoAwayFrame)
    assert away is not None and away.error_code == 11, "ENHANCE_YOUR_CALM"


def test_a_flood_of_continuations_ends_the_connection(place):
    house, _, key = place
    wire = Frames(house, key)
    wire.put(HeadersFrame(1, data=wire.fields()))
    for number in range(2_000):
        field = wire.encoder.encode([(f"x-{number}", "a" * 200)])
        wire.put(ContinuationFrame(1, data=field))
    away = wire.until(GoAwayFrame)
    assert away is not None and away.error_code == 11


@pytest.mark.parametrize("kind", ["settings", "pings"])
def test_floods_of_small_frames_are_answered_one_by_one(place, kind):
    """Nothing piles up: whoever does not take the answers is read no further."""
    house, mock, key = place
    wire = Frames(house, key)
    make = SettingsFrame if kind == "settings" else lambda at: PingFrame(at, opaque_data=b"flooding")
    wire.socket.settimeout(2)
    flood = make(0).serialize() * 1_000
    sent = 0
    try:
        while sent < 200_000_000:
            sent += wire.socket.send(flood)
    except (TimeoutError, ConnectionError):
        pass
    assert sent < 200_000_000, "it reads on although nobody takes its answers"
    # Others are not held up.
    other = Wire(house, key)
    other.send(other.head(LENGTH) + BODY)
    assert other.answer()[0] == 200
