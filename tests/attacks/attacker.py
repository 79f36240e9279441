"""What the attack tools share: a served township, kiosks whose keys are in the wrong hands, a line
that sends any bytes at all, and what of the server can be seen from outside."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import delete, text

from attendance import wire
from attendance.chain import genesis
from attendance.errors import SignatureInvalid
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys, to_text
from attendance.statuses import Kind, Method, Status
from server.config import ServerConfig, load_keys, stored_url
from server.context import utcnow
from server.db import Database
from server.models import PairingAttempt
from server.services.paired import devices, pairing
from server.services.township.townships import only_township
from tests.faults.rig import Cannot, served, workers_of

HOST = "127.0.0.1"
#: Seconds that an answer may take before it is called missing.
PATIENCE_S = 30.0
#: What hostile input may leave behind, and what it must not.
TABLES = ("record", "rejected_record", "quarantined", "epoch", "contact", "device", "official")


@dataclass(frozen=True)
class Answer:
    """What came back. `seconds` is the time from the first byte sent to the last received."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def problem(self) -> str:
        """The word of a refusal, empty where there is none."""
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(self.body, type=wire.Problem).error
        return ""


@dataclass
class Target:
    """A township server under attack: where it listens, its folder, its master process."""

    port: int
    data: Path
    pid: int

    def __post_init__(self) -> None:
        self.config = ServerConfig(self.data, stored_url(self.data))
        self.database = Database(self.config)
        self.keys = load_keys(self.config)

    def close(self) -> None:
        self.database.close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def workers(self) -> list[int]:
        return workers_of(self.pid)

    def memory(self, field_name: str = "VmRSS") -> int:
        """Bytes that the fattest worker holds (`VmRSS`), or ever held (`VmHWM`)."""
        return max(_status(pid, field_name) for pid in self.workers)

    def count(self, *tables: str) -> dict[str, int]:
        """Rows in the database."""
        with self.database.session() as session:
            return {
                name: session.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
                for name in tables or TABLES
            }

    def code(self, kind: str = "kiosk", site: str | None = "杏树村") -> str:
        """A pairing code; wrong ones tried before are forgiven."""
        with self.database.transaction() as session:
            session.execute(delete(PairingAttempt))
            township = only_township(session)
            made = pairing.make_code(session, township, kind, utcnow(), self.keys, site)
        return str(made)

    def revoke(self, device: str) -> None:
        with self.database.transaction() as session:
            devices.revoke(session, device, utcnow())

    def pair(self, kind: str = "kiosk", site: str = "杏树村") -> Attacker:
        """A device paired as any other, its keys known."""
        made = Attacker(self)
        asked = wire.PairRequest(
            code=self.code(kind, site if kind == "kiosk" else None), kind=kind,
            sign_key=to_text(made.keys.sign_public), box_key=to_text(made.keys.box_public),
        )  # fmt: skip
        answer = self.ask("POST", wire.PAIR, {}, wire.encode(asked))
        assert answer is not None
        assert answer.status == 200, answer
        made.device = wire.decode(answer.body, wire.PairReply).device
        return made

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer | None:
        """One ordinary request on a connection of its own."""
        return self.send(request(method, path, headers or {}, body))

    def send(self, raw: bytes, patience_s: float = PATIENCE_S) -> Answer | None:
        """Any bytes; the answer, None where the server closed without one."""
        began = time.perf_counter()
        found = bytearray()
        with socket.create_connection((HOST, self.port), timeout=patience_s) as line:
            # What is refused early is closed early: the answer may be there all the same.
            with contextlib.suppress(OSError):
                line.sendall(raw)
                line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while data := line.recv(1 << 16):
                    found += data
        return read_answer(bytes(found), time.perf_counter() - began)


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """An HTTP/1.1 request as bytes, its length stated unless `headers` say something of it."""
    lines = {"Host": HOST, "Connection": "close", **headers}
    if not lines.keys() & {"Content-Length", "Transfer-Encoding"}:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogatepass") + body


