"""A client of the protocol in docs/protocol.md, of the standard library and `msgpack`: a model for other languages.

    with rpc_client.connect("tcp://127.0.0.1:9000") as client:
        five = client.call("Calculator.add", 2, 3, timeout=1.0, metadata={"tenant": "acme"})

Values are those of `msgpack`: a struct is a dict, a variant its name or {name: contents}, an instant a `datetime`
with a time zone, bytes are bytes. For one thread, which makes one call at a time. Needs Python 3.10.
"""

import itertools
import socket
import time
from enum import IntEnum
from urllib.parse import urlsplit

import msgpack

MAGIC, VERSION = b"\xc1RPC", 1
REQUEST, RESPONSE, NOTIFICATION, CALL, REPLY, SEND, CANCEL, PING, PONG, GOAWAY, HELLO = range(11)
LIMITS = {"frame_bytes": 4 * 1024 * 1024, "calls": 1024}
DRAIN, ALL_IDS = 0, 2**64 - 1  # the reason and the last id of a goaway in good order

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


def connect(url):
    """Connects to a URL such as tcp://127.0.0.1:9000."""
    address = urlsplit(url)
    return Client(lambda: socket.create_connection((address.hostname, address.port)))


class Client:
    """Calls one server, over another connection when the last one is gone."""

    def __init__(self, open_socket):
        self._open_socket, self._socket = open_socket, None
        self._open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, method, *arguments, timeout=None, metadata=None):
        """Calls a method and waits for its result, `timeout` seconds at most; raises AppError or RpcError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._catch_up()
        call_id = next(self._ids)
        self._send(request([call_id], method, arguments, timeout, metadata))
        while True:
            try:
                message = self._receive(deadline)
            except TimeoutError:
                self._send([CANCEL, call_id])
                raise RpcError(Code.DEADLINE_EXCEEDED, Executed.MAYBE, f"no reply in {timeout} s") from None
            if message[0] in (RESPONSE, REPLY) and message[1] == call_id:
                return self._outcome(message)
            self._handle(message, call_id)

    def notify(self, method, *arguments, timeout=None, metadata=None):
        """Calls a one-way method: nothing comes back, not even an error."""
        self._catch_up()
        self._send(request([], method, arguments, timeout, metadata))

    def close(self):
        """Says that no more calls will come, and gives the server a second to finish what it has."""
        deadline = time.monotonic() + 1
        try:
            if self._socket:
                self._send([GOAWAY, ALL_IDS, DRAIN, ""])
                self._socket.shutdown(socket.SHUT_WR)
            while self._socket:
                self._receive(deadline)
        except (OSError, RpcError):  # A TimeoutError is an OSError.
            self._lost()

    def _outcome(self, message):
        self.reply_metadata = message[2] if message[0] == REPLY else {}
        match message[-2:]:
            case [None, result]:
                return result
            case [[0, value], _]:
                raise AppError(value)
            case [[code, executed, text, details], _]:
                raise RpcError(code, executed, text, details)
        raise RpcError(Code.INTERNAL, Executed.YES, f"the server's error is none: {message[-2]}")

    def _handle(self, message, call_id):
        """Takes whatever is not the reply to the call that waits."""
        match message:
            case [kind, theirs, *_] if kind in (REQUEST, CALL):
                self._send([RESPONSE, theirs, [Code.UNIMPLEMENTED, Executed.NO, "nothing is served here", None], None])
            case [kind, token] if kind == PING:
                self._send([PONG, token])
            case [kind, last_id, reason, text] if kind == GOAWAY:
                self._leaving = True
                if reason == DRAIN:  # No more calls from here; the one that waits is still answered.
                    self._send([GOAWAY, ALL_IDS, DRAIN, ""])
                if call_id > last_id:
                    raise RpcError(Code.UNAVAILABLE, Executed.NO, f"the server did not take the call: {text}")
                if reason != DRAIN:
                    raise self._lost(f"the server ended the connection: {text}")
            case [kind, *_] if kind >= HELLO and not 64 <= kind <= 127:
                raise self._lost(f"the server sent a message of kind {kind}")
            # The rest needs nothing: a pong, a reply that came too late, a kind that is optional.

    def _open(self):
        deadline = time.monotonic() + 5
        try:
            self._socket, self._buffer, self._leaving = self._open_socket(), bytearray(), False
            self._frame_bytes, self._ids = LIMITS["frame_bytes"], itertools.count(1)
            self._send([HELLO, VERSION, VERSION, [], LIMITS], before=MAGIC)
            self._fill(len(MAGIC), deadline)
            if not self._buffer.startswith(MAGIC):
                raise self._lost("the server does not speak this protocol")
            del self._buffer[: len(MAGIC)]
            _, first, last, _features, limits, *_ = self._receive(deadline)
        except (OSError, RpcError) as error:
            self._lost()
            raise RpcError(Code.UNAVAILABLE, Executed.NO, f"no connection: {error}") from error
        if not first <= VERSION <= last:
            self._lost()
            raise RpcError(Code.FAILED_PRECONDITION, Executed.NO, f"the server speaks versions {first} to {last}")
        self._frame_bytes = limits.get("frame_bytes", self._frame_bytes)

    def _catch_up(self):
        """Takes what came while nobody waited, and sees to it that there is a connection."""
        try:
            while self._socket:
                self._handle(self._receive(deadline=time.monotonic()), 0)
        except (TimeoutError, RpcError):
            pass  # Nothing more has come, or the connection is over.
        if self._leaving or not self._socket:
            self._lost()
            self._open()

    def _send(self, message, before=b""):
        body = msgpack.packb(message, datetime=True)
        if len(body) > self._frame_bytes:
            raise RpcError(Code.RESOURCE_EXHAUSTED, Executed.NO, f"the server takes {self._frame_bytes} bytes at most")
        try:
            self._socket.settimeout(None)
            self._socket.sendall(before + len(body).to_bytes(4, "big") + body)
        except OSError as error:
            raise self._lost(str(error)) from error

    def _receive(self, deadline):
        """The next message. What has come of it by the deadline is kept if that is not all."""
        self._fill(4, deadline)
        length = int.from_bytes(self._buffer[:4], "big")
        if not 1 <= length <= LIMITS["frame_bytes"]:
            raise self._lost(f"the server sent a frame of {length} bytes")
        self._fill(4 + length, deadline)
        body = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        return msgpack.unpackb(body, timestamp=3, strict_map_key=False)

    def _fill(self, count, deadline):
        while len(self._buffer) < count:
            self._socket.settimeout(deadline and max(deadline - time.monotonic(), 1e-6))
            try:
                received = self._socket.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise self._lost(str(error)) from error
            if not received:
                raise self._lost("the server closed the connection")
            self._buffer += received

    def _lost(self, why=""):
        """Gives the connection up; the error is for a call that may have been taken."""
        self._socket = self._socket and self._socket.close()
        return RpcError(Code.UNAVAILABLE, Executed.MAYBE, why)


def request(call_id, method, arguments, timeout, metadata):
    """A call as a message; `call_id` is a list of one, or empty if no reply is awaited."""
    if timeout is None and not metadata:
        return [REQUEST if call_id else NOTIFICATION, *call_id, method, arguments]
    micros = None if timeout is None else int(timeout * 1_000_000)
    return [CALL if call_id else SEND, *call_id, method, micros, metadata or {}, arguments]
