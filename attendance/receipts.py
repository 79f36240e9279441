"""The receipt of an erasure: an `erasure` record whose detail the kiosk signed, for the desk.

The server passes receipts on and could make one up; the desk pins each kiosk's key and checks.
"""

from __future__ import annotations

from attendance.records import Record
from attendance.signing import SIGNATURE_BYTES, DeviceKeys, check, from_text, to_text

DOMAIN = "quxiang/erasure/1"
_WORDS = "templates erased with gallery version {}; signed "


def _claim(device: str, official: str, version: int) -> bytes:
    return f"{device}\n{official}\n{version}".encode()


def receipt_detail(keys: DeviceKeys, device: str, official: str, version: int) -> str:
    """The detail of the record by which a kiosk confirms an erasure asked for by that manifest."""
    signature = keys.sign(DOMAIN, _claim(device, official, version))
    return _WORDS.format(version) + to_text(signature)


def receipt_signature(record: Record) -> str | None:
    """The signature in such a record, base64; None where it holds none."""
    head = _WORDS.format(record.gallery)
    detail = record.detail or ""
    return detail.removeprefix(head) if detail.startswith(head) else None


def check_receipt(
    sign_key: bytes, device: str, official: str, version: int, signature: str
) -> None:
    """Raises SignatureInvalid unless the kiosk with that key confirmed that erasure."""
    signed = from_text(signature, SIGNATURE_BYTES)
    check(sign_key, DOMAIN, _claim(device, official, version), signed)
