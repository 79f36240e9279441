"""A batch as it was sent: unpacked, its signature and chain checked, its records decoded."""

from __future__ import annotations

from dataclasses import dataclass

from attendance import wire
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.records import Record, decode_records
from server.errors import ApiProblem


@dataclass(frozen=True)
class Upload:
    """A batch whose own claims hold, before the database was asked anything.

    `heads[i]` is the head after `payloads[i]`; `records[i]` the record, or why it is none.
    """

    batch: wire.Batch
    payloads: list[bytes]
    heads: list[bytes]
    records: list[Record | str]


def read_batch(device: str, sign_key: bytes, body: bytes) -> Upload:
    """A batch of that device, verified and decoded; needs no database.

    Raises ApiProblem: too_large, malformed, signature.
    """
    if len(body) > wire.MAX_COMPRESSED:
        raise ApiProblem(413, "too_large", f"a batch has at most {wire.MAX_COMPRESSED} bytes")
    try:
        batch, payloads, heads = wire.open_batch(body, sign_key)
    except SignatureInvalid as error:
        raise ApiProblem(401, "signature", str(error)) from None
    except WireInvalid as error:
        raise ApiProblem(400, "malformed", str(error)) from None
    if batch.device != device:
        raise ApiProblem(400, "malformed", "the batch is of another device")
    records = decode_records(payloads, device, batch.epoch, batch.first)
    return Upload(batch, payloads, heads, records)
