"""What a kiosk keeps in its folder, and who it is.

DIR/kiosk.json      this file's `KioskConfig`, 0600
DIR/device.key      the two secret keys of the device, 0600
DIR/*.copy          copies of these two, read where a damaged block took the file itself
DIR/earlier-N/      what lay here before the folder was paired anew (`kiosk.aside`)
DIR/server.crt      the server's own certificate, where pairing was given one
DIR/kiosk.db        records, chain, outbox (`kiosk.store`), with -wal, -shm and -lock beside it
DIR/kiosk.lock      held by the one process that runs the kiosk
DIR/vault/          templates and PIN hashes, encrypted (`kiosk.vault`)
DIR/proposals/      pictures proposed as templates, sealed to the desk (`kiosk.proposals`)
DIR/portraits/      pictures of the public board, for the television (`kiosk.portraits`)
DIR/wiring.toml     optional: what hangs on which pin (docs/wiring.md)
DIR/kiosk.toml      optional: voice, light, cards, sticks ... (`kiosk.settings`, docs/wiring.md)
DIR/models/         optional: weights
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from attendance.errors import SignatureInvalid
from attendance.records import DeviceId
from attendance.signing import KEY_BYTES, DeviceKeys, from_text, to_text
from attendance.statuses import SiteKind
from kiosk.errors import AlreadyRunning, ConfigInvalid, NotPaired
from kiosk.schema import unusable

CONFIG = "kiosk.json"
KEYS = "device.key"
DATABASE = "kiosk.db"
RUN_LOCK = "kiosk.lock"
VAULT = "vault"
PORTRAITS = "portraits"
PROPOSALS = "proposals"


def default_data() -> Path:
    """Where a kiosk lives unless `--data` says otherwise."""
    return Path.home() / ".local" / "share" / "quxiang" / "kiosk"


class KioskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who this kiosk is, and the keys that it pinned when it was paired.

    `server_key` and `desk_key` are base64 of Ed25519 public keys; `desk_key` is None until a desk
    was heard of. `ca` names a certificate file for TLS to a server with a certificate of its own;
    `pin` is the SHA-256 of the one certificate that the pairing code vouched for.
    """

    server: str
    device: DeviceId
    township: str
    site: str
    site_kind: SiteKind
    server_key: str
    desk_key: str | None = None
    ca: str | None = None
    pin: str | None = None

    @property
    def server_public(self) -> bytes:
        """The server's Ed25519 key, 32 bytes."""
        return from_text(self.server_key, KEY_BYTES)

    @property
    def desk_public(self) -> bytes | None:
        """The desk's Ed25519 key, 32 bytes, None while unknown."""
        return None if self.desk_key is None else from_text(self.desk_key, KEY_BYTES)


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sign: str
    box: str


_UNUSABLE = (OSError, msgspec.DecodeError, SignatureInvalid, UnicodeDecodeError)
"""What reading a file of the folder may raise."""
T = TypeVar("T")


def load_config(folder: Path) -> KioskConfig:
    """The kiosk of that folder, from the copy where the file itself cannot be used.

    Raises NotPaired and ConfigInvalid.
    """
    path = folder / CONFIG
    try:
        return _first_usable(path, _read_config)
    except FileNotFoundError:
        raise NotPaired(
            f"{folder} 还没有配对：请先运行 quxiang-kiosk pair。",
            f"{folder} is not paired yet: run quxiang-kiosk pair first",
        ) from None
    except _UNUSABLE as error:
        raise ConfigInvalid(
            f"终端的配置文件 {path} 损坏（{error}）：请恢复备份，或用新的配对码重新配对"
            "（quxiang-kiosk pair），原有文件会移到一旁，不会删除。",
            f"{path}, which says whose kiosk this is, cannot be used ({error}): restore a backup, "
            "or pair anew with a fresh code (quxiang-kiosk pair); what is here is then set aside, "
            "not deleted",
        ) from error


def save_config(folder: Path, config: KioskConfig) -> None:
    """Writes it, and a copy, so that a power cut leaves the old one or the new one."""
    _write_twice(folder / CONFIG, msgspec.json.format(msgspec.json.encode(config)))


