"""Holds the golden vectors in tests/vectors against `msgpack` and `rpc_client`, as any other language may do:

    python3 examples/python/check_vectors.py

Every message and value is decoded and encoded again. The exchanges that a client of one call at a time can have are
had by a `rpc_client.Client`, with a server that knows nothing but the bytes.
"""

import json
import socket
import threading
from pathlib import Path

import msgpack

import rpc_client as rpc

VECTORS = Path(__file__).resolve().parents[2] / "tests" / "vectors"
CALLS, ONE_WAY, REPLIES = (rpc.REQUEST, rpc.CALL), (rpc.NOTIFICATION, rpc.SEND), (rpc.RESPONSE, rpc.REPLY)


def main():
    counts = {"messages": 0, "values": 0, "exchanges": 0}
    for path in sorted(VECTORS.glob("*.json")):
        vectors = json.loads(path.read_text(encoding="utf-8"))
        for value in vectors.get("values", ()):
            counts["values"] += 1
            check_value(value)
        for exchange in vectors.get("exchanges", ()):
            counts["messages"] += sum(check_message(exchange["name"], step) for step in exchange["steps"])
            if "client" in exchange["checked_as"] and can_be_had(exchange):
                counts["exchanges"] += 1
                have(exchange, vectors["from_start"])
    assert all(counts.values()), counts
    print("as in the vectors: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


# ---- messages and values ----


def check_value(vector):
    expected, name = value_of(vector["value"]), vector["name"]
    raw = bytes.fromhex(vector["hex"])
    same(decode(raw), expected, name)
    same(encode(expected, "$f32" in json.dumps(vector["value"])), raw, name)
    for form in vector.get("accepted", ()):
        other = decode(bytes.fromhex(form))
        # A struct by position is another value to MessagePack; it is the reader's type that makes it the same.
        if vector["type"] in ("i64", "u8", "String", "Timestamp"):
            same(other, expected, f"{name} as {form}")


def check_message(name, step):
    if "message" not in step:
        return 0
    raw = bytes.fromhex(step["hex"])
    frame = raw.removeprefix(rpc.MAGIC)
    same(int.from_bytes(frame[:4], "big"), len(frame) - 4, name)
    same(decode(frame[4:]), value_of(step["message"]), name)
    if step.get("encoding") != "wide":
        same(encode(value_of(step["message"])), frame[4:], name)
    return 1


def value_of(notation):
    """The value that a vector's JSON stands for: what JSON lacks is an object of one key with a dollar."""
    match notation:
        case {"$int": digits}:
            return int(digits)
        case {"$f64": digits} | {"$f32": digits}:
            return float(digits)
        case {"$bin": digits}:
            return bytes.fromhex(digits)
        case {"$ext": [-1, digits]}:
            return msgpack.Timestamp.from_bytes(bytes.fromhex(digits))
        case {"$map": entries}:
            return {value_of(key): value_of(value) for key, value in entries}
        case dict():
            return {key: value_of(value) for key, value in notation.items()}
        case list():
            return [value_of(element) for element in notation]
    return notation


def decode(raw):
    return msgpack.unpackb(raw, strict_map_key=False)


def encode(value, single=False):
    return msgpack.packb(value, use_single_float=single)


def same(got, expected, name):
    # By what is shown: 1, 1.0 and True are equal to Python, but not to MessagePack.
    assert repr(got) == repr(expected), f"{name}: got {got!r}, expected {expected!r}"


# ---- exchanges ----


def can_be_had(exchange):
    """Whether the client sends nothing but calls that are answered or have a timeout, and goodbyes."""
    sent = messages(exchange, "client")
    answered = {message[1] for message in messages(exchange, "server") if message[0] in REPLIES}
    return all(
        message[0] in (*ONE_WAY, rpc.HELLO, rpc.GOAWAY, rpc.CANCEL)
        or (message[0] in CALLS and (message[1] in answered or message[0] == rpc.CALL))
        for message in sent
    ) and not any(message[0] == rpc.CANCEL and [0, message[1]] in [m[:2] for m in sent] for message in sent)


def have(exchange, from_start):
    ours, theirs = socket.socketpair()
    failures = []
    server = threading.Thread(target=serve, args=(exchange, from_start, theirs, failures))
    server.start()
    try:
        call(exchange, ours)
    finally:
        server.join()
        theirs.close()
    assert not failures, f"{exchange['name']}: {failures[0]}"


def call(exchange, ours):
    hellos = [message for message in messages(exchange, "server") if message[0] == rpc.HELLO]
    try:
        client = rpc.Client(lambda: ours)
    except rpc.RpcError as error:
        assert hellos and hellos[0][1] > rpc.VERSION, error
        assert (error.code, error.executed) == (rpc.Code.FAILED_PRECONDITION, rpc.Executed.NO)
        return
    calls = [message for message in messages(exchange, "client") if message[0] in CALLS + ONE_WAY]
    # The vectors have the ids that the Rust client gives.
    client._ids = iter([message[1] for message in calls if message[0] in CALLS])
    replies = {message[1]: message for message in messages(exchange, "server") if message[0] in REPLIES}
    for message in calls:
        *_, method, micros, metadata, arguments = (
            message if message[0] in (rpc.CALL, rpc.SEND) else [*message[:-1], None, None, message[-1]]
        )
        timeout = micros and micros / 1_000_000
        if message[0] in ONE_WAY:
            client.notify(method, *arguments, timeout=timeout, metadata=metadata)
            continue
        try:
            outcome = client.call(method, *arguments, timeout=timeout, metadata=metadata)
        except (rpc.AppError, rpc.RpcError) as error:
            outcome = error
        check_outcome(exchange["name"], outcome, replies.get(message[1]))
    client.close()


def check_outcome(name, outcome, reply):
    match reply:
        case None:
            assert (outcome.code, outcome.executed) == (rpc.Code.DEADLINE_EXCEEDED, rpc.Executed.MAYBE), name
        case [*_, None, result]:
            same(outcome, instants(result), name)
        case [*_, [0, value], None]:
            same(outcome.value, instants(value), name)
        case [*_, [code, executed, text, details], None]:
            code, executed = (code if code <= 16 else rpc.Code.UNKNOWN), min(executed, rpc.Executed.YES)
            executed = executed if reply[-2][1] <= 2 else rpc.Executed.MAYBE
            assert (outcome.code, outcome.executed, outcome.message) == (code, executed, text), name
            same(outcome.details, instants(details), name)
        case _:
            assert outcome.code == rpc.Code.INTERNAL, name


def instants(value):
    """The same value with its timestamps as the client gives them."""
    match value:
        case msgpack.Timestamp():
            return value.to_datetime()
        case dict():
            return {key: instants(value) for key, value in value.items()}
        case list():
            return [instants(element) for element in value]
    return value


def serve(exchange, from_start, stream, failures):
    """Plays the server's part: sends its bytes, compares the client's."""
    try:
        if not from_start:
            hello = encode([rpc.HELLO, rpc.VERSION, rpc.VERSION, [], rpc.LIMITS])
            hello = rpc.MAGIC + len(hello).to_bytes(4, "big") + hello
            same(receive(stream, len(hello)), hello, "hello")
            stream.sendall(hello)
        for step in exchange["steps"]:
            raw = bytes.fromhex(step.get("hex", ""))
            if step.get("from") == "server":
                stream.sendall(raw)
            elif step.get("from") == "client":
                same(receive(stream, len(raw)).hex(), raw.hex(), exchange["name"])
        stream.shutdown(socket.SHUT_WR)
    except (AssertionError, OSError) as failure:
        failures.append(failure)
        stream.close()


def receive(stream, count):
    received = b""
    while len(received) < count and (more := stream.recv(count - len(received))):
        received += more
    return received


def messages(exchange, side):
    return [value_of(step["message"]) for step in exchange["steps"] if step.get("from") == side and "message" in step]


if __name__ == "__main__":
    main()
