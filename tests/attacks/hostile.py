"""Every hostile upload that the issue lists: the defined refusal, in time, and nothing kept of it.

The same batch a hundred times at once; reordered, with a gap, forked, signed by a foreign key; keys
twice, NaN, 2^63, nesting a hundred thousand deep, bombs, bodies without end, and senders who stop
in the middle. `--times` tries of each; the quickest must stay under a second.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from attendance import wire
from attendance.chain import next_head
from attendance.signing import to_text
from tests.attacks.attacker import HOST, PATIENCE_S, Answer, Attacker, Target, attacked, request
from tests.faults.rig import main, need

#: Seconds for a refusal, and how many times as long as an honest upload where the machine is busy.
AT_MOST_S = 1.0
AT_MOST_TIMES = 25
#: Bytes that a worker may hold more at its worst moment than when it was calm.
MAY_PEAK = 128 << 20
AT_ONCE = 100
DEEP = 100_000
#: Half requests held open at once: more than a worker has threads.
STUCK = 24
#: Seconds for an honest request meanwhile.
MEANWHILE_S = 15.0


@dataclass(frozen=True)
class Case:
    """What is sent by a fresh kiosk that has stored two records, and what must come of it.

    `words` are what the refusal may say, as `status word`; `keeps` the rows that may be added.
    """

    name: str
    send: Callable[[Attacker], Answer | None]
    words: tuple[str, ...]
    keeps: tuple[str, ...] = ()


def envelope(who: Attacker, **changed: Any) -> dict[str, Any]:
    """A true batch of two records as JSON's values, some of them changed, signed again."""
    plain = wire.decode(wire.unpack(who.batch(who.payloads(2))), wire.Batch, wire.MAX_UNPACKED)
    fields = {**msgspec.structs.asdict(plain), **changed}
    claim = "\n".join(
        str(fields[n]) for n in ("device", "epoch", "first", "last", "before", "head")
    )
    claim += f"\n{fields['cites'] or ''}"
    fields["signature"] = to_text(who.keys.sign(wire.BATCH_DOMAIN, claim.encode()))
    return fields


def packed(fields: Any) -> bytes:
    """Values, or JSON already, gzipped."""
    return gzip.compress(fields if isinstance(fields, bytes) else msgspec.json.encode(fields), 1)


def _swapped_numbers(who: Attacker) -> Answer:
    """Two records in the wrong order, in a batch that is signed as it stands."""
    return who.ask(who.batch(who.payloads(2)[::-1]))


def _swapped_bytes(who: Attacker) -> Answer:
    fields = envelope(who)
    return who.ask(packed({**fields, "records": fields["records"][::-1]}))


def _later_first(who: Attacker) -> Answer:
    payloads = who.payloads(4)
    before = next_head(next_head(who.head, payloads[0]), payloads[1])
    return who.ask(who.batch(payloads[2:], who.seq + 3, before))


def _fork(who: Attacker) -> Answer:
    return who.ask(who.batch(who.payloads(2, 1), 1, who.start))


def _foreign(who: Attacker) -> Answer:
    thief = Attacker(who.target, who.device, epoch=who.epoch, seq=who.seq, head=who.head)
    return thief.ask(thief.batch(who.payloads(2)))


def _foreign_inside(who: Attacker) -> Answer:
    thief = Attacker(who.target, who.device, epoch=who.epoch, seq=who.seq, head=who.head)
    return who.ask(thief.batch(who.payloads(2)))


def _of_another(who: Attacker) -> Answer:
    other = who.target.pair()
    return who.ask(other.batch(other.payloads(2)))


def _twice(who: Attacker) -> Answer:
    """A key of the envelope twice, once wrong and once right."""
    body = msgspec.json.encode(envelope(who))
    return who.ask(packed(body.replace(b'"epoch":1', b'"epoch":7,"epoch":1', 1)))


