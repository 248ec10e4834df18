"""Holds the golden vectors in tests/vectors against `msgpack` and `rpc_client`, as any other language may do:

    python3 examples/python/check_vectors.py

Every message and value is decoded and encoded again. The exchanges that a client can have which waits for one call at
a time are had by a `rpc_client.Client`, with a server that knows nothing but the bytes.
"""

import json
import socket
import threading
from pathlib import Path

import msgpack

import rpc_client as rpc

VECTORS = Path(__file__).resolve().parents[2] / "tests" / "vectors"
Kind = rpc.Kind
CALLS, ONE_WAY = (Kind.REQUEST, Kind.CALL, Kind.OPEN), (Kind.NOTIFICATION, Kind.SEND)
REPLIES = (Kind.RESPONSE, Kind.REPLY)


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
    body = raw
    if step.get("may_split") != "fragments":  # Else there is no length, since it may come in many ways.
        frame = raw.removeprefix(rpc.MAGIC)
        body = frame[4:]
        same(int.from_bytes(frame[:4], "big"), len(body), name)
    same(decode(body), value_of(step["message"]), name)
    if step.get("encoding") != "wide":
        same(encode(value_of(step["message"])), body, name)
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
        case {"$ext": [kind, digits]}:
            return msgpack.ExtType(kind, bytes.fromhex(digits))
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
    """The client, with the ids of the vectors, which are those of the Rust client, and with its limits."""

    def __init__(self, open_socket, calls, limits=rpc.LIMITS):
        self._given = [call[1] for call in calls if call[0] in CALLS]
        super().__init__(open_socket, limits)

    def _open(self):
        super()._open()
        self._connection._ids = iter(self._given)


def can_be_had(exchange):
    """Whether the client waits for one call at a time, and ends the connection itself or not at all."""
    sent, received = messages(exchange, "client"), messages(exchange, "server")
    timed = {message[1] for message in sent if message[0] == Kind.CALL and message[3] is not None}
    opened = {message[1] for message in sent if message[0] == Kind.OPEN}
    ending = {message[1] for message in received if message[0] in REPLIES} | timed | opened
    for kind, *rest in sent:
        if kind in CALLS and rest[0] not in ending or kind == Kind.CANCEL and rest[0] not in timed | opened:
            return False
        if kind == Kind.GOAWAY and rest[1] != rpc.DRAIN or kind in (Kind.PING, Kind.PONG, *REPLIES):
            return False
    # With two requests in a row the first would have to be waited for beside the second.
    waiting = [side for side, message in both(exchange) if message[0] in (Kind.REQUEST, Kind.CALL, *REPLIES)]
    return "client client" not in " ".join(waiting)


def have(exchange, from_start):
    limits = next((message[4] for message in messages(exchange, "client") if message[0] == Kind.HELLO), rpc.LIMITS)
    with Server(exchange, from_start) as server:
        calls = [message for message in messages(exchange, "client") if message[0] in CALLS + ONE_WAY]
        try:
            client = Replayed(lambda: server.client_end, calls, limits)
        except rpc.RpcError as error:
            hello = messages(exchange, "server")[0]
            assert hello[0] == Kind.HELLO and hello[1] > rpc.VERSION, error
            assert (error.code, error.executed) == (rpc.Code.FAILED_PRECONDITION, rpc.Executed.NO)
            return
        held = {}
        for message in messages(exchange, "client"):
            if message[0] == Kind.OPEN and is_stream(exchange, message[1]):
                held[message[1]] = client.stream(message[2], *arguments(exchange, message), **options(message))
                consume(held[message[1]], exchange, message[1])
            elif message[0] in CALLS + ONE_WAY:
                call(client, exchange, message)
            elif message[0] == Kind.CANCEL and message[1] in held:
                held[message[1]].close()
        client.close()


def is_stream(exchange, call_id):
    """Whether the reply is a stream, or would have been had the call not failed."""
    opened = next(message for message in messages(exchange, "client") if message[:2] == [Kind.OPEN, call_id])
    replies = [message for message in messages(exchange, "server") if message[0] in REPLIES and message[1] == call_id]
    return opened[5] == 0 or replies[0][-1] == rpc.REPLY_STREAM


def consume(stream, exchange, call_id):
    """Takes the items that come before the client cancels, or all and the end."""
    for side, message in both(exchange):
        match [side, *message]:
            case ["client", Kind.CANCEL, cancelled] if cancelled == call_id:
                if timeout_of(exchange, call_id) is not None:
                    expect_end(stream, exchange, [rpc.Code.DEADLINE_EXCEEDED, rpc.Executed.MAYBE, None, None])
                return
            case ["server", Kind.ITEM, answered, 0, items] if answered == call_id:
                for item in items:
                    same(next(stream), item, exchange["name"])
            case ["server", Kind.RESPONSE | Kind.REPLY, answered, *_, [*_] as error, None] if answered == call_id:
                return expect_end(stream, exchange, error)
            case ["server", Kind.END, answered, 0, error] if answered == call_id:
                return expect_end(stream, exchange, error)


