"""The audit log, checked by an independent reading of RFC 6962 and C2SP notes."""

import base64
import hashlib
import json
import sqlite3

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def stored(store: sqlite3.Connection) -> list[tuple[int, bytes, bytes]]:
    """Number, bytes and leaf hash of every record. A row holds many: `heads` has 36 bytes for each
    (the length of its bytes, the highest first, and its leaf hash), `bytes` has them one after the
    other, and `first` is the number of the first."""
    records = []
    for first, heads, data in store.execute(
        "SELECT first, heads, bytes FROM audit_blocks ORDER BY first"
    ):
        start = 0
        for place in range(len(heads) // 36):
            head = heads[36 * place : 36 * place + 36]
            end = start + int.from_bytes(head[:4], "big")
            records.append((first + place, data[start:end], head[4:]))
            start = end
        assert len(heads) % 36 == 0 and start == len(data)
    return records


def some_calls(house, count=5):
    key = house.virtual_key("audited")["key"]
    for _ in range(count):
        answer = httpx.post(
            house.gateway + "/v1/messages",
            json={
                "model": "claude-haiku-5-5",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "a prompt nobody keeps"}],
            },
            headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
        )
        assert answer.status_code == 200
    house.until_idle()


def test_an_independent_verifier_agrees(own_house):
    some_calls(own_house)
    checkpoint = own_house.json("audit", "checkpoint")
    verified = own_house.json("audit", "verify")
    assert verified["ok"] and verified["records"] >= checkpoint["size"]
    records = [json.loads(text) for text in own_house.run("audit", "export").splitlines()]
    leaves = [bytes.fromhex(record["leaf_hash"]) for record in records]
    assert [record["seq"] for record in records] == list(range(len(records)))
    size = checkpoint["size"]
    assert root(leaves[:size]).hex() == checkpoint["root"]

    # The note: text, blank line, signature line `— name base64(hash || signature)`.
    text, signatures = checkpoint["note"].split("\n\n", 1)
    text += "\n"
    origin, written_size, written_root = text.splitlines()[:3]
    assert (int(written_size), base64.b64decode(written_root)) == (size, root(leaves[:size]))
    name, _, blob = signatures.strip().removeprefix("— ").partition(" ")
    raw = base64.b64decode(blob)
    # The verifier key: name+hash+base64(0x01 || public key).
    verifier_name, _, rest = verified["signer"].partition("+")
    key_hash, _, public = rest.partition("+")
    public = base64.b64decode(public)
    assert verifier_name == name == origin and public[0] == 1
    digest = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    assert raw[:4] == digest == bytes.fromhex(key_hash)
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], text.encode())


def test_stored_bytes_are_what_was_hashed(own_house):
    some_calls(own_house)
    own_house.stop()
    with sqlite3.connect(next(own_house.data.glob("*.db"))) as store:
        rows = stored(store)
    assert [seq for seq, _, _ in rows] == list(range(len(rows)))
    kinds = set()
    for _, body, digest in rows:
        assert leaf(body) == digest
        kinds.add(json.loads(body)["kind"])
    assert {"call.intent", "call.settled", "virtual_key.created"} <= kinds
    assert b"a prompt nobody keeps" not in b"".join(body for _, body, _ in rows)


def test_an_edit_is_found_and_located(own_house):
    some_calls(own_house)
    own_house.stop()
    path = next(own_house.data.glob("*.db"))
    with sqlite3.connect(path) as store:
        body = stored(store)[3][1]
        # `replace` in SQL is for text; the record is somewhere in the bytes of its block.
        for first, data in store.execute("SELECT first, bytes FROM audit_blocks").fetchall():
            changed = data.replace(body, body.replace(b"a", b"b", 1))
            store.execute("UPDATE audit_blocks SET bytes = ? WHERE first = ?", (changed, first))
    found = own_house.json("audit", "verify", ok=(3,))
    assert not found["ok"]
    assert found["problems"][0]["seq"] == 3


def test_a_record_is_proven_by_itself(own_house):
    some_calls(own_house)
    proof = own_house.json("audit", "prove", "2")
    path = [bytes.fromhex(step) for step in proof["path"]]
    node, index, last = bytes.fromhex(proof["record"]["leaf_hash"]), 2, proof["size"] - 1
    for step in path:  # RFC 9162, section 2.1.3.2
        if index % 2 or index == last:
            node = hashlib.sha256(b"\x01" + step + node).digest()
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + step).digest()
        index, last = index // 2, last // 2
    assert node.hex() == proof["root"]
