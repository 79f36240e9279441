"""Templates and PIN hashes at rest: one encrypted file a gallery version, and its key beside it.

    DIR/vault/0000000012.box   libsodium secretbox of the manifest and the opened contents
    DIR/vault/0000000012.key   its 32-byte key, made for this version alone, 0600

Replacing a gallery overwrites the old key before both files go, so that what a card keeps in worn
blocks stays unreadable. The key lies on the same card (evidence.md, "Keys, faces and PINs"): this
guards a file that is copied or a card that is thrown away in part, not a card that is stolen whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from attendance.errors import QuxiangError
from attendance.receipts import receipt_detail
from attendance.signing import DeviceKeys, check, from_text
from attendance.wire import (
    MANIFEST_DOMAIN,
    MAX_GALLERY,
    GalleryContents,
    GalleryPackage,
    Manifest,
    decode,
    decode_contents,
)
from kiosk.clock import Reading
from kiosk.config import PROPOSALS, KioskConfig, sync_folder, write_atomically
from kiosk.errors import GalleryRefused, StoreUnusable
from kiosk.gallery_check import check_contents
from kiosk.proposals import Pile
from kiosk.store import Recorded, Store


@dataclass(frozen=True)
class Installed:
    """A gallery that is in force now. `tombstones` are officials whose erasure is to be proven."""

    version: int
    people: int
    model: str
    tombstones: tuple[str, ...]
    expired: bool


@dataclass(frozen=True)
class _Held:
    contents: GalleryContents
    manifest: Manifest


class Vault:
    """The gallery of one kiosk. Other processes may replace it: `load` notices.

    `pile` holds what the kiosk proposes for the galleries to come; it lies beside the vault.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pile = Pile(folder.with_name(PROPOSALS))
        self._guard = threading.Lock()
        self._held: tuple[int, _Held | None] = (0, None)

    @property
    def version(self) -> int:
        """The version in force, 0 where there is none that can be read."""
        held = self._load()
        return held.manifest.version if held else 0

    def contents(self) -> GalleryContents | None:
        """The gallery in force, decrypted; None while the kiosk waits for the enrolment desk."""
        held = self._load()
        return held.contents if held else None

    def manifest(self) -> Manifest | None:
        """What the desk promised of the gallery in force."""
        held = self._load()
        return held.manifest if held else None

    def expired(self, now_ms: int) -> bool:
        """Whether the manifest ran out: it keeps working, and somebody must be told."""
        held = self._load()
        return held is not None and now_ms >= held.manifest.expires_ms

    def install(
        self,
        package: GalleryPackage,
        config: KioskConfig,
        keys: DeviceKeys,
        now_ms: int,
        store: Store,
    ) -> Installed:
        """Puts a gallery in force and erases the one before.

        `store` remembers the highest version ever taken: where the vault cannot be read any more,
        an older one still does not come back, with whom it knew before they withdrew.

        Raises GalleryRefused (no desk known, another desk's, another kiosk's, not newer, damaged)
        and OSError where it cannot be written; the old one then stays in force.
        """
        desk = config.desk_public
        if desk is None:
            raise GalleryRefused(
                "还不知道登记台的密钥：请先联网同步一次。",
                "the enrolment desk's key is not known yet: sync with the server once",
            )
        try:
            signed = bytes(package.manifest)
            check(desk, MANIFEST_DOMAIN, signed, from_text(package.signature))
            manifest = decode(signed, Manifest)
            sealed = from_text(package.sealed)
            if manifest.device != config.device:
                raise GalleryRefused(
                    f"这是给另一台终端（{manifest.device}）的人脸库。",
                    f"this gallery is for another kiosk ({manifest.device})",
                )
            digest = hashlib.sha256(sealed).hexdigest()
            if len(sealed) > MAX_GALLERY or not hmac.compare_digest(digest, manifest.sealed_sha256):
                raise GalleryRefused(
                    "人脸库在传输中损坏：请重新导出。",
                    "the gallery was damaged on its way: export it again",
                )
            with self._locked():
                if manifest.version <= self.version:
                    raise GalleryRefused(
                        f"人脸库版本 {manifest.version} 不比现有的 {self.version} 新。",
                        f"gallery version {manifest.version} is not newer than "
                        f"{self.version}, which is in force",
                    )
                taken = gallery_taken(store)
                if manifest.version < taken:
                    raise GalleryRefused(
                        f"人脸库版本 {manifest.version} 比本机用过的 {taken} 旧，未采用："
                        "请在登记台运行 quxiang-enroll sync，或重新导出 U 盘文件。",
                        f"gallery version {manifest.version} is older than {taken}, which this "
                        "kiosk had already, and is not taken: run quxiang-enroll sync at the desk, "
                        "or export the USB file anew",
                    )
                opened = keys.open(sealed)
                contents = decode_contents(opened)
                check_contents(contents, manifest)
                note_gallery(store, manifest.version)  # before anything of it can be in force
                self._write(manifest.version, signed, opened)
        except (GalleryRefused, StoreUnusable):
            raise
        except QuxiangError as error:
            raise GalleryRefused(
                "人脸库不是本镇登记台给本终端的，未采用。",
                f"the gallery is not from our enrolment desk for this kiosk: {error}",
            ) from error
        return Installed(
            manifest.version,
            manifest.people,
            manifest.model,
            tuple(manifest.tombstones),
            now_ms >= manifest.expires_ms,
        )

    def _load(self) -> _Held | None:
        with self._guard:
            versions = self._versions()
            newest = versions[-1] if versions else 0
            if newest != self._held[0]:
                found = next((h for v in reversed(versions) if (h := self._open(v))), None)
                self._held = (newest, found)
            return self._held[1]

    def _versions(self) -> list[int]:
        names = {path.stem for path in self._folder.glob("*.key")}
        whole = names & {path.stem for path in self._folder.glob("*.box")}
        return sorted(int(name) for name in whole if name.isdigit())

    def _paths(self, version: int) -> tuple[Path, Path]:
        return self._folder / f"{version:010}.key", self._folder / f"{version:010}.box"

    def _open(self, version: int) -> _Held | None:
        key, box = self._paths(version)
        try:
            signed, opened = msgspec.msgpack.decode(
                SecretBox(key.read_bytes()).decrypt(box.read_bytes()), type=tuple[bytes, bytes]
            )
            held = _Held(decode_contents(opened), decode(signed, Manifest))
            check_contents(held.contents, held.manifest)
        except (OSError, CryptoError, ValueError, TypeError, msgspec.DecodeError):
            return None  # torn by a power cut, or another's: the older one or the server serves
        return held

    def _write(self, version: int, signed: bytes, opened: bytes) -> None:
        secret = secrets.token_bytes(SecretBox.KEY_SIZE)
        key, box = self._paths(version)
        write_atomically(box, SecretBox(secret).encrypt(msgspec.msgpack.encode((signed, opened))))
        write_atomically(key, secret)
        with self._guard:
            self._held = (0, None)
        for path in sorted(self._folder.iterdir()):
            if path.suffix in (".key", ".box") and path.stem != key.stem:
                _shred(path)
        sync_folder(self._folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def gallery_taken(store: Store) -> int:
    """The highest gallery version that this kiosk ever took, 0 for none."""
    return store.number("gallery_taken") or 0


def note_gallery(store: Store, version: int) -> None:
    """Keeps, durably, that a gallery was taken: none below it may ever come back."""
    if version <= gallery_taken(store):
        return
    with store.transaction() as db:
        db.execute(
            "INSERT INTO meta VALUES ('gallery_taken', ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value WHERE CAST(value AS INTEGER) < excluded.value",
            (version,),
        )


def _shred(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("r+b") as file:
        size = path.stat().st_size
        file.write(secrets.token_bytes(size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink(missing_ok=True)


def settle_erasures(
    vault: Vault, store: Store, keys: DeviceKeys, reading: Reading
) -> list[Recorded]:
    """Writes the signed receipt of every tombstone of the gallery in force, once each, after what
    the kiosk proposed of whoever consents no more was erased too.

    Called after an install and again at each start and sync, so that a power cut between the
    erasure and its receipt leaves none out. Raises StoreUnusable.
    """
    manifest, contents = vault.manifest(), vault.contents()
    if manifest is not None:
        note_gallery(store, manifest.version)  # one that a release before this one took
    known = contents.people if contents else []
    try:
        vault.pile.keep_only((p.official for p in known if p.propose), reading.wall_ms)
    except OSError:
        return []  # no receipt before nothing of theirs is left; tried again at the next sync
    if manifest is None:
        return []
    store.forget_erasures(manifest.tombstones)
    receipts = (
        store.record_erasure(
            official,
            manifest.version,
            receipt_detail(keys, manifest.device, official, manifest.version),
            reading,
        )
        for official in manifest.tombstones
    )
    return [receipt for receipt in receipts if receipt is not None]
