"""The same galleries as `sync` leaves at the server, in one file for a USB stick."""

from __future__ import annotations

from pathlib import Path

import msgspec

from attendance import wire
from attendance.signing import to_text
from enroll.desk import Desk
from enroll.errors import EnrollError
from enroll.files import write_private
from enroll.seal import OnHash, Sealed, Sealer


class UsbFile(wire.Reply, frozen=True, kw_only=True):
    """The file: a package for each kiosk, by device, and the key of the desk that signed them, for
    kiosks that are to take another desk by its mark."""

    v: int = wire.VERSION
    packages: dict[str, wire.GalleryPackage]
    desk_key: str | None = None


def export(
    desk: Desk, path: Path, *, above: int = 0, on_hash: OnHash | None = None
) -> list[Sealed]:
    """Seal anew for every known kiosk that is not revoked, and write `path` (mode 0600).

    above: a version that a kiosk says it had, which this desk knows nothing of.
    Raises EnrollError where no kiosk is known, NotPaired, DeskUnusable, GalleryTooLarge.
    """
    keys = desk.keys()
    kiosks = [kiosk for kiosk in desk.ledger.kiosks() if not kiosk.revoked]
    if not kiosks:
        raise EnrollError(
            "还不知道任何一体机：请先配对一体机，并联网运行一次 quxiang-enroll sync",
            "no kiosk is known yet: pair one, and run quxiang-enroll sync once with the server",
        )
    sealer = Sealer(desk.store, desk.ledger)
    sealed = [
        sealer.seal_for(
            kiosk, keys, desk.now_ms(), held=max(kiosk.put_version, above), on_hash=on_hash
        )
        for kiosk in kiosks
    ]
    body = UsbFile(
        packages={each.kiosk.device: each.package for each in sealed},
        desk_key=to_text(keys.sign_public),
    )
    write_private(path.expanduser().absolute(), msgspec.json.encode(body))
    return sealed
