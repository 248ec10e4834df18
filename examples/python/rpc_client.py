"""A client of the protocol in docs/protocol.md, of the standard library and `msgpack`: a model for other languages.

    with rpc_client.connect("tcp://127.0.0.1:9000") as client:
        five = client.call("Calculator.add", 2, 3, timeout=1.0, metadata={"tenant": "acme"})
        six = client.call("Calculator.sum", Stream([1, 2, 3]))
        for prime in client.stream("Calculator.primes", 100):
            print(prime)

Values are those of `msgpack`: a struct is a dict, a variant its name or {name: contents}, an instant a `datetime`
with a time zone, bytes are bytes. For one thread, which waits for one call at a time; streams may be open beside it.
Needs Python 3.10.
"""

import itertools
import select
import socket
import time
from collections import deque
from contextlib import suppress
from enum import IntEnum
from urllib.parse import urlsplit

import msgpack

MAGIC, VERSION, FEATURES = b"\xc1RPC", 1, ["fragments", "streams"]
LIMITS = {"frame_bytes": 4 * 1024 * 1024, "calls": 1024,
          "message_bytes": 64 * 1024 * 1024, "streams": 1024, "stream_bytes": 64 * 1024}
CUT_ABOVE, FRAGMENT = 256 * 1024, 64 * 1024  # which messages are sent in fragments, and how long these are
HEADS = 32  # a fragment is no longer than its data and this
DRAIN, ALL_IDS = 0, 2**64 - 1  # the reason and the last id of a goaway in good order
REPLY_STREAM = msgpack.ExtType(1, b"\0")

Kind = IntEnum("Kind", "REQUEST RESPONSE NOTIFICATION CALL REPLY SEND CANCEL PING PONG GOAWAY HELLO ITEM END CREDIT "
               "FRAGMENT OPEN", start=0)
Executed = IntEnum("Executed", "NO MAYBE YES", start=0)
Code = IntEnum("Code", "CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
               "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED "
               "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED")


class AppError(Exception):
    """The procedure ran and said no, with an error of its own: `name` is its variant, `value` all of it."""

    def __init__(self, value):
        super().__init__(value)
        self.value, self.name = value, next(iter(value), None) if isinstance(value, dict) else value


class RpcError(Exception):
    """The call failed as a call; `executed` says whether the procedure ran."""

    def __init__(self, code, executed, message, details=None):
        self.code = Code(code) if 1 <= code <= 16 else Code.UNKNOWN
        self.executed = Executed(executed) if executed <= 2 else Executed.MAYBE
        self.message, self.details = message, details
        super().__init__(f"{self.code.name}: {message} (executed: {self.executed.name})")


class Stream:
    """An argument that is a stream: what an iterable gives, asked for as fast as the server takes it.

    An AppError or RpcError that the iterable raises ends the stream with that error; any other one ends the call.
    """

    def __init__(self, items):
        self.items, self.credit = iter(items), 0


def connect(url, limits=LIMITS):
    """Connects to a URL such as tcp://127.0.0.1:9000."""
    address = urlsplit(url)
    return Client(lambda: socket.create_connection((address.hostname, address.port)), limits)


class Client:
    """Calls one server, over another connection when the last one is gone."""

    def __init__(self, open_socket, limits=LIMITS):
        self._open_socket, self._limits = open_socket, limits
        self._open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, method, *arguments, timeout=None, metadata=None):
        """Calls a method and waits for its result, `timeout` seconds at most; raises AppError or RpcError."""
        return self._current().call(method, arguments, timeout, metadata)

    def stream(self, method, *arguments, timeout=None, metadata=None):
        """Calls a method whose reply is a stream, when the first item is asked for, and gives the items.

        The server sends no more than the `stream_bytes` of the limits ahead of what was taken. Who wants no more
        closes the generator, or forgets it, which cancels the call. `timeout` is for all of it.
        """
        yield from self._current().stream(method, arguments, timeout, metadata)

    def notify(self, method, *arguments, timeout=None, metadata=None):
        """Calls a one-way method: nothing comes back, not even an error."""
        self._current().notify(method, arguments, timeout, metadata)

    def close(self):
        """Says that no more calls will come, and gives the server a second to finish what it has."""
        self._connection.close()

    @property
    def reply_metadata(self):
        """What came beside the last reply."""
        return self._connection.reply_metadata

    def _open(self):
        self._connection = Connection(self._open_socket, self._limits)

    def _current(self):
        self._connection.catch_up()
        if self._connection.leaving:  # Streams that are open finish there.
            self._open()
        return self._connection


