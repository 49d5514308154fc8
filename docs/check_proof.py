"""Check a proof file of dii with nothing of dii's.

    python check_proof.py FILE HEADER_HASH

It trusts the header hash that you give it, and nothing in the file. It prints what is proven and
ends with 0, or says why nothing is and ends with 1; with 2 where it has no file to look at. The
format is explained in proofs.md.
"""

import hashlib
import json
import sys

COMMON = {"format", "kind", "header", "header_hash", "genesis"}
COMMON |= {"key", "value", "siblings", "other"}
MORE = {"record": set(), "receipt": {"receipt"}, "no receipt": {"gateway", "neighbours"}}
ABSENT = {"account": 1, "application": 2, "forward": 1, "gateway": 2}  # parts of their keys
RECORDS = {
    "account": "balance nonce",
    "genesis": "name symbol decimals laboratory generated",
    "gateway": "first owners",
    "application": "first owners",
    "issuance": "scope rule policy metrics total_weight pool dust_before dust_after paid unminted"
    " rest count root",
    "receipt": "gateway payee weight amount reason values",
}
AMOUNTS = {"balance", "pool", "dust_before", "dust_after", "paid", "unminted", "rest", "amount"}


def need(holds, otherwise):
    """Refuse what does not hold."""
    if not holds:
        raise ValueError(otherwise)


def sha(*parts):
    """Hash bytes that follow each other."""
    return hashlib.sha256(b"".join(parts)).digest()


def unhex(text):
    """Read bytes in lower-case hex."""
    data = bytes.fromhex(text)
    need(data.hex() == text, "not lower-case hex")
    return data


def unhex_all(texts):
    """Read a list of them."""
    need(type(texts) is list, "not a list")
    return [unhex(text) for text in texts]


def decode(data):
    """Read one value: CBOR of integers, bytes, text, arrays, true, false, null, shortest forms."""
    value, end = read(data, 0)
    need(end == len(data), "bytes after the end")
    return value


def read(data, at):
    """Read the value that begins at a byte; return it and where it ends."""
    first, at = data[at], at + 1
    if first in {0xF4, 0xF5, 0xF6}:
        return {0xF4: False, 0xF5: True, 0xF6: None}[first], at
    major, number = first >> 5, first & 31
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(number, 0)
    need(major < 5 and (number < 24 or size) and at + size <= len(data), "not a value")
    if size:
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
        need(number >= (24 if size == 1 else 1 << 4 * size), "not the shortest form")
    if major < 2:
        return (-1 - number if major else number), at
    if major < 4:
        chunk, at = data[at : at + number], at + number
        need(at <= len(data), "cut off")
        return (chunk if major == 2 else chunk.decode()), at
    items = []
    for _ in range(number):
        item, at = read(data, at)
        items.append(item)
    return items, at


def record(kind, data):
    """Return a record's fields by name; money is bytes, the most significant first."""
    names, values = RECORDS[kind].split(), decode(data)
    need(type(values) is list and len(values) == len(names), f"not the fields of {kind}")
    fields = dict(zip(names, values))
    for name in AMOUNTS & fields.keys():
        fields[name] = int.from_bytes(fields[name], "big")
    if "payee" in fields:
        fields["payee"] = address(fields["payee"])
    if "owners" in fields:
        fields["owners"] = {since: address(owner) for since, owner in fields["owners"]}
    return fields