def _in_a_record(old: bytes, new: bytes) -> Callable[[Attacker], Answer]:
    """A record bent, then chained and signed as its kiosk would."""

    def send(who: Attacker) -> Answer:
        payload = who.payloads(1)[0]
        need(old in payload, f"{old!r} is not in a record")
        return who.ask(who.batch([payload.replace(old, new)]))

    return send


def _cursor(old: bytes, new: bytes) -> Callable[[Attacker], Answer]:
    def send(who: Attacker) -> Answer:
        asked = wire.CursorRequest(
            epoch=1, seq=2, head=who.head.hex(), boot_id="00000000-0000-0000-0000-000000000007",
            boottime_ns=5, wall_ms=9, pending=0,
        )  # fmt: skip
        body = wire.encode(asked)
        need(old in body, f"{old!r} is not in a cursor")
        return who.ask(body.replace(old, new, 1), wire.CURSOR)

    return send


def _number(name: str, value: int) -> Callable[[Attacker], Answer]:
    return lambda who: who.ask(packed(envelope(who, **{name: value})))


def _body(make: Callable[[], bytes], path: str = wire.RECORDS) -> Callable[[Attacker], Answer]:
    return lambda who: who.ask(make(), path)


def _bomb() -> bytes:
    """A megabyte that unpacks to a gigabyte."""
    stream = zlib.compressobj(9, wbits=31)
    piece = bytes(1 << 20)
    return (b"".join(stream.compress(piece) for _ in range(1000)) + stream.flush())[: 1 << 20]


def _deep_record(who: Attacker) -> Answer:
    return who.ask(who.batch([b"[" * DEEP + b"]" * DEEP]))


