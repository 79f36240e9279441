"""Who this desk is: the pairing and the device keys, each in a private file of the data folder.

The folder holds `desk.json` (pairing), `device.key` (the two secret keys of the wire), `desk.key`
(what encrypts templates and PINs at rest, see `enroll.keyring`), `desk.db` and two lock files.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from attendance.signing import KEY_BYTES, DeviceKeys
from enroll.errors import DeskUnusable, NotPaired
from enroll.files import make_private, unusable, write_private

DEFAULT_DATA = Path("~/.local/share/quxiang/enroll")


class DeskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The pairing. `server_key` is the server's Ed25519 key, pinned.

    `ca` is the path of a certificate file to trust for the server's TLS, `pin` the SHA-256 of the
    one certificate that the pairing code vouched for; neither: the system's authorities.
    """

    server: str
    device: str
    township: str
    server_key: bytes
    paired_ms: int
    ca: str | None = None
    pin: str | None = None


class _Keys(msgspec.Struct, frozen=True):
    sign_seed: bytes
    box_seed: bytes


def config_path(data: Path) -> Path:
    """Where the pairing is kept."""
    return data / "desk.json"


def load_config(data: Path) -> DeskConfig:
    """The pairing. Raises NotPaired or DeskUnusable."""
    path = config_path(data)
    try:
        return msgspec.json.decode(path.read_bytes(), type=DeskConfig)
    except FileNotFoundError:
        raise NotPaired(
            "本机还没有配对：请先运行 quxiang-enroll pair --server URL --code CODE",
            "this desk is not paired yet: run quxiang-enroll pair --server URL --code CODE first",
        ) from None
    except OSError as error:
        raise unusable(path, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(path) from None


def save_config(data: Path, config: DeskConfig) -> None:
    """Keep the pairing, mode 0600. Raises DeskUnusable."""
    make_private(data)
    write_private(config_path(data), msgspec.json.encode(config))


def load_keys(data: Path, *, create: bool = False) -> DeviceKeys:
    """The desk's two secret keys; made where there are none and `create` is set.

    Raises NotPaired or DeskUnusable.
    """
    path = data / "device.key"
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Keys)
    except FileNotFoundError:
        if not create:
            raise NotPaired(
                f"缺少密钥文件 {path}：请重新配对本机",
                f"the key file {path} is missing: pair this desk again",
            ) from None
        keys = DeviceKeys.generate()
        make_private(data)
        write_private(path, msgspec.json.encode(_Keys(keys.sign_seed, keys.box_seed)))
        return keys
    except OSError as error:
        raise unusable(path, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(path) from None
    if len(kept.sign_seed) != KEY_BYTES or len(kept.box_seed) != KEY_BYTES:
        raise _damaged(path)
    return DeviceKeys(kept.sign_seed, kept.box_seed)


def _damaged(path: Path) -> DeskUnusable:
    return DeskUnusable(
        f"{path} 已损坏：请从备份恢复，或重新配对本机",
        f"{path} is damaged: restore it from a backup, or pair this desk again",
    )
