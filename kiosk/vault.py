"""Templates and PIN hashes at rest: one encrypted file a gallery version, and its key beside it.

    DIR/vault/0000000012.box   libsodium secretbox of the manifest and the opened contents
    DIR/vault/0000000012.key   its 32-byte key, made for this version alone, 0600

Replacing a gallery overwrites the old key before both files go, so that what a card keeps in worn
blocks stays unreadable; what a power cut leaves of them goes before a receipt is signed. The key
lies on the same card (evidence.md, "Keys, faces and PINs"): this guards a file that is copied or a
card that is thrown away in part, not a card that is stolen whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from attendance.errors import QuxiangError
from attendance.galleries import HIGHEST, is_believable
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
from kiosk.gallery_check import check_contents, check_erased, without_erased
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
    `taken` answers the highest version ever taken (`gallery_taken`): none below it is in force.
    """

    def __init__(self, folder: Path, taken: Callable[[], int] = lambda: 0) -> None:
        self._folder = folder
        self._taken = taken
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
                now = self.version
                if manifest.version <= now:
                    raise GalleryRefused(
                        f"人脸库版本 {manifest.version} 不比现有的 {now} 新，未采用：刚导入过同一"
                        "文件就不必再做；否则在登记台运行 quxiang-enroll export FILE "
                        f"--above {now}。",
                        f"gallery version {manifest.version} is not newer than {now}, which is in "
                        "force: nothing is to be done where this very file was taken already; "
                        f"else run quxiang-enroll export FILE --above {now} at the desk",
                    )
                taken = gallery_taken(store)
                if manifest.version < taken:
                    raise GalleryRefused(
                        f"人脸库版本 {manifest.version} 比本机用过的 {taken} 旧，未采用："
                        "请在登记台运行 quxiang-enroll sync，或 quxiang-enroll export FILE "
                        f"--above {taken}。",
                        f"gallery version {manifest.version} is older than {taken}, which this "
                        "kiosk had already, and is not taken: run quxiang-enroll sync at the desk, "
                        f"or quxiang-enroll export FILE --above {taken}",
                    )
                opened = keys.open(sealed)
                contents = decode_contents(opened)
                check_contents(contents, manifest)
                check_erased(contents, manifest)
                self._write(manifest.version, signed, opened)
                try:
                    # Between the two: a cut before leaves the old gallery in force, one after that
                    # cannot bring it back.
                    note_gallery(store, manifest.version)
                except StoreUnusable:
                    self._take_back(manifest.version)
                    raise
                self._shred_below(manifest.version)
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
                least = self._least(newest)
                left = (v for v in reversed(versions) if v >= least)
                self._held = (newest, next((h for v in left if (h := self._open(v))), None))
            return self._held[1]

    def _least(self, newest: int) -> int:
        """The lowest version that may be in force: in an older one are people who withdrew."""
        try:
            return self._taken()
        except StoreUnusable:
            return newest

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
            contents, manifest = decode_contents(opened), decode(signed, Manifest)
            check_contents(contents, manifest)
        except (OSError, CryptoError, ValueError, TypeError, msgspec.DecodeError):
            return None  # torn by a power cut, or another's: the older one or the server serves
        return _Held(without_erased(contents, manifest), manifest)

    def _write(self, version: int, signed: bytes, opened: bytes) -> None:
        secret = secrets.token_bytes(SecretBox.KEY_SIZE)
        key, box = self._paths(version)
        write_atomically(box, SecretBox(secret).encrypt(msgspec.msgpack.encode((signed, opened))))
        write_atomically(key, secret)
        with self._guard:
            self._held = (0, None)

    def _take_back(self, version: int) -> None:
        for path in self._paths(version):
            _shred(path)
        with self._guard:
            self._held = (0, None)

    def erase_old(self, taken: int) -> None:
        """Erases what a power cut left of galleries before the one in force, and below `taken`.

        Raises OSError where something of them stays.
        """
        least = max(self.version, taken)
        if self._left_below(least):
            with self._locked():
                self._shred_below(least)

    def _left_below(self, version: int) -> list[Path]:
        if not self._folder.is_dir():
            return []
        whole = [path for end in ("key", "box") for path in self._folder.glob(f"[0-9]*.{end}")]
        old = [path for path in whole if path.stem.isdigit() and int(path.stem) < version]
        return old + list(self._folder.glob(".*"))  # of a write cut off: it may be a key

    def _shred_below(self, version: int) -> None:
        """Within `_locked`, so that nothing is being written."""
        for path in self._left_below(version):
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
    """The highest gallery version that this kiosk ever took, 0 for none or a damaged number."""
    taken = store.number("gallery_taken") or 0
    return taken if is_believable(taken, 0) else 0


def note_gallery(store: Store, version: int) -> None:
    """Keeps, durably, that a gallery was taken: none below it may ever come back."""
    if version <= gallery_taken(store):
        return
    with store.transaction() as db:
        db.execute(
            "INSERT INTO meta VALUES ('gallery_taken', ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value WHERE CAST(value AS INTEGER) NOT BETWEEN excluded.value "
            "AND ?",
            (version, HIGHEST),
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
    is left of older galleries, and what the kiosk proposed of whoever consents no more, was erased
    too.

    Called after an install and again at each start and sync, so that a power cut between the
    erasure and its receipt leaves none out. Raises StoreUnusable.
    """
    manifest, contents = vault.manifest(), vault.contents()
    if manifest is not None:
        note_gallery(store, manifest.version)  # one that a release before this one took
    known = contents.people if contents else []
    try:
        vault.erase_old(gallery_taken(store))
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
