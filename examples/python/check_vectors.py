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
    move_on()
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


class Replayed(rpc.Client):
    """The client, with the ids of the vectors, which are those of the Rust client."""

    def __init__(self, open_socket, calls):
        self._given = [call[1] for call in calls if call[0] in CALLS]
        super().__init__(open_socket)

    def _open(self):
        super()._open()
        self._ids = iter(self._given)


def can_be_had(exchange):
    """Whether the client makes calls that are answered or have a timeout, and nothing else but begin and end."""
    sent, received = messages(exchange, "client"), messages(exchange, "server")
    timed = {message[1] for message in sent if message[0] == rpc.CALL and message[3] is not None}
    ending = {message[1] for message in received if message[0] in REPLIES} | timed
    for kind, *rest in sent:
        if kind in CALLS and rest[0] not in ending or kind == rpc.CANCEL and rest[0] not in timed:
            return False
        if kind not in (*CALLS, *ONE_WAY, rpc.CANCEL, rpc.HELLO, rpc.GOAWAY):
            return False
    return True


def have(exchange, from_start):
    with Server(exchange, from_start) as server:
        calls = [message for message in messages(exchange, "client") if message[0] in CALLS + ONE_WAY]
        try:
            client = Replayed(lambda: server.client_end, calls)
        except rpc.RpcError as error:
            hello = messages(exchange, "server")[0]
            assert hello[0] == rpc.HELLO and hello[1] > rpc.VERSION, error
            assert (error.code, error.executed) == (rpc.Code.FAILED_PRECONDITION, rpc.Executed.NO)
            return
        for message in calls:
            call(client, exchange, message)
        client.close()


def move_on():
    """A server drains between two calls: the second goes to another connection, and nobody is told."""
    drains, answers = find("control", "the server drains"), find("calls", "request and response")
    with Server(drains, False) as first, Server(answers, False) as second:
        ends = [first.client_end, second.client_end]
        message = messages(answers, "client")[0]
        client = Replayed(lambda: ends.pop(0), [message])
        assert first.said_goodbye.wait(10)
        call(client, answers, message)
        assert not ends
        client.close()


def call(client, exchange, message):
    plain = [*message[:-1], None, None, message[-1]]
    *_, method, micros, metadata, arguments = message if message[0] in (rpc.CALL, rpc.SEND) else plain
    timeout = None if micros is None else micros / 1_000_000
    if message[0] in ONE_WAY:
        client.notify(method, *arguments, timeout=timeout, metadata=metadata)
        return
    try:
        outcome = client.call(method, *map(instants, arguments), timeout=timeout, metadata=metadata)
    except (rpc.AppError, rpc.RpcError) as error:
        outcome = error
    replies = [reply for reply in messages(exchange, "server") if reply[0] in REPLIES and reply[1] == message[1]]
    check_outcome(exchange["name"], outcome, replies[0] if replies else None)


def check_outcome(name, outcome, reply):
    match reply:
        case None:
            assert (outcome.code, outcome.executed) == (rpc.Code.DEADLINE_EXCEEDED, rpc.Executed.MAYBE), name
        case [*_, None, result]:
            same(outcome, instants(result), name)
        case [*_, [0, value], None]:
            same(outcome.value, instants(value), name)
        case [*_, [code, executed, text, details], None]:
            code = code if code <= 16 else rpc.Code.UNKNOWN
            executed = executed if executed <= 2 else rpc.Executed.MAYBE
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


class Server:
    """Plays the server's part, on a thread of its own: sends its bytes, compares the client's."""

    def __init__(self, exchange, from_start):
        self._exchange, self._from_start, self._failure = exchange, from_start, None
        self.client_end, self._stream = socket.socketpair()
        self.said_goodbye = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.client_end.close()  # So that the thread ends in any case.
        self._thread.join()
        self._stream.close()
        if self._failure:
            raise AssertionError(f"{self._exchange['name']}: {self._failure}")

    def _run(self):
        try:
            if not self._from_start:
                self._play(find("hello", "both speak version 1"))
            self._play(self._exchange)
        except (AssertionError, OSError) as failure:
            self._failure = failure
        self._stream.shutdown(socket.SHUT_WR)

    def _play(self, exchange):
        for step in exchange["steps"]:
            raw = bytes.fromhex(step.get("hex", ""))
            if step.get("from") == "server":
                self._stream.sendall(raw)
                if step["message"][0] == rpc.GOAWAY:
                    self.said_goodbye.set()
            elif step.get("from") == "client":
                same(self._receive(len(raw)).hex(), raw.hex(), step.get("note", "the client's message"))

    def _receive(self, count):
        received = b""
        while len(received) < count and (more := self._stream.recv(count - len(received))):
            received += more
        return received


def find(group, name):
    exchanges = json.loads((VECTORS / f"{group}.json").read_text(encoding="utf-8"))["exchanges"]
    return next(exchange for exchange in exchanges if exchange["name"] == name)


def messages(exchange, side):
    return [value_of(step["message"]) for step in exchange["steps"] if step.get("from") == side and "message" in step]


if __name__ == "__main__":
    main()