def load_keys(folder: Path, name: str = KEYS) -> DeviceKeys:
    """The device's keys, from the copy where the file itself cannot be used.

    Raises NotPaired and ConfigInvalid.
    """
    path = folder / name
    try:
        return _first_usable(path, _read_keys)
    except FileNotFoundError:
        raise NotPaired(
            f"{folder} 里没有设备密钥：请恢复备份，或用新的配对码重新配对（quxiang-kiosk pair），"
            "原有文件会移到一旁，不会删除。",
            f"{folder} has no device key: restore a backup, or pair anew with a fresh code "
            "(quxiang-kiosk pair); what is here is then set aside, not deleted",
        ) from None
    except _UNUSABLE:
        # The error's own words could quote the key.
        raise ConfigInvalid(
            f"密钥文件 {path} 损坏：请恢复备份，或用新的配对码重新配对（quxiang-kiosk pair），"
            "原有文件会移到一旁，不会删除。",
            f"the key file {path} is damaged: restore a backup, or pair anew with a fresh code "
            "(quxiang-kiosk pair); what is here is then set aside, not deleted",
        ) from None


def keys_of(folder: Path, name: str = KEYS) -> DeviceKeys:
    """The device's keys, made where there are none yet."""
    try:
        return load_keys(folder, name)
    except NotPaired:
        keys = DeviceKeys.generate()
        save_keys(folder, keys, name)
        return keys


def save_keys(folder: Path, keys: DeviceKeys, name: str = KEYS) -> None:
    """Writes them, and a copy, so that a power cut leaves the old ones or the new ones."""
    stored = _KeyFile(to_text(keys.sign_seed), to_text(keys.box_seed))
    _write_twice(folder / name, msgspec.json.encode(stored))


def is_paired(folder: Path) -> bool:
    """Whether the folder says whose kiosk it is and holds its keys."""
    try:
        load_config(folder)
        load_keys(folder)
    except (NotPaired, ConfigInvalid):
        return False
    return True


def keep_copies(folder: Path, config: KioskConfig, keys: DeviceKeys) -> None:
    """Puts right what differs of files and copies, as a damaged block or an older release left
    them; a card that takes no write leaves it for the next start."""
    with contextlib.suppress(OSError):
        if _differ(folder / CONFIG, config, _read_config):
            save_config(folder, config)
        if _differ(folder / KEYS, keys, _read_keys):
            save_keys(folder, keys)


def copy_of(path: Path) -> Path:
    """Where the copy of a file lies."""
    return path.with_name(f"{path.name}.copy")


def _read_config(path: Path) -> KioskConfig:
    config = msgspec.json.decode(path.read_bytes(), type=KioskConfig)
    _ = config.server_public, config.desk_public
    return config


def _read_keys(path: Path) -> DeviceKeys:
    stored = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
    return DeviceKeys(from_text(stored.sign, KEY_BYTES), from_text(stored.box, KEY_BYTES))


def _first_usable(path: Path, read: Callable[[Path], T]) -> T:
    """What the file says, else its copy; raises what the one that is there raised."""
    try:
        return read(path)
    except _UNUSABLE as error:
        try:
            return read(copy_of(path))
        except FileNotFoundError:
            raise error from None
        except _UNUSABLE as second:
            raise (second if isinstance(error, FileNotFoundError) else error) from None


def _differ(path: Path, known: T, read: Callable[[Path], T]) -> bool:
    try:
        return read(path) != known or read(copy_of(path)) != known
    except _UNUSABLE:
        return True


def _write_twice(path: Path, data: bytes) -> None:
    write_atomically(path, data)
    write_atomically(copy_of(path), data)


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file, mode 0600: after a power cut it is the old one or the new one, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:  # mkstemp makes it 0600
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename or an unlink in that folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Held by the one process that runs this kiosk. Raises AlreadyRunning and StoreUnusable."""
    try:
        fd = os.open(folder / RUN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(folder / RUN_LOCK, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"{folder} 的终端已在运行：请先停止它。",
                f"the kiosk of {folder} is running already: stop it first",
            ) from None
        yield
    finally:
        os.close(fd)


def is_running(folder: Path) -> bool:
    """Whether some process runs this kiosk now."""
    try:
        if not (folder / RUN_LOCK).is_file():
            return False
        with run_lock(folder):
            return False
    except AlreadyRunning:
        return True
    except OSError:
        return False  # nothing can be kept there: whoever asks finds out why
