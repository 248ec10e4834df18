"""Calls the server of the Rust example `quickstart`:

    cargo run --example quickstart serve
    python3 examples/python/quickstart.py [tcp://127.0.0.1:9000]
"""

import itertools
import sys
from contextlib import closing
from datetime import datetime, timedelta, timezone

from rpc_client import AppError, Code, Executed, RpcError, Stream, connect

url = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:9000"
with connect(url) as client:
    print("2 + 3 =", client.call("Calculator.add", 2, 3))
    print("7 / 2 =", client.call("Calculator.divide", 7, 2, timeout=5.0))

    # An error of the procedure's own, which travels as its name.
    try:
        client.call("Calculator.divide", 1, 0)
    except AppError as error:
        print("1 / 0:", error.name)

    # Bytes are bytes, and a struct is a dict by field name.
    count = client.call("Calculator.count", "a sentence", b"she sells sea shells", ord("s"))
    print(f"the letter s occurs {count['times']} times in {count['name']}")

    # Instants are datetimes on both sides.
    noon = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc)
    later = client.call("Calculator.later", noon, 3600)
    assert later - noon == timedelta(hours=1)
    print("an hour after noon it is", later.isoformat())

    # A stream is a generator. Who wants no more closes it, or just leaves the loop: the server stops.
    primes = client.stream("Calculator.primes", 2**64 - 1)
    print("primes:", *itertools.islice(primes, 10), "...")
    primes.close()
    print("primes up to 200000:", sum(1 for _ in client.stream("Calculator.primes", 200_000)))

    # An argument that is a stream is made of any iterable, which is asked as fast as the server takes the items.
    print("the sum of 100000 numbers:", client.call("Calculator.sum", Stream(range(100_000))))
    print("the sum of the primes up to 1000:",
          client.call("Calculator.sum", Stream(client.stream("Calculator.primes", 1000))))
    print("running means:", *client.stream("Calculator.running_mean", Stream([2.0, 4.0, 9.0])))

    # Both at once, without an end on either side.
    with closing(client.stream("Calculator.running_mean", Stream(itertools.count(0.0)))) as means:
        print("the first mean above 10000:", next(mean for mean in means if mean > 10_000))

    # What is larger than a frame goes in fragments, and comes so.
    data = bytes(range(256)) * 40_000
    masked = client.call("Calculator.mask", data, 0xFF)
    assert masked == bytes(reversed(range(256))) * 40_000
    print(f"{len(masked)} bytes went, and came back")

    # Nobody waits for what a one-way method does.
    client.notify("Calculator.log", "hello from Python", metadata={"tenant": "acme"})

    # A call that fails as a call says whether the procedure ran.
    for attempt in (
        lambda: client.call("Calculator.ponder", 60, timeout=0.2),
        lambda: client.call("Calculator.subtract", 3, 2),
        lambda: client.call("Calculator.add", "two", 3),
    ):
        try:
            print("an answer?", attempt())
        except RpcError as error:
            print(f"{error.code.name}, executed: {error.executed.name}")
            assert (error.code, error.executed) in (
                (Code.DEADLINE_EXCEEDED, Executed.MAYBE),
                (Code.UNIMPLEMENTED, Executed.NO),
                (Code.INVALID_ARGUMENT, Executed.NO),
            )

    print("and still 1 + 1 =", client.call("Calculator.add", 1, 1))