def chunked(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks of `size` bytes."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def read_answer(raw: bytes, seconds: float) -> Answer | None:
    """The last answer of a connection that was closed behind it."""
    head, gap, body = raw.partition(b"\r\n\r\n")
    if not gap:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if status == 100:
        return read_answer(body, seconds)
    return Answer(status, headers, body, seconds)


@dataclass
class Attacker:
    """A paired kiosk whose keys fell into the wrong hands, and where its chain stands."""

    target: Target
    device: str = ""
    keys: DeviceKeys = field(default_factory=DeviceKeys.generate)
    epoch: int = 1
    seq: int = 0
    head: bytes = b""
    boottime_ns: int = 10**9
    #: The records that the server said it has stored or has already.
    acked: set[tuple[str, int, int]] = field(default_factory=set)

    def signed(self, method: str, path: str, body: bytes) -> dict[str, str]:
        return wire.sign_request(self.keys, self.device, method, path, body)

    def ask(self, body: bytes, path: str = wire.RECORDS, method: str = "POST") -> Answer:
        """A signed request that gets an answer."""
        answer = self.target.ask(method, path, self.signed(method, path, body), body)
        assert answer is not None, "the server closed the connection without an answer"
        return answer

    def records(self, number: int, first: int | None = None) -> list[Record]:
        """Check-ins that follow the cursor, or begin at `first`."""
        start = self.seq + 1 if first is None else first
        return [
            Record(
                device=self.device, epoch=self.epoch, seq=start + n, record_id=str(uuid.uuid4()),
                kind=Kind.CHECKIN, official="zhang-3", status=Status.IN_VILLAGE,
                method=Method.FACE, wall_ms=1_790_000_000_000 + 1000 * (start + n),
                boot_id=str(uuid.UUID(int=7)), boottime_ns=self.boottime_ns + n,
            )
            for n in range(number)
        ]  # fmt: skip

    def payloads(self, number: int, first: int | None = None) -> list[bytes]:
        return [encode_record(record) for record in self.records(number, first)]

    def batch(
        self, payloads: list[bytes], first: int | None = None, before: bytes | None = None
    ) -> bytes:
        """Signed and gzipped; where nothing else is said it follows the cursor."""
        start = self.seq + 1 if first is None else first
        if before is None:
            before = self.start if start == 1 else self.head
        return wire.encode_batch(self.keys, self.device, self.epoch, start, before, payloads)

    @property
    def start(self) -> bytes:
        """The head before the first record."""
        return genesis(self.device, self.epoch)

    def note(self, answer: Answer) -> None:
        """Keeps what an answer to a batch acknowledged, and where the cursor stands now."""
        reply = wire.decode(answer.body, wire.BatchReply)
        rows = [(r.seq, r.seq) for r in reply.results if r.result != "rejected"]
        for first, last in [*rows, *((r.first, r.last) for r in reply.runs)]:
            self.acked |= {(self.device, reply.epoch, seq) for seq in range(first, last + 1)}
        self.epoch, self.seq, self.head = reply.epoch, reply.seq, bytes.fromhex(reply.head)


def signature_holds(target: Target, asked: str, answer: Answer) -> bool:
    """Whether the server signed this answer to that request."""
    try:
        wire.check_reply(
            target.keys.sign_public,
            answer.headers.get(wire.HEADER_SIGNATURE.lower()),
            asked, answer.status, answer.body,
        )  # fmt: skip
    except SignatureInvalid:
        return False
    return True


def _status(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def attacked(mode: str, workers: int = 1) -> Iterator[Target]:
    """`quxiang-server run` with its records in SQLite or in a PostgreSQL of its own."""
    with contextlib.ExitStack() as stack:
        url = None
        if mode == "postgres":
            url = a_cluster(stack).new()
        town = stack.enter_context(served(url, workers=workers))
        assert town.server is not None
        target = Target(town.port, Path(town.data("server")), town.server.pid)
        stack.callback(target.close)
        yield target


def a_cluster(stack: contextlib.ExitStack, **settings: str) -> Any:
    """A PostgreSQL that ends with the stack. Raises Cannot."""
    import pytest

    from tests.postgres import Cluster

    try:
        cluster = Cluster(**settings)
    except (ImportError, pytest.skip.Exception) as error:
        raise Cannot(f"no PostgreSQL here: {error}") from error
    stack.callback(cluster.close)
    return cluster
