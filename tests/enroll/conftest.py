"""A township's server in miniature, with memory; kiosks that open what was sealed for them; folders
of real faces. Everything speaks real HTTP on loopback."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from attendance import signing, wire
from attendance.pairing import PairingCode
from attendance.proposals import (
    DESK_DECISIONS,
    DESK_PROPOSALS,
    Decision,
    ProposalPackage,
    ProposalRow,
)
from attendance.receipts import receipt_detail
from attendance.reenrol import DESK_REENROLMENTS, Reenrolled, Reenrolment
from attendance.signing import DeviceKeys, from_text, to_text
from attendance.statuses import SiteKind
from enroll.desk import Desk
from enroll.pairing import pair
from recognition.engine import Engine
from recognition.engines import load_engine
from recognition.errors import RecognitionError

HEADER = "official,name,title,phone,work_group,sites,consented_on,pin,portrait_consented_on"
NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class FakeKiosk:
    """A kiosk as the desk's counterpart: keys, and what it holds."""

    def __init__(self, device: str, site: str, kind: SiteKind) -> None:
        self.device, self.site, self.kind = device, site, kind
        self.keys = DeviceKeys.generate()
        self.version = 0
        self.contents: wire.GalleryContents | None = None

    def open(self, package: wire.GalleryPackage, desk_key: bytes) -> wire.Manifest:
        raw = bytes(package.manifest)
        signing.check(desk_key, wire.MANIFEST_DOMAIN, raw, from_text(package.signature, 64))
        manifest = wire.decode(raw, wire.Manifest)
        assert manifest.device == self.device
        assert manifest.version > self.version, "rolled back"
        sealed = from_text(package.sealed)
        assert hashlib.sha256(sealed).hexdigest() == manifest.sealed_sha256
        contents = wire.decode_contents(self.keys.open(sealed))
        assert (contents.device, contents.version) == (self.device, manifest.version)
        assert len(contents.people) == manifest.people
        self.version, self.contents = manifest.version, contents
        return manifest

    def person(self, official: str) -> wire.Person:
        assert self.contents is not None
        return next(p for p in self.contents.people if p.official == official)

    def people(self) -> list[str]:
        assert self.contents is not None
        return [p.official for p in self.contents.people]


