"""What a kiosk keeps in its folder, and who it is.

DIR/kiosk.json      this file's `KioskConfig`, 0600
DIR/device.key      the two secret keys of the device, 0600
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
from collections.abc import Iterator
from pathlib import Path

import msgspec

from attendance.errors import SignatureInvalid
from attendance.records import DeviceId
from attendance.signing import KEY_BYTES, DeviceKeys, from_text, to_text
from attendance.statuses import SiteKind
from kiosk.errors import AlreadyRunning, ConfigInvalid, NotPaired

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


def load_config(folder: Path) -> KioskConfig:
    """The kiosk of that folder. Raises NotPaired and ConfigInvalid."""
    path = folder / CONFIG
    try:
        config = msgspec.json.decode(path.read_bytes(), type=KioskConfig)
        _ = config.server_public, config.desk_public
    except FileNotFoundError:
        raise NotPaired(
            f"{folder} 还没有配对：请先运行 quxiang-kiosk pair。",
            f"{folder} is not paired yet: run quxiang-kiosk pair first",
        ) from None
    except (OSError, msgspec.DecodeError, SignatureInvalid) as error:
        raise ConfigInvalid(
            f"读不了 {path}：{error}。", f"{path} cannot be used: {error}"
        ) from error
    return config


def save_config(folder: Path, config: KioskConfig) -> None:
    """Writes it so that a power cut leaves the old one or the new one."""
    write_atomically(folder / CONFIG, msgspec.json.format(msgspec.json.encode(config)))


def load_keys(folder: Path) -> DeviceKeys:
    """The device's keys. Raises NotPaired and ConfigInvalid."""
    path = folder / KEYS
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
        return DeviceKeys(from_text(stored.sign, KEY_BYTES), from_text(stored.box, KEY_BYTES))
    except FileNotFoundError:
        raise NotPaired(
            f"{folder} 里没有设备密钥：请先运行 quxiang-kiosk pair。",
            f"{folder} has no device key: run quxiang-kiosk pair first",
        ) from None
    except (OSError, msgspec.DecodeError, SignatureInvalid):
        # The error's own words could quote the key.
        raise ConfigInvalid(
            f"密钥文件 {path} 损坏：请恢复备份或重新配对。",
            f"the key file {path} is damaged: restore a backup or pair anew",
        ) from None


def keys_of(folder: Path) -> DeviceKeys:
    """The device's keys, made where there are none yet."""
    try:
        return load_keys(folder)
    except NotPaired:
        keys = DeviceKeys.generate()
        stored = _KeyFile(to_text(keys.sign_seed), to_text(keys.box_seed))
        write_atomically(folder / KEYS, msgspec.json.encode(stored))
        return keys


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
    """Held by the one process that runs this kiosk. Raises AlreadyRunning."""
    fd = os.open(folder / RUN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
    if not (folder / RUN_LOCK).is_file():
        return False
    try:
        with run_lock(folder):
            return False
    except AlreadyRunning:
        return True