def check_way(key, value, siblings, other, root):
    """Walk from a key's place up to the state's root."""
    path = sha(key)
    digest = bytes(32)  # nothing stands in the key's place
    if value is not None:
        need(other is None, "another key stands in this key's place")
        digest = sha(b"\0", path, sha(value))
    elif other is not None:
        found, value_hash = unhex_all(other)
        need(len(found) == len(value_hash) == 32 and found != path, "not another key")
        digest = sha(b"\0", found, value_hash)
    for depth in reversed(range(len(siblings))):
        turned = path[depth // 8] >> (7 - depth % 8) & 1
        pair = (siblings[depth], digest) if turned else (digest, siblings[depth])
        digest = sha(b"\1", *pair)
    need(digest == root, "the key's way does not lead to the state's root")


def check_state(proof, root):
    """Check the record that the file is about; return its table, the rest of its key, its value."""
    key, value = unhex(proof["key"]), None if proof["value"] is None else unhex(proof["value"])
    check_way(key, value, unhex_all(proof["siblings"]), proof["other"], root)
    table, *parts = decode(key)
    if value is None:
        need(len(parts) == ABSENT.get(table), "absent, but no such key could be there")
        *scope, last = parts
        need(type(last) is bytes and len(last) == 20, "absent, but no hash of 20 bytes")
        need(all(map(is_name, scope)), "absent, but no scope can have this name")
    return table, parts, value


def check_genesis(genesis, root):
    """Check the record of what kind of network this is, and return it."""
    need(genesis.keys() == {"value", "siblings"}, "not the fields of a genesis record")
    value = unhex(genesis["value"])
    check_way(b"\x81\x67genesis", value, unhex_all(genesis["siblings"]), None, root)
    return record("genesis", value)


def is_name(part):
    """Tell whether a part of a key is a name that a scope can have."""
    known = set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    return type(part) is str and 1 <= len(part) <= 41 and known >= {*part} and part[0] not in "_-"


def check_receipt(place, issuance):
    """Walk from a receipt to the root of all receipts (RFC 9162, 2.1.3.2); return index, leaf."""
    need(place.keys() == {"leaf", "index", "path"}, "not the fields of a receipt's place")
    leaf, index, last = unhex(place["leaf"]), place["index"], issuance["count"] - 1
    need(type(index) is int and 0 <= index <= last, "no such place")
    digest, at = sha(b"\0", leaf), index
    for sibling in unhex_all(place["path"]):
        need(last > 0, "the way is too long")
        if at & 1 or at == last:
            digest = sha(b"\1", sibling, digest)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            digest = sha(b"\1", digest, sibling)
        at, last = at >> 1, last >> 1
    need(last == 0 and digest == issuance["root"], "the receipt's way does not lead to the root")
    return index, record("receipt", leaf)


def fields_once(pairs):
    """Return an object's fields, each of which is named once."""
    fields = dict(pairs)
    need(len(fields) == len(pairs), "a field is named twice")
    return fields


def check(data, trusted):
    """Return what a proof file's bytes prove under a header hash; ValueError where nothing."""
    need(len(data) <= 1 << 20, "too large")
    proof = json.loads(data, object_pairs_hook=fields_once)
    need(type(proof) is dict and proof.get("format") == "dii/proof/1", "not a proof file")
    need(proof.get("kind") in MORE, "no known kind")
    need(proof.keys() == COMMON | MORE[proof["kind"]], "not the fields of its kind")
    header = unhex(proof["header"])
    digest = sha(b"dii/header/2\0", header)
    need(digest == trusted, f"made against header {digest.hex()}, not against the trusted one")
    need(proof["header_hash"] == digest.hex(), "its header is not the one that it names")
    _, chain, height, _, _, _, _, root, *_ = decode(header)
    table, parts, value = check_state(proof, root)
    proven = {"chain": chain, "height": height, "network": check_genesis(proof["genesis"], root)}
    proven |= {"kind": table, "key": parts}
    if table in {"account", "forward"}:
        proven["key"] = address(parts[0])
    if proof["kind"] == "record":
        proven["present"] = value is not None
        if value is not None:
            proven |= record(table, value) if table in RECORDS else {"value": decode(value)}
        if table == "forward" and value is not None:
            proven["to"] = address(proven.pop("value"))
        return proven
    need(table == "issuance" and len(parts) == 2 and value is not None, "no issuance")
    issuance = record("issuance", value)
    proven |= {"kind": "receipt", "stream": parts[0], "epoch": parts[1]}
    del proven["key"]
    if proof["kind"] == "receipt":
        _, leaf = check_receipt(proof["receipt"], issuance)
        metrics = dict(zip(issuance["metrics"], leaf.pop("values")))
        return proven | {"present": True} | issuance | leaf | {"metrics": metrics}
    gateway, before, after = unhex(proof["gateway"]), [-1], [issuance["count"]]
    need(len(gateway) == 20 and len(proof["neighbours"]) <= 2, "not a gateway's neighbours")
    for place in proof["neighbours"]:
        index, leaf = check_receipt(place, issuance)
        need(leaf["gateway"] != gateway, "the gateway has a receipt")
        (before if leaf["gateway"] < gateway else after).append(index)
    need(max(before) + 1 == min(after), "there is room for the receipt")
    return proven | {"present": False, "gateway": gateway, "receipts": issuance["count"]}


def address(data):
    """Write an account's 20 bytes as people do, in bech32m (BIP 350) with the prefix dii."""
    words = [int.from_bytes(data, "big") >> 5 * n & 31 for n in reversed(range(32))]
    check = 1
    for word in [3, 3, 3, 0, 4, 9, 9, *words, 0, 0, 0, 0, 0, 0]:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ word
        for bit, mask in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= mask if top >> bit & 1 else 0
    words += [(check ^ 0x2BC830A3) >> 5 * n & 31 for n in reversed(range(6))]
    return "dii1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[word] for word in words)


def main():
    """Check the file that the command line names."""
    try:
        _, path, trusted = sys.argv
        with open(path, "rb") as file:  # noqa: PTH123 - three modules are enough
            data = file.read((1 << 20) + 1)
    except (OSError, ValueError) as error:
        usage = "usage: python check_proof.py FILE HEADER_HASH"
        print(f"cannot be read: {error}" if isinstance(error, OSError) else usage, file=sys.stderr)
        sys.exit(2)
    try:
        proven = check(data, bytes.fromhex(trusted))
    except Exception as error:  # noqa: BLE001 - whatever is wrong, it proves nothing
        sys.exit(f"NOT PROVEN: {error or type(error).__name__}")
    print(json.dumps({"holds": True} | proven, indent=1, default=bytes.hex))


if __name__ == "__main__":
    main()