class FakeTownship:
    """The server's side of docs/wire.md over real HTTP. Remembers; can be down, lie or be busy."""

    def __init__(self) -> None:
        self.seed = DeviceKeys.generate().sign_seed
        self.key = DeviceKeys(self.seed, self.seed).sign_public
        self.signing_seed = self.seed  # a liar signs with another
        self.unsigned = False
        self.code: PairingCode | None = None
        self.desk_key: bytes | None = None
        self.history: list[str] = []
        self.bodies: list[bytes] = []
        self.sites = {"杏树村": SiteKind.VILLAGE, "镇政府": SiteKind.OFFICE}
        self.kiosks: dict[str, FakeKiosk] = {}
        self.rows: dict[str, wire.KioskRow] = {}
        self.roster: dict[str, wire.RosterRow] = {}
        self.portraits: dict[str, bytes] = {}
        self.galleries: dict[str, wire.GalleryPackage] = {}
        self.withdrawals: list[str] = []
        self.withdrawn: list[wire.Withdrawn] | None = []
        self.sent: set[tuple[str, str]] | None = set()  # official and site, by a clerk
        self.erasures: list[wire.ErasureRow] = []
        self.proposals: list[ProposalPackage] = []
        self.decisions: list[Decision] = []
        self.knows_proposals = True
        self.reenrolments: list[Reenrolment] | None = []
        self.reenrolled: list[Reenrolled] = []
        self.answer_503 = False
        #: Devices whose galleries it refuses: by that word; None: as a proxy, that signs nothing.
        self.gallery_refusals: dict[str, str | None] = {}
        self.server: ThreadingHTTPServer | None = None
        self.port = 0

    # -- life ---------------------------------------------------------------------------------
    def up(self) -> None:
        township = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, reply, about = township.handle(
                    self.command, self.path, body, dict(self.headers)
                )
                self.send_response(status)
                self.send_header("Content-Length", str(len(reply)))
                self.send_header(wire.HEADER_SIGNATURE, township.sign(about, status, reply))
                if status == 503:
                    self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sign(self, about: str, status: int, reply: bytes) -> str:
        if self.unsigned:
            return ""
        claim = wire.reply_claim(about, status, reply)
        return to_text(signing.sign(self.signing_seed, wire.REPLY_DOMAIN, claim))

    # -- doings of people ---------------------------------------------------------------------
    def make_code(self) -> str:
        self.code = PairingCode.make(self.key, self.desk_key)
        return str(self.code)

    def add_kiosk(self, site: str) -> FakeKiosk:
        kiosk = FakeKiosk(f"kiosk{len(self.kiosks):03d}", site, self.sites[site])
        self.kiosks[kiosk.device] = kiosk
        self.rows[kiosk.device] = wire.KioskRow(
            device=kiosk.device,
            site=site,
            site_kind=kiosk.kind,
            sign_key=to_text(kiosk.keys.sign_public),
            box_key=to_text(kiosk.keys.box_public),
            gallery=0,
        )
        return kiosk

    def pull(self, kiosk: FakeKiosk, *, receipt: bool = True) -> wire.Manifest:
        """The kiosk fetches its gallery; every new tombstone gets a receipt."""
        assert self.desk_key is not None
        before = kiosk.contents
        manifest = kiosk.open(self.galleries[kiosk.device], self.desk_key)
        held = {p.official for p in before.people if p.templates} if before else set()
        for official in manifest.tombstones if receipt else ():
            if official in held:
                self.confirm(kiosk, official, manifest.version)
        return manifest

    def confirm(self, kiosk: FakeKiosk, official: str, version: int) -> None:
        detail = receipt_detail(kiosk.keys, kiosk.device, official, version)
        self.erasures.append(
            wire.ErasureRow(
                device=kiosk.device,
                site=kiosk.site,
                official=official,
                record_id=str(uuid.uuid4()),
                epoch=1,
                seq=len(self.erasures) + 1,
                head="0" * 64,
                received_ms=1,
                version=version,
                signature=detail.rsplit(" ", 1)[1],
            )
        )

    # -- the interface ------------------------------------------------------------------------
    def handle(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, str]:
        self.history.append(f"{method} {target.removeprefix(wire.PREFIX)}")
        self.bodies.append(body)
        self.unsigned = False
        if (method, target) == ("GET", wire.PAIR):
            desks = [] if self.desk_key is None else [to_text(self.desk_key)]
            hint = wire.PairHint(server_key=to_text(self.key), desk_keys=desks)
            return 200, wire.encode(hint), ""
        if target == wire.PAIR:
            return *self.pair(wire.decode(body, wire.PairRequest)), ""
        about = headers[wire.HEADER_SIGNATURE]
        assert self.desk_key is not None
        wire.check_request(self.desk_key, about, method, target, body)
        if self.answer_503:
            return 503, problem("busy"), about
        status, reply = self.route(method, target, body)
        return status, reply, about

    def pair(self, request: wire.PairRequest) -> tuple[int, bytes]:
        if self.code is None or request.code != self.code.secret:
            return 403, problem("code")
        self.code = None
        self.desk_key = from_text(request.sign_key, 32)
        reply = wire.PairReply(
            device="desk0001",
            township="云溪镇",
            site=None,
            site_kind=None,
            server_key=to_text(self.key),
            desk_key=None,
            server_ms=1_790_000_000_000,
        )
        return 200, wire.encode(reply)

    def route(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        name = target.rsplit("/", 1)[-1]
        if target == wire.DESK_SITES:
            rows = [wire.SiteRow(site=s, kind=k) for s, k in self.sites.items()]
            return 200, wire.encode(rows)
        if target == wire.DESK_EXPECTED:
            if self.sent is None:  # a server of before
                return 404, problem("not_found")
            return 200, wire.encode(self.expected())
        if target == wire.DESK_KIOSKS:
            return 200, wire.encode(list(self.rows.values()))
        if target == wire.DESK_ERASURES:
            return 200, wire.encode(self.erasures)
        if target == wire.DESK_ROSTER:
            return 200, wire.encode(self.take_roster(wire.decode(body, wire.Roster)))
        if target == wire.DESK_WITHDRAWALS:
            if method == "GET":
                if self.withdrawn is None:  # a server of before
                    return 405, problem("not_found")
                return 200, wire.encode(self.withdrawn)
            gone = wire.decode(body, wire.Withdrawal)
            who = gone.official
            if who not in self.roster:
                return 404, problem("unknown_official")
            self.withdrawals.append(who)
            if self.withdrawn is not None:
                self.withdrawn.append(wire.Withdrawn(official=who, at_ms=gone.at_ms))
            self.portraits.pop(who, None)
            self.galleries.clear()  # whichever may hold the person
            return 204, b""
        if target.startswith(wire.DESK_PORTRAITS):
            if name not in self.roster:
                return 404, problem("unknown_official")
            self.portraits[name] = body
            return 204, b""
        if target == DESK_REENROLMENTS:
            if self.reenrolments is None:  # a server of before
                return 404, problem("not_found")
            if method == "GET":
                return 200, wire.encode(self.reenrolments)
            told = wire.decode(body, Reenrolled)
            self.reenrolled.append(told)
            self.reenrolments = [
                r for r in self.reenrolments
                if (r.finding, r.official) != (told.finding, told.official)
            ]  # fmt: skip
            return 204, b""
        if not self.knows_proposals and target.startswith((DESK_PROPOSALS, DESK_DECISIONS)):
            return 404, problem("not_found")
        if target == DESK_PROPOSALS:
            return 200, wire.encode(
                [
                    ProposalRow(id=p.id, official=p.official, device=p.device, at_ms=p.at_ms)
                    for p in self.proposals
                ]
            )
        if target.startswith(DESK_PROPOSALS):
            if method == "DELETE":
                self.proposals = [p for p in self.proposals if p.id != name]
                return 204, b""
            found = [p for p in self.proposals if p.id == name]
            return (200, wire.encode(found[0])) if found else (404, problem("not_found"))
        if target == DESK_DECISIONS:
            decision = wire.decode(body, Decision)
            self.decisions.append(decision)
            self.proposals = [p for p in self.proposals if p.id != decision.id]
            return 204, b""
        assert target.startswith(wire.DESK_GALLERIES), target
        if name in self.gallery_refusals:
            word = self.gallery_refusals[name]
            self.unsigned = word is None
            return 500, problem(word or "a proxy's page")
        package = wire.decode(body, wire.GalleryPackage, wire.MAX_GALLERY)
        version = wire.decode(bytes(package.manifest), wire.Manifest).version
        if version <= self.rows[name].gallery:
            return 409, problem("rollback")
        self.galleries[name] = package
        self.rows[name] = msgspec.structs.replace(self.rows[name], gallery=version)
        return 204, b""

    def expected(self) -> list[wire.ExpectedRow]:
        usual = {
            (row.official, site)
            for row in self.roster.values()
            for site in row.sites
            if self.sites.get(site) is SiteKind.VILLAGE
        }
        return [
            wire.ExpectedRow(official=official, site=site)
            for official, site in sorted(usual | (self.sent or set()))
        ]

    def take_roster(self, roster: wire.Roster) -> wire.RosterReply:
        results = []
        for row in roster.officials:
            unknown = next((s for s in row.sites if s not in self.sites), None)
            if unknown is None:
                self.roster[row.official] = row
            results.append(
                wire.RosterResult(
                    official=row.official,
                    result="rejected" if unknown else "stored",
                    why=f"unknown_site: {unknown}" if unknown else None,
                )
            )
        return wire.RosterReply(results=results)


def problem(word: str) -> bytes:
    return wire.encode(wire.Problem(error=word, message=f"({word})"))


@pytest.fixture
def township() -> Iterator[FakeTownship]:
    """A server that is up."""
    fake = FakeTownship()
    fake.up()
    yield fake
    fake.down()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    """A desk that nobody paired."""
    with Desk(tmp_path / "desk", clock) as made:
        yield made


@pytest.fixture
def paired(desk: Desk, township: FakeTownship) -> Desk:
    """A desk paired with the township."""
    pair(desk.data, township.url, township.make_code())
    return desk


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The default engine, where its weights can be found or fetched."""
    try:
        return load_engine("sface")
    except RecognitionError as error:
        pytest.skip(f"the weights are not here: {error}")


@pytest.fixture(scope="session")
def faces(shared_data: Path) -> Callable[[int], list[Path]]:
    """Five real pictures of the n-th of forty people."""
    people = sorted(p for p in (shared_data / "lfw_dev").iterdir() if p.is_dir())
    return lambda n: sorted(people[n].glob("*.jpg"))


class Folder:
    """A folder for `enroll import`, written by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = [HEADER]
        path.mkdir()

    def add(
        self,
        official: str,
        pictures: list[Path] | None = None,
        *,
        sites: str = "杏树村",
        consented: str = "2026-11-01",
        pin: str = "482913",
        portrait: str = "",
    ) -> Path:
        self.lines.append(
            f"{official},姓名{official},干部,13800000000,一组,{sites},{consented},{pin},{portrait}"
        )
        self.write()
        place = self.path / official
        place.mkdir(exist_ok=True)
        for picture in pictures or []:
            shutil.copy(picture, place / picture.name)
        return place

    def change(self, old: str, new: str) -> None:
        assert any(old in line for line in self.lines)
        self.lines = [line.replace(old, new) for line in self.lines]
        self.write()

    def write(self) -> None:
        (self.path / "officials.csv").write_text("\n".join(self.lines) + "\n", "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "folder")


@pytest.fixture
def synthetic() -> Callable[[int], np.ndarray]:
    """Made-up unit templates, float32, shape (k, 128), for tests that need no face."""

    def make(seed: int, k: int = 2) -> np.ndarray:
        block = np.random.default_rng(seed).normal(size=(k, 128)).astype(np.float32)
        return block / np.linalg.norm(block, axis=1, keepdims=True)

    return make


@pytest.fixture
def command(environ: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run quxiang-enroll as a user does."""

    def run(
        *args: object, lang: str = "en", text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: os.environ[k] for k in ("QUXIANG_MODELS",) if k in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "enroll.cli", *map(str, args)],
            env={**environ, **kept, "QUXIANG_LANG": lang},
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def write_picture(path: Path, picture: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path