def _wide_jpeg(who: Attacker) -> Answer:
    """A picture that says it has four billion pixels."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (16, 16)).save(out, "JPEG")
    body = bytearray(out.getvalue())
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = b"\xff\xdc\xff\xdc"
    desk = who.target.pair("desk")
    return desk.ask(bytes(body), f"{wire.DESK_PORTRAITS}/A-1", "PUT")


def _whole(found: bytes) -> bool:
    """Whether an answer has come to the end that its Content-Length tells; its parts come apart."""
    head, end, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def _endless(known: bool) -> Callable[[Attacker], Answer | None]:
    """A chunked body that goes on until somebody answers; 64 MiB at the most."""

    def send(who: Attacker) -> Answer | None:
        headers = {"Transfer-Encoding": "chunked"}
        if known:
            headers |= who.signed("POST", wire.RECORDS, b"")
        began = time.perf_counter()
        with socket.create_connection((HOST, who.target.port), timeout=PATIENCE_S) as line:
            line.sendall(request("POST", wire.RECORDS, headers))
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            line.setblocking(False)
            sent, found = 0, b""
            while not _whole(found) and time.perf_counter() - began < PATIENCE_S:
                with contextlib.suppress(BlockingIOError):
                    found += line.recv(1 << 16)
                if sent < 1024:
                    with contextlib.suppress(BlockingIOError, BrokenPipeError):
                        sent += line.send(chunk) > 0
            seconds = time.perf_counter() - began
        status = int(found.split()[1]) if found else 0
        body = found.partition(b"\r\n\r\n")[2]
        return Answer(status, {}, body, seconds)

    return send


def _broken_chunk(who: Attacker) -> Answer | None:
    body = b"5\r\nhello\r\nnot a number\r\n"
    headers = {**who.signed("POST", wire.RECORDS, body), "Transfer-Encoding": "chunked"}
    return who.target.send(request("POST", wire.RECORDS, headers, body))


REJECTED = ("rejected_record",)
CASES = (
    Case("records in another order, signed so", _swapped_numbers, ("200 rejected",), REJECTED),
    Case("records in another order, not signed so", _swapped_bytes, ("400 malformed",)),
    Case("the second batch before the first", _later_first, ("409 gap",)),
    Case("a gap", lambda w: w.ask(w.batch(w.payloads(2, 40), 40, bytes(32))), ("409 gap",)),
    Case("the end of all numbers", _number("last", 2**63 - 1), ("400 malformed",)),
    Case("a fork", _fork, ("409 fork",), ("quarantined", "audit_entry", "finding")),
    Case("a foreign key", _foreign, ("401 signature",)),
    Case("a foreign key inside", _foreign_inside, ("401 signature",)),
    Case("the batch of another kiosk", _of_another, ("401 signature",), ("device", "epoch")),
    Case("a key twice", _twice, ("400 malformed",)),
    Case("a key twice in a record",
         _in_a_record(b'"epoch":1', b'"epoch":1,"epoch":1'), ("200 rejected",), REJECTED),
    Case("a key twice in a cursor", _cursor(b'"seq":2', b'"seq":9,"seq":2'), ("400 malformed",)),
    Case("NaN", _cursor(b'"wall_ms":9', b'"wall_ms":NaN'), ("400 malformed",)),
    Case("NaN in a record", _in_a_record(b'"score":null', b'"score":NaN'), ("400 malformed",)),
    Case("2^63", _number("first", 2**63), ("400 malformed",)),
    Case("2^63 in a cursor", _cursor(b'"pending":0', b'"pending":9223372036854775808'),
         ("400 malformed",)),
    Case("2^63 in a record", _in_a_record(b'"boottime_ns":1000000000', b'"boottime_ns":%d' % 2**63),
         ("200 rejected",), REJECTED),
    Case("nesting", _body(lambda: gzip.compress(b"[" * DEEP)), ("400 malformed",)),
    Case("nesting of keys", _body(lambda: gzip.compress(b'{"a":' * DEEP)), ("400 malformed",)),
    Case("nesting in a record", _deep_record, ("400 malformed",)),
    Case("nesting in a cursor", _body(lambda: b"[" * 8000, wire.CURSOR), ("400 malformed",)),
    Case("nesting in a long cursor", _body(lambda: b"[" * DEEP, wire.CURSOR), ("413 too_large",)),
    Case("a bomb", _body(_bomb), ("400 malformed",)),
    Case("a bomb in parts", _body(lambda: gzip.compress(bytes(1 << 20)) * 900), ("400 malformed",)),
    Case("five megabytes of spaces", _body(lambda: gzip.compress(b"[" + b" " * (5 << 20))),
         ("400 malformed",)),
    Case("two megabytes not packed", _body(lambda: bytes(2 << 20)), ("413 too_large",)),
    Case("a picture of four billion pixels", _wide_jpeg, ("413 too_large", "400 malformed"),
         ("device",)),
    Case("a broken chunk", _broken_chunk, ("400 malformed",)),
    Case("an endless body", _endless(True), ("413 too_large",)),
    Case("an endless body of nobody", _endless(False), ("401 unknown_device",)),
)  # fmt: skip
KEPT = ("record", "rejected_record", "quarantined", "epoch", "contact", "device", "audit_entry",
        "finding")  # fmt: skip


def honest(target: Target) -> Attacker:
    """A kiosk that has stored two records."""
    made = target.pair()
    answer = made.ask(made.batch(made.payloads(2)))
    need(answer.status == 200, f"an honest batch was answered {answer.status}")
    made.note(answer)
    return made


def pace(target: Target) -> float:
    """Seconds that an honest upload takes here and now, the best of three."""
    who = target.pair()
    best = PATIENCE_S
    for _ in range(3):
        answer = who.ask(who.batch(who.payloads(2)))
        who.note(answer)
        best = min(best, answer.seconds)
    return best


def said(answer: Answer | None) -> str:
    """`status word` of an answer; the word of a batch is what became of its first record."""
    if answer is None:
        return "nothing"
    if answer.status != 200:
        return f"{answer.status} {answer.problem}"
    return f"200 {wire.decode(answer.body, wire.BatchReply).results[0].result}"


def try_case(target: Target, case: Case, times: int, limit: float = 0.0) -> float:
    """Seconds of the quickest of `times` tries, or of the first below `limit`.

    Raises Broken for another answer, and for rows that were added.
    """
    best = PATIENCE_S
    for _ in range(times):
        who = honest(target)
        before = target.count(*KEPT)
        answer = case.send(who)
        need(said(answer) in case.words, f"{case.name}: {said(answer)}, not {case.words}")
        assert answer is not None
        best = min(best, answer.seconds)
        after = target.count(*KEPT)
        # Where another device was paired the audit trail tells of it.
        keeps = {*case.keeps, "audit_entry"} if "device" in case.keeps else {*case.keeps}
        more = {n for n in KEPT if after[n] != before[n]} - keeps
        need(not more, f"{case.name}: {more}")
        if best < limit:
            break
    return best


def at_once(target: Target, times: int = AT_ONCE) -> None:
    """The same batch, many times at once: stored once, else a duplicate. Raises Broken."""
    who = honest(target)
    body, results = who.batch(who.payloads(50)), []
    lock = threading.Lock()

    def insist() -> None:
        until = time.monotonic() + PATIENCE_S
        while (answer := who.ask(body)).status == 503 and time.monotonic() < until:
            need(int(answer.headers["retry-after"]) > 0, "no Retry-After")
            time.sleep(0.05)
        with lock:
            found = wire.decode(answer.body, wire.BatchReply).results if answer.body else []
            results.append({r.result for r in found} if answer.status == 200 else answer.status)

    threads = [threading.Thread(target=insist) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    need(results.count({"stored"}) == 1, f"stored {results.count({'stored'})} times")
    need(results.count({"duplicate"}) == times - 1, f"answers: {results[:5]}")


@contextlib.contextmanager
def stuck(target: Target, number: int = STUCK) -> Iterator[None]:
    """Connections whose requests stop in the middle: half in their head, half in their body."""
    with contextlib.ExitStack() as stack:
        who = honest(target)
        for each in range(number):
            line = socket.create_connection((HOST, target.port), timeout=PATIENCE_S)
            stack.callback(line.close)
            signed = who.signed("POST", wire.RECORDS, b"x" * 1000)
            whole = request("POST", wire.RECORDS, signed, b"x" * 1000)
            line.sendall(whole[: 60 if each % 2 else -500])
        yield


def answered_meanwhile(target: Target) -> float:
    """Seconds until the server answers while others hold their requests back. Raises Broken."""
    with stuck(target):
        time.sleep(0.2)  # until they all hold a thread
        began = time.perf_counter()
        answer = target.send(request("GET", "/healthz", {}), 2 * MEANWHILE_S)
        need(answer is not None and answer.status == 200, f"answered {answer}")
        seconds = time.perf_counter() - began
    need(seconds < MEANWHILE_S, f"an honest request waited {seconds:.0f} s")
    return seconds


def run(times: int, mode: str = "sqlite") -> str:
    """`times` tries of each; the line to print. Raises Broken."""
    with attacked(mode) as target:
        usual, calm, workers = pace(target), target.memory(), target.workers
        limit = max(AT_MOST_S, AT_MOST_TIMES * usual)
        slowest = ("", 0.0)
        for case in CASES:
            seconds = try_case(target, case, times)
            need(seconds < limit, f"{case.name}: {seconds:.2f} s")
            slowest = max(slowest, (case.name, seconds), key=lambda found: found[1])
        at_once(target)
        waited = answered_meanwhile(target)
        more = target.memory("VmHWM") - calm
        need(more < MAY_PEAK, f"a worker held {more >> 20} MiB more at the worst moment")
        need(target.workers == workers, "a worker died")
    return (
        f"{mode}: {len(CASES)} hostile uploads as defined, nothing stored, the slowest "
        f"{slowest[1] * 1000:.0f} ms ({slowest[0]}; an honest one {usual * 1000:.0f} ms); the same "
        f"batch {AT_ONCE} times at once stored once; beside {STUCK} that stop in the middle others "
        f"wait {waited:.1f} s; a worker held {more >> 20} MiB more at the most"
    )


if __name__ == "__main__":
    main(__doc__, run, 3, "tries of each", modes=("sqlite", "postgres"))