def expect_end(stream, exchange, error):
    try:
        items = list(stream)
    except (rpc.AppError, rpc.RpcError) as outcome:
        check_error(exchange["name"], outcome, error)
    else:
        same([items, error], [[], None], exchange["name"])


def arguments(exchange, message):
    """The arguments of a call, with what the client sends for its streams."""
    def argument(value):
        if not isinstance(value, msgpack.ExtType):
            return instants(value)
        return rpc.Stream(items(exchange, message[1], value.data[0]))

    return [argument(value) for value in message[-1]]


def items(exchange, call_id, number):
    """What the client sends for a stream; without an end if the server stops it before."""
    for kind, *rest in messages(exchange, "client"):
        if kind == Kind.ITEM and rest[:2] == [call_id, number]:
            yield from rest[2]
        if kind == Kind.END and rest[:2] == [call_id, number]:
            match rest[2]:
                case [0, value]:
                    raise rpc.AppError(value)
                case [code, executed, text, details]:
                    raise rpc.RpcError(code, executed, text, details)
            break
    while [Kind.CREDIT, call_id, number, None] in messages(exchange, "server"):
        yield "there would be more"


def options(message):
    if message[0] not in (Kind.CALL, Kind.SEND, Kind.OPEN):
        return {}
    timeout, metadata = message[2:4] if message[0] == Kind.SEND else message[3:5]
    return {"timeout": None if timeout is None else timeout / 1_000_000, "metadata": metadata}


def timeout_of(exchange, call_id):
    return next(options(message).get("timeout") for message in messages(exchange, "client")
                if message[0] in CALLS and message[1] == call_id)


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
    if message[0] in ONE_WAY:
        client.notify(message[1], *message[-1], **options(message))
        return
    try:
        outcome = client.call(message[2], *arguments(exchange, message), **options(message))
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
        case [*_, error, None]:
            check_error(name, outcome, error)
        case _:
            assert outcome.code == rpc.Code.INTERNAL, name


def check_error(name, outcome, error):
    match error:
        case [0, value]:
            same(outcome.value, instants(value), name)
        case [code, executed, text, details]:
            code = code if code <= 16 else rpc.Code.UNKNOWN
            executed = executed if executed <= 2 else rpc.Executed.MAYBE
            assert (outcome.code, outcome.executed) == (code, executed), name
            if text is not None:  # An error of the client's own has its own words.
                assert outcome.message == text, name
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
        self._stream.shutdown(socket.SHUT_RDWR if self._failure else socket.SHUT_WR)

    def _play(self, exchange):
        for step in exchange["steps"]:
            raw = bytes.fromhex(step.get("hex", ""))
            if step.get("from") == "server":
                self._stream.sendall(raw)
                if step["message"][0] == Kind.GOAWAY:
                    self.said_goodbye.set()
            elif step.get("from") == "client":
                self._expect(step, raw, step.get("note", "the client's message"))

    def _expect(self, step, raw, name):
        if step.get("optional"):
            return  # This client leaves all of that out.
        if "may_split" not in step:
            same(self._receive(len(raw)).hex(), raw.hex(), name)
            return
        came = b""
        if step["may_split"] == "fragments":
            rest = len(raw)
            while rest:
                frame = self._frame()
                if frame == raw:  # It may be small enough to come whole.
                    return
                kind, number, rest, data = decode(frame)
                assert kind == Kind.FRAGMENT and data, name
                came += data
                same(len(came) + rest, len(raw), name)
            same(came.hex(), raw.hex(), name)
            return
        *head, items = value_of(step["message"])
        while len(came) < len(encode(items)) - 1:
            message = decode(self._frame())
            same(message[:3], head, name)
            came += b"".join(map(encode, message[3]))
        same(came.hex(), b"".join(map(encode, items)).hex(), name)

    def _frame(self):
        return self._receive(int.from_bytes(self._receive(4), "big"))

    def _receive(self, count):
        received = b""
        while len(received) < count and (more := self._stream.recv(count - len(received))):
            received += more
        return received


def find(group, name):
    exchanges = json.loads((VECTORS / f"{group}.json").read_text(encoding="utf-8"))["exchanges"]
    return next(exchange for exchange in exchanges if exchange["name"] == name)


def messages(exchange, side):
    return [message for sender, message in both(exchange) if sender == side]


def both(exchange):
    """The messages in order, each with its sender; those in fragments as they are put together."""
    parts, found = {}, []
    for step in exchange["steps"]:
        if "message" not in step or step.get("optional") and step["from"] == "client":
            continue
        message = value_of(step["message"])
        if message[0] == Kind.FRAGMENT:
            _, number, rest, data = message
            key = step["from"], number
            parts[key] = parts.get(key, b"") + data
            if rest:
                continue
            message = parts.pop(key)
            if rest is None:
                continue
            message = decode(message)
        found.append((step["from"], message))
    return found


if __name__ == "__main__":
    main()
