"""Fakes of the kiosk's edge, with memory: a clock that is told, a township that remembers."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.errors import QuxiangError
from attendance.pairing import PairingCode
from attendance.proposals import KIOSK_PROPOSALS, ProposalPackage, check_proposal
from attendance.records import Record, decode_record
from attendance.signing import DeviceKeys, from_text, seal, sign, to_text
from attendance.statuses import SiteKind
from kiosk.clock import Reading


class FakeClock:
    """A clock that moves only when told.

    `wall_ms` may be stepped at will; `boottime_ns` only grows until `reboot`.
    """

    def __init__(self, wall_ms: int = 1_780_000_000_000, boottime_ns: int = 60_000_000_000) -> None:
        self.wall_ms = wall_ms
        self.boottime_ns = boottime_ns
        self.boot_id = str(uuid.uuid4())

    def read(self) -> Reading:
        """The clocks as they were set."""
        return Reading(self.wall_ms, self.boot_id, self.boottime_ns)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_ms += round(seconds * 1000)
        self.boottime_ns += round(seconds * 1_000_000_000)

    def reboot(self, *, wall_ms: int | None = None, boottime_ns: int = 20_000_000_000) -> None:
        """A new boot, with the wall clock at `wall_ms` where given."""
        self.boot_id = str(uuid.uuid4())
        self.boottime_ns = boottime_ns
        if wall_ms is not None:
            self.wall_ms = wall_ms


def package(
    desk: DeviceKeys,
    box_public: bytes,
    contents: wire.GalleryContents,
    *,
    tombstones: Sequence[str] = (),
    made_ms: int = 1_780_000_000_000,
    days: int = 90,
) -> wire.GalleryPackage:
    """A gallery as the enrolment desk seals and signs it for one kiosk."""
    sealed = seal(box_public, wire.encode_contents(contents))
    manifest = wire.encode(
        wire.Manifest(
            device=contents.device,
            version=contents.version,
            made_ms=made_ms,
            expires_ms=made_ms + days * 86_400_000,
            model=contents.model,
            people=len(contents.people),
            sealed_sha256=hashlib.sha256(sealed).hexdigest(),
            tombstones=list(tombstones),
        )
    )
    signature = to_text(desk.sign(wire.MANIFEST_DOMAIN, manifest))
    return wire.GalleryPackage(
        manifest=msgspec.Raw(manifest), signature=signature, sealed=to_text(sealed)
    )


class FakeTownship:
    """A township's server on a loopback port, for kiosks; it checks what the real one checks.

    `records[device][epoch]` are the payloads it holds, `aside` those kept for a review, `requests`
    every (method, path) it got. Faults to order: `drop_answers = n` commits the next n uploads and
    hangs up; `answer = (503, 7)` refuses everything with that status and Retry-After,
    `upload_answer` the uploads alone; `seed` may be changed to lie, `forger` set to sign with
    another key than it names; `reject` holds officials whose records are rejected;
    `proposal_refusal` is the word that proposals get; `down` and `up` pull and replug the cable.
    """

    def __init__(self, site_kind: SiteKind = SiteKind.VILLAGE) -> None:
        self.seed = DeviceKeys.generate().sign_seed
        self.forger: bytes | None = None
        self.desk = DeviceKeys.generate()
        self.desk_key: str | None = to_text(self.desk.sign_public)
        self.site_kind = site_kind
        self.code = PairingCode.make(self.public, self.desk.sign_public)
        self.devices: dict[str, tuple[bytes, bytes]] = {}
        self.records: dict[str, dict[int, list[bytes]]] = {}
        self.proposals: dict[str, ProposalPackage] = {}
        self.proposal_refusal: str | None = None
        self.cites: dict[tuple[str, int], bytes] = {}
        self.galleries: dict[str, wire.GalleryPackage] = {}
        self.rows: list[wire.WhereaboutsRow] = []
        self.portraits: dict[str, bytes] = {}
        self.now_ms = 1_780_000_000_000
        self.requests: list[tuple[str, str]] = []
        self.cursors: list[wire.CursorRequest] = []
        self.reject: set[str] = set()
        self.revoked = False
        self.forked: set[str] = set()
        self.aside: dict[bytes, None] = {}
        self.drop_answers = 0
        self.answer: tuple[int, int | None] | None = None
        self.upload_answer: tuple[int, int | None] | None = None
        self._guard = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.up()

    @property
    def public(self) -> bytes:
        """The Ed25519 key that it really has now."""
        return DeviceKeys(self.seed, self.desk.box_seed).sign_public

    @property
    def url(self) -> str:
        """Where it listens, also while it is down."""
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listens, on the same port as before."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self._port), _Handler)
            self._server.township = self  # type: ignore[attr-defined]
            self._port = self._server.server_address[1]
            serve = self._server.serve_forever
            threading.Thread(target=serve, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Nobody answers any more; what is stored stays."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def close(self) -> None:
        """Ends it."""
        self.down()

    def stored(self, device: str) -> list[Record]:
        """Every record of that device, in order."""
        epochs = self.records.get(device, {})
        return [decode_record(p) for epoch in sorted(epochs) for p in epochs[epoch]]

    def cursor(self, device: str) -> tuple[int, int, bytes]:
        """(epoch, seq, head) of its copy of that device's chain."""
        epochs = self.records.get(device) or {1: []}
        epoch = max(epochs)
        before = genesis(device, epoch, self.cites.get((device, epoch), b""))
        return epoch, len(epochs[epoch]), run_chain(before, epochs[epoch])

    # -- answers ----------------------------------------------------------------------------

    def handle(
        self, method: str, target: str, headers: Any, body: bytes
    ) -> tuple[int, bytes, str, bool]:
        """(status, body, request's signature, whether to hang up instead of answering)."""
        with self._guard:
            path = urlsplit(target).path
            self.requests.append((method, path))
            if path == wire.PAIR:
                status, said = self._hint() if method == "GET" else self._pair(body)
                return status, said, "", False
            signature = headers.get(wire.HEADER_SIGNATURE, "")
            refused = self.refused(path)
            if refused is not None:
                return refused[0], _problem("busy"), signature, False
            device = headers.get(wire.HEADER_DEVICE, "")
            if device not in self.devices:
                return 401, _problem("unknown_device"), signature, False
            try:
                wire.check_request(self.devices[device][0], signature, method, target, body)
                status, answer = self._route(method, target, device, body)
            except QuxiangError as error:
                status, answer = 400, _problem("malformed", str(error))
            drop = path == wire.RECORDS and self.drop_answers > 0
            self.drop_answers -= drop
            return status, answer, signature, drop

    def refused(self, path: str) -> tuple[int, int | None] | None:
        """The fault ordered for that path: a status and Retry-After."""
        return self.answer or (self.upload_answer if path == wire.RECORDS else None)

    def _route(self, method: str, target: str, device: str, body: bytes) -> tuple[int, bytes]:
        path = urlsplit(target).path
        if (method, path) == ("POST", wire.CURSOR):
            return self._cursor(device, wire.decode(body, wire.CursorRequest))
        if (method, path) == ("POST", wire.RECORDS):
            return self._batch(device, body, brief=urlsplit(target).query == wire.BRIEF)
        if (method, path) == ("GET", wire.WHEREABOUTS):
            version = hashlib.sha256(wire.encode(self.rows)).hexdigest()[:12]
            rows = list(self.rows)
            return 200, wire.encode(wire.Snapshot(version=version, as_of_ms=self.now_ms, rows=rows))
        if method == "GET" and path.startswith(f"{wire.PORTRAITS}/"):
            jpeg = self.portraits.get(path.rsplit("/", 1)[1])
            return (404, _problem("not_found")) if jpeg is None else (200, jpeg)
        if (method, path) == ("PUT", KIOSK_PROPOSALS):
            if self.proposal_refusal is not None:
                return 409, _problem(self.proposal_refusal)
            package = wire.decode(body, ProposalPackage)
            check_proposal(package, self.devices[device][0])
            self.proposals[package.id] = package
            return 204, b""
        if (method, path) == ("GET", wire.GALLERY):
            have = int(parse_qs(urlsplit(target).query)["have"][0])
            if self._version(device) <= have:
                return 204, b""
            return 200, wire.encode(self.galleries[device])
        return 404, _problem("malformed")

    def _version(self, device: str) -> int:
        held = self.galleries.get(device)
        return wire.decode(bytes(held.manifest), wire.Manifest).version if held else 0

    def _hint(self) -> tuple[int, bytes]:
        desks = [] if self.desk_key is None else [self.desk_key]
        hint = wire.PairHint(server_key=to_text(self.public), desk_keys=desks)
        return 200, wire.encode(hint)

    def _pair(self, body: bytes) -> tuple[int, bytes]:
        request = wire.decode(body, wire.PairRequest)
        if request.code != self.code.secret:
            return 403, _problem("code")
        device = f"k{len(self.devices):07}"
        if request.device is not msgspec.UNSET:
            device = request.device
            if device in self.devices:
                return 409, _problem("known_device")
        self.devices[device] = (from_text(request.sign_key), from_text(request.box_key))
        reply = wire.PairReply(
            device=device,
            township="青山镇",
            site="石桥村",
            site_kind=self.site_kind,
            server_key=to_text(self.public),
            desk_key=self.desk_key,
            server_ms=self.now_ms,
        )
        return 200, wire.encode(reply)

    def _cursor(self, device: str, request: wire.CursorRequest) -> tuple[int, bytes]:
        self.cursors.append(request)
        epoch, seq, head = self.cursor(device)
        theirs = self.records.get(device, {}).get(request.epoch, [])[: request.seq]
        start = genesis(device, request.epoch, self.cites.get((device, request.epoch), b""))
        same = run_chain(start, theirs).hex() == request.head
        ahead = (request.epoch, request.seq) < (epoch, seq)
        state = "ahead" if ahead else "ok"
        if device in self.forked or (len(theirs) == request.seq and not same):
            state = "fork"
        offer = wire.AnchorOffer(
            id=f"a{len(self.cursors)}",
            server_ms=self.now_ms,
            boot_id=request.boot_id,
            boottime_ns=request.boottime_ns,
        )
        reply = wire.CursorReply(
            state="revoked" if self.revoked else state,
            epoch=epoch,
            seq=seq,
            head=head.hex(),
            anchor=offer,
            gallery=self._version(device),
            desk_key=self.desk_key,
        )
        return 200, wire.encode(reply)

    def _batch(self, device: str, body: bytes, *, brief: bool) -> tuple[int, bytes]:
        batch, payloads = wire.decode_batch(body, self.devices[device][0])
        if device in self.forked:
            mine = self.records.get(device, {}).get(batch.epoch, [])[batch.first - 1 :]
            if payloads != mine[: len(payloads)]:
                return self._fork(device, payloads)
        if self.revoked:
            self.aside.update(dict.fromkeys(payloads))
            return 403, _problem("revoked")
        epochs = self.records.setdefault(device, {1: []})
        if batch.epoch not in epochs:
            self.cites[device, batch.epoch] = bytes.fromhex(batch.cites or "")
        held = epochs.setdefault(batch.epoch, [])
        if batch.first > len(held) + 1:
            return 409, _problem("gap", wanted=len(held) + 1)
        start = genesis(device, batch.epoch, self.cites.get((device, batch.epoch), b""))
        if run_chain(start, held[: batch.first - 1]).hex() != batch.before:
            return self._fork(device, payloads)
        results = []
        for seq, payload in enumerate(payloads, start=batch.first):
            record = decode_record(payload)
            if seq <= len(held):
                if held[seq - 1] != payload:
                    return self._fork(device, payloads)
                word = "duplicate"
            else:
                held.append(payload)
                word = "stored"
            rejected = record.official in self.reject
            results.append(
                wire.Result(
                    seq=seq,
                    record_id=record.record_id,
                    result="rejected" if rejected else word,
                    why="ordered by the test" if rejected else None,
                )
            )
        epoch, seq, head = self.cursor(device)
        reply = wire.BatchReply(results=results, epoch=epoch, seq=seq, head=head.hex())
        return 200, wire.encode(wire.brief(reply, batch) if brief else reply)

    def _fork(self, device: str, payloads: list[bytes]) -> tuple[int, bytes]:
        self.forked.add(device)
        self.aside.update(dict.fromkeys(payloads))
        return 409, _problem("fork")


def _problem(word: str, message: str = "", wanted: int | None = None) -> bytes:
    return wire.encode(wire.Problem(error=word, message=message or word, wanted=wanted))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        township: FakeTownship = self.server.township  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        status, answer, signature, drop = township.handle(
            self.command, self.path, self.headers, body
        )
        if drop:
            self.close_connection = True
            return
        claim = wire.reply_claim(signature, status, answer)
        self.send_response(status)
        self.send_header(
            wire.HEADER_SIGNATURE,
            to_text(sign(township.forger or township.seed, wire.REPLY_DOMAIN, claim)),
        )
        refused = township.refused(urlsplit(self.path).path)
        if refused is not None and refused[1] is not None:
            self.send_header("Retry-After", str(refused[1]))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
