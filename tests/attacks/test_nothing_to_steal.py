"""A whole life of faces and PINs, and then a search of all that the server keeps for any of it."""

from __future__ import annotations

import base64
import io
import logging
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attendance.statuses import Kind, Method, Status
from enroll.withdraw import withdraw_consent
from kiosk.store import Draft
from server.backup import backup
from tests.attacks.town import CLOCK, Town, exchange
from tests.conftest import NewDatabase

PINS = {"A-1": "482913", "A-2": "739104"}


@pytest.fixture
def town(tmp_path: Path, new_database: NewDatabase) -> Iterator[Town]:
    made = Town(tmp_path, new_database())
    yield made
    made.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Everything that any part of the process logs, at the most talkative level."""
    file = tmp_path / "all.log"
    handler, root = logging.FileHandler(file), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield file
    root.setLevel(before)
    root.removeHandler(handler)
    handler.close()


def windows(data: bytes) -> set[bytes]:
    """All runs of 16 bytes but the monotonous ones, which are nobody's."""
    found = {data[i : i + 16] for i in range(len(data) - 15)}
    return {run for run in found if len(set(run)) > 5}


def written(data: bytes) -> set[bytes]:
    """The runs of a secret, raw and as base64 and hexadecimal write them."""
    found = windows(data)
    for start in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(data[start:])
            found |= windows(text[: len(text) - 4])
    return found | windows(data.hex().encode()) | windows(data.hex().upper().encode())


def of_face(templates: np.ndarray) -> set[bytes]:
    """How a template might be kept: three precisions, either byte order, text; 16 bytes of each."""
    found: set[bytes] = set()
    for kind in ("<f4", ">f4", "<f2", ">f2", "<f8", ">f8"):
        found |= written(templates.astype(kind).tobytes())
    for row in templates:
        for text in (repr([float(x) for x in row]), ",".join(f"{x:.6f}" for x in row)):
            found |= windows(text.encode())
            found |= windows(text.replace(" ", "").encode())
    return found


class Search:
    """Looks for any of many runs of 16 bytes at once."""

    def __init__(self, needles: set[bytes]) -> None:
        self.needles = needles
        firsts = np.frombuffer(b"".join(run[:8] for run in needles), "<u8")
        self.marks = np.zeros(1 << 22, bool)
        self.marks[self._slot(firsts)] = True

    def _slot(self, words: np.ndarray) -> np.ndarray:
        return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)

    def hits(self, haystack: bytes) -> set[bytes]:
        """Which of them stand anywhere in there."""
        found = set()
        for start in range(8):
            part = np.frombuffer(haystack, "<u8", (len(haystack) - start) // 8, start)
            for index in np.flatnonzero(self.marks[self._slot(part)]):
                place = start + int(index) * 8
                found |= {haystack[place : place + 16]} & self.needles
        return found


def everything(town: Town, folder: Path, log: Path, request: pytest.FixtureRequest) -> bytes:
    """Database with its journals, a backup with all that is in it, and the logs."""
    backup(town.config, folder / "b.tar")
    parts = [log.read_bytes()]
    with tarfile.open(folder / "b.tar") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            parts.append(file.read())
    parts += [path.read_bytes() for path in town.config.data.rglob("*") if path.is_file()]
    if not town.config.is_sqlite:
        cluster = request.getfixturevalue("postgres")
        with town.context.database.session() as session:
            number = session.connection().exec_driver_sql(
                "SELECT oid FROM pg_database WHERE datname = current_database()"
            ).scalar_one()  # fmt: skip
        with town.context.database.engine.connect() as plain:
            plain.exec_driver_sql("CHECKPOINT")
        data = cluster.folder / "data"
        files = [*(data / "base" / str(number)).iterdir(), *(data / "pg_wal").glob("0*")]
        parts += [path.read_bytes() for path in files]
    return b"\n".join(parts)


def portrait() -> bytes:
    """A picture that the public board shows, with what a camera writes into it."""
    out, noise = io.BytesIO(), np.random.default_rng(5).integers(0, 255, (48, 36, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "taken at the window of room 12"
    Image.fromarray(noise).save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def test_neither_face_nor_pin_nor_picture_is_on_the_server(
    town: Town, tmp_path: Path, log: Path, environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    site = town.kiosk("杏树村")
    for official in PINS:
        town.enrol(official, "杏树村")
    faces = {f.official: np.array(f.templates) for f in town.desk.store.faces()}
    for official, pin in PINS.items():
        town.desk.store.set_pin(official, pin)
    town.desk.store.set_portrait("A-1", portrait())
    town.sync()
    assert exchange(site).gallery_installed
    contents = site.vault.contents()
    assert contents is not None
    face = Draft(kind=Kind.CHECKIN, official="A-1", status=Status.IN_VILLAGE, method=Method.FACE,
                 score=0.71, margin=0.3, liveness="live", gallery=contents.version)  # fmt: skip
    site.store.record(face, CLOCK.read())
    for official, pin in PINS.items():
        done = subprocess.run(
            [sys.executable, "-m", "kiosk.cli", "checkin", "--official", official, "--pin-stdin",
             "--data", str(site.folder)],
            input=pin, env=environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert exchange(site).stored >= 3
    withdraw_consent(town.desk, "A-2")
    town.sync()
    exchange(site)
    town.sync()
    assert town.desk.ledger.owed() == []

    secret: dict[str, set[bytes]] = {
        f"the face of {who}": of_face(block) for who, block in faces.items()
    }
    for person in contents.people:
        assert person.pin is not None
        secret[f"the PIN hash of {person.official}"] = windows(person.pin.split("$", 4)[4].encode())
        salt, digest = (base64.b64decode(part + "==") for part in person.pin.split("$")[4:6])
        secret[f"its salt and digest, {person.official}"] = written(salt) | written(digest)
    secret["the key of the PINs"] = written(contents.pin_key)
    secret["the kiosk's keys"] = written(site.keys.box_seed) | written(site.keys.sign_seed)
    secret["the desk's keys"] = written(town.desk.keys().sign_seed)
    taken = portrait()  # what the board shows is made anew: only tables are the same
    secret["the picture as it was taken"] = written(taken[taken.index(b"\xff\xda") + 14 :])

    kept = everything(town, tmp_path, log, request)
    assert len(kept) > 200_000
    assert "杏树村".encode() in kept, "it is the right pile"
    anything = Search(set().union(*secret.values()))
    found = anything.hits(kept)
    assert [what for what, needles in secret.items() if needles & found] == []
    for official, pin in PINS.items():
        assert not re.search(rb"(?<!\d)%s(?!\d)" % pin.encode(), kept), f"the PIN of {official}"

    # The search itself finds whatever of it is there.
    for planted in _planted(faces["A-1"], contents.pin_key):
        where = kept[:70_001] + planted + kept[70_001:90_000]
        assert anything.hits(where), planted[:40]


def _planted(face: np.ndarray, pin_key: bytes) -> list[bytes]:
    raw: list[Any] = [face.astype("<f4").tobytes()[100:140], face.astype("<f2").tobytes()]
    raw.append(base64.b64encode(face.astype("<f4").tobytes()[1:]))
    raw.append(face.astype("<f4").tobytes().hex().encode())
    raw.append(repr([float(x) for x in face[0][3:9]]).encode())
    raw.append(pin_key)
    return raw