class Call:
    """A call that was sent: what has come for it, and those of its arguments that are streams and have not ended."""

    def __init__(self, call_id, timeout, streams, is_open):
        self.id, self.timeout, self.sending, self.is_open = call_id, timeout, streams, is_open
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.inbox = deque()  # Messages; last may be the error that ends it.
        self.answered = self.abandoned = False


class Connection:
    """One connection, from the hello to the end."""

    def __init__(self, open_socket, limits):
        self.leaving, self.reply_metadata = False, {}
        self._limits, self._ids, self._calls, self._parts = limits, itertools.count(1), {}, {}
        self._buffer, self._ended, self._socket = bytearray(), False, None
        deadline = time.monotonic() + 5
        try:
            self._socket = open_socket()
            self._socket.setblocking(False)
            self._write(MAGIC + frame(pack([Kind.HELLO, VERSION, VERSION, FEATURES, limits])))
            self._fill(len(MAGIC), deadline)
            if not self._buffer.startswith(MAGIC):
                raise self._lost("the server does not speak this protocol")
            del self._buffer[: len(MAGIC)]
            _, first, last, features, theirs, *_ = self._receive(deadline)
        except (OSError, RpcError) as error:  # A TimeoutError is an OSError.
            self._lost()
            raise RpcError(Code.UNAVAILABLE, Executed.NO, f"no connection: {error}") from error
        if not first <= VERSION <= last:
            self._lost()
            raise RpcError(Code.FAILED_PRECONDITION, Executed.NO, f"the server speaks versions {first} to {last}")
        self._theirs = {**LIMITS, **theirs}
        self._has_streams = "streams" in features
        self._whole = self._longest = self._theirs["frame_bytes"]
        if "fragments" in features:
            self._whole, self._longest = min(self._whole, CUT_ABOVE), self._theirs["message_bytes"]

    # ---- calls ----

    def call(self, method, arguments, timeout, metadata):
        call = self._start(method, arguments, timeout, metadata)
        try:
            result = self._result(self._next(call))
            if call.is_open and result == REPLY_STREAM:
                raise RpcError(Code.INTERNAL, Executed.YES, "the reply is a stream: that is for `stream` to take")
            return result
        finally:
            self._finish(call)

    def stream(self, method, arguments, timeout, metadata):
        call = self._start(method, arguments, timeout, metadata, is_open=True)
        used = 0  # Bytes of items for which there was no credit in return yet.
        try:
            if self._result(self._next(call)) != REPLY_STREAM:
                raise RpcError(Code.INTERNAL, Executed.YES, "the reply is no stream: that is for `call` to take")
            while True:
                kind, _, _, items_or_error, *size = self._next(call)
                if kind == Kind.END:
                    return self._result([None, items_or_error, None])
                yield from items_or_error
                used += size[0]
                if used >= self._limits["stream_bytes"] / 2 and call.id in self._calls:
                    self._send([Kind.CREDIT, call.id, 0, used])
                    used = 0
        finally:
            self._finish(call)

    def notify(self, method, arguments, timeout, metadata):
        self._send(request([], method, list(arguments), timeout, metadata))

    def close(self):
        deadline = time.monotonic() + 1
        with suppress(OSError, RpcError):
            for call in list(self._calls.values()):
                self._finish(call)
            if self._socket:
                self._send([Kind.GOAWAY, ALL_IDS, DRAIN, ""])
                self._socket.shutdown(socket.SHUT_WR)
            while self._socket:
                self._receive(deadline)
        self._lost("this client was closed")

    def catch_up(self):
        """Takes what came while nobody waited. If the connection is over, or will be, it is `leaving`."""
        with suppress(TimeoutError, RpcError):
            while self._socket:
                self._handle(self._receive(deadline=time.monotonic()))
        self._close_if_done()

    def _start(self, method, arguments, timeout, metadata, is_open=False):
        """Sends a call: an open, if it is for a stream or has one."""
        streams = dict(enumerate((argument for argument in arguments if isinstance(argument, Stream)), 1))
        numbers = iter(streams)
        arguments = [msgpack.ExtType(1, bytes([next(numbers)])) if isinstance(argument, Stream) else argument
                     for argument in arguments]
        call = Call(next(self._ids), timeout, streams, is_open or bool(streams))
        if call.is_open:
            if not self._has_streams:
                raise RpcError(Code.UNIMPLEMENTED, Executed.NO, "the server knows no streams")
            self._await_place(call)
        for stream in streams.values():
            stream.credit = self._theirs["stream_bytes"]
        self._send(request([call.id], method, arguments, timeout, metadata, [len(streams)] if call.is_open else []))
        self._calls[call.id] = call
        return call

    def _await_place(self, call):
        """Calls that were cancelled have a place until the server's final message."""
        while sum(other.is_open for other in self._calls.values()) >= self._theirs["streams"]:
            if not any(other.abandoned for other in self._calls.values()):
                raise RpcError(Code.RESOURCE_EXHAUSTED, Executed.NO, "the server has no more streams open at once")
            self._turn(call, call.deadline)

    def _next(self, call):
        """The next message for a call, while its argument streams are sent."""
        while not call.inbox:
            produced = self._produce(call)
            self._turn(call, time.monotonic() if produced else call.deadline)
        message = call.inbox.popleft()
        if isinstance(message, RpcError):
            raise message
        return message

    def _turn(self, call, until):
        """Takes what comes next, if anything comes before `until` and the call's deadline."""
        try:
            self._handle(self._receive(until))
        except TimeoutError:
            if call.deadline is not None and time.monotonic() >= call.deadline:
                executed = Executed.MAYBE if call.id in self._calls else Executed.NO
                raise RpcError(Code.DEADLINE_EXCEEDED, executed, f"no reply in {call.timeout} s") from None

    def _produce(self, call):
        """Sends one item of each argument stream that has credit, or its end; gives whether there were any."""
        ready = [number for number, stream in call.sending.items() if stream.credit > 0]
        for number in ready:
            item, error = None, None
            try:
                item = pack(next(call.sending[number].items))
            except StopIteration:
                pass
            except AppError as failure:
                error = [0, failure.value]
            except RpcError as failure:
                error = [failure.code, failure.executed, failure.message, failure.details]
            if number not in call.sending:
                continue  # The iterable has made a call itself, and meanwhile the server wants no more of it.
            if item is None:
                del call.sending[number]
                self._send([Kind.END, call.id, number, error])
            else:
                call.sending[number].credit -= len(item)
                self._send_packed(pack([Kind.ITEM, call.id, number, [None]])[:-1] + item)
        return bool(ready)

    def _finish(self, call):
        """Nobody waits for the call any more. If it is not over it is cancelled; an open then still has a place."""
        if self._calls.get(call.id) is call and not call.abandoned:
            call.abandoned = True
            call.sending.clear()
            if not call.is_open:
                del self._calls[call.id]
            with suppress(RpcError):
                self._send([Kind.CANCEL, call.id])
        self._close_if_done()

    def _result(self, message):
        if message[0] is not None:  # Not the end of a stream.
            self.reply_metadata = message[2] if message[0] == Kind.REPLY else {}
        match message[-2:]:
            case [None, result]:
                return result
            case [[0, value], _]:
                raise AppError(value)
            case [[code, executed, text, details], _]:
                raise RpcError(code, executed, text, details)
        raise RpcError(Code.INTERNAL, Executed.YES, f"the server's error is none: {message[-2]}")

    # ---- messages ----

    def _handle(self, message):
        match message:
            case [Kind.RESPONSE | Kind.REPLY, call_id, *_, error, result] if call := self._calls.get(call_id):
                if call.answered:
                    return  # A second answer is ignored.
                call.answered = True
                call.inbox.append(message)
                if not call.is_open or error is not None or result != REPLY_STREAM:
                    self._over(call)
            # Items and ends of a stream 0 are for calls from here; others would be for calls of the server's.
            case [Kind.ITEM, call_id, 0, *_] if call := self._calls.get(call_id):
                if not call.abandoned:
                    call.inbox.append(message)
            case [Kind.END, call_id, 0, _] if call := self._calls.get(call_id):
                call.inbox.append(message)
                self._over(call)
            # With credit it is the other way round.
            case [Kind.CREDIT, call_id, number, more] if number > 0 and (call := self._calls.get(call_id)):
                if number in call.sending and more is not None:
                    call.sending[number].credit += more
                elif call.sending.pop(number, None):
                    self._send([Kind.END, call_id, number, None])
            case [Kind.REQUEST | Kind.CALL | Kind.OPEN, theirs, *_]:
                error = [Code.UNIMPLEMENTED, Executed.NO, "nothing is served here", None]
                self._send([Kind.RESPONSE, theirs, error, None])
            case [Kind.PING, token]:
                self._send([Kind.PONG, token])
            case [Kind.GOAWAY, last_id, reason, text]:
                self._leave(last_id, reason, text)
            case [kind, *_] if kind == Kind.HELLO or Kind.OPEN < kind and not 64 <= kind <= 127:
                raise self._lost(f"the server sent a message of kind {kind}")
            # The rest needs nothing: a pong, what came too late, a kind that is optional.

    def _over(self, call):
        """Its final message has come."""
        del self._calls[call.id]
        call.sending.clear()

    def _leave(self, last_id, reason, text):
        self.leaving = True
        for call in [call for call in self._calls.values() if call.id > last_id and not call.answered]:
            call.inbox.append(RpcError(Code.UNAVAILABLE, Executed.NO, f"the server did not take the call: {text}"))
            self._over(call)
        if reason != DRAIN:
            raise self._lost(f"the server ended the connection: {text}")
        # No more calls from here; those that run are still answered.
        self._send([Kind.GOAWAY, ALL_IDS, DRAIN, ""])

    def _close_if_done(self):
        if self.leaving and not self._calls:
            self._lost()

    def _lost(self, why=""):
        """Gives the connection up; the error is for calls that may have been taken."""
        self._socket, self.leaving = self._socket and self._socket.close(), True
        for call in list(self._calls.values()):
            call.inbox.append(RpcError(Code.UNAVAILABLE, Executed.MAYBE, why))
            self._over(call)
        return RpcError(Code.UNAVAILABLE, Executed.MAYBE, why)

    # ---- bytes ----

    def _send(self, message):
        self._send_packed(pack(message))

    def _send_packed(self, body):
        """Sends a message, in fragments if it is large."""
        if len(body) > self._longest:
            raise RpcError(Code.RESOURCE_EXHAUSTED, Executed.NO, f"the server takes {self._longest} bytes at most")
        if len(body) <= self._whole:
            return self._write(frame(body))
        step = min(FRAGMENT, self._theirs["frame_bytes"] - HEADS)
        for end in range(step, len(body) + step, step):
            # One message at a time is cut here, so that its number may always be the same.
            self._write(frame(pack([Kind.FRAGMENT, 0, max(len(body) - end, 0), body[end - step : end]])))

    def _write(self, data):
        """Writes, and reads what comes meanwhile: two sides that only write would wait for each other."""
        if not self._socket:
            raise self._lost("the connection is closed")
        data = memoryview(data)
        try:
            while data:
                reading = [] if self._ended else [self._socket]
                readable, writable, _ = select.select(reading, [self._socket], [], 30)
                if not readable and not writable:
                    raise self._lost("the server has taken nothing for 30 s")
                if readable:
                    self._read()
                if writable:
                    data = data[self._socket.send(data) :]
        except OSError as error:
            raise self._lost(str(error)) from error

    def _receive(self, deadline):
        """The next message. What has come of it by the deadline is kept if that is not all."""
        while True:
            self._fill(4, deadline)
            length = int.from_bytes(self._buffer[:4], "big")
            if not 1 <= length <= self._limits["frame_bytes"]:
                raise self._lost(f"the server sent a frame of {length} bytes")
            self._fill(4 + length, deadline)
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            message = unpack(body)
            if message[0] == Kind.FRAGMENT:
                message = self._join(*message[1:])
            if message:
                return message

    def _join(self, number, rest, data):
        """The message that this is the last fragment of, if it is."""
        part = self._parts.setdefault(number, bytearray())
        part += data
        if rest is not None and len(part) + rest > self._limits["message_bytes"]:
            raise self._lost(f"the server sent a message of {len(part) + rest} bytes")
        if rest:
            return None
        del self._parts[number]
        return unpack(bytes(part)) if rest == 0 else None

    def _fill(self, count, deadline):
        while len(self._buffer) < count:
            if self._ended or not self._socket:
                raise self._lost("the server closed the connection")
            wait = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not select.select([self._socket], [], [], wait)[0]:
                raise TimeoutError
            try:
                self._read()
            except OSError as error:
                raise self._lost(str(error)) from error

    def _read(self):
        received = self._socket.recv(65536)
        self._buffer += received
        self._ended = not received


def request(call_id, method, arguments, timeout, metadata, streams=()):
    """A call as a message. `call_id` is a list of one, or empty if no reply is awaited; so is `streams` for an open."""
    if timeout is None and not metadata and not streams:
        return [Kind.REQUEST if call_id else Kind.NOTIFICATION, *call_id, method, arguments]
    kind = Kind.OPEN if streams else Kind.CALL if call_id else Kind.SEND
    micros = None if timeout is None else int(timeout * 1_000_000)
    return [kind, *call_id, method, micros, metadata or {}, *streams, arguments]


def frame(body):
    return len(body).to_bytes(4, "big") + body


def pack(value):
    return msgpack.packb(value, datetime=True)


def unpack(body):
    """A message; one of items has as an element more how many bytes these are, since so much credit they take."""
    message = msgpack.unpackb(body, timestamp=3, strict_map_key=False)
    if message[0] == Kind.ITEM:
        head = msgpack.Unpacker(max_buffer_size=len(body))
        head.feed(body)
        head.read_array_header()
        head.skip(), head.skip(), head.skip()
        head.read_array_header()
        message.append(len(body) - head.tell())
    return message
