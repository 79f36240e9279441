"""Paired devices, the codes that pair them, their contacts and their sealed galleries."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models.base import Base, Big, Id, OfTownship
from server.models.places import Site


class Device(OfTownship, Base):
    """A kiosk or desk. Keys are 32 raw bytes.

    `(epoch, seq, head)` is the server's cursor in the kiosk's chain. `complete_until_ms`: every
    record made before that moment of server time has arrived. `gallery_version` is the highest
    version ever accepted for it, whether or not its package is still held. `fork_ms` is set once
    the device showed two histories. Where that was settled, the kiosk goes on in an epoch above
    `settled_epoch`, and what its other history holds is set aside. Records up to `(pruned_epoch,
    pruned_seq)`, after which the head was `pruned_head`, are no longer held. `apart_from_ms`: from
    that moment on it may have seen people whom only records say that were set aside and that nobody
    has reviewed (`server.services.records.apart`); None where none wait. `seal` is the server's
    signature over the cursor, which it left at `(sealed_epoch, sealed_seq)`, `own_seal` that over
    who the device is and what is concluded from it (`server.services.evidence.deviceseals`).
    """

    __tablename__ = "device"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    # What they were is looked at before the row is sealed anew: `active_history`.
    kind: Mapped[str] = mapped_column(String(10))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"), active_history=True)
    sign_key: Mapped[bytes] = mapped_column(LargeBinary(32), active_history=True)
    box_key: Mapped[bytes] = mapped_column(LargeBinary(32), active_history=True)
    paired_ms: Mapped[int] = mapped_column(Big, active_history=True)
    revoked_ms: Mapped[int | None] = mapped_column(Big, active_history=True)
    fork_ms: Mapped[int | None] = mapped_column(Big, active_history=True)
    settled_epoch: Mapped[int | None] = mapped_column(Big, active_history=True)
    gallery_version: Mapped[int] = mapped_column(Big, default=0)
    gallery_on_device: Mapped[int] = mapped_column(Big, default=0)
    epoch: Mapped[int] = mapped_column(Big, default=1, active_history=True)
    seq: Mapped[int] = mapped_column(Big, default=0, active_history=True)
    head: Mapped[bytes] = mapped_column(LargeBinary(32), active_history=True)
    sealed_epoch: Mapped[int | None] = mapped_column(Big)
    sealed_seq: Mapped[int | None] = mapped_column(Big)
    seal: Mapped[bytes | None] = mapped_column(LargeBinary(64))
    own_seal: Mapped[bytes | None] = mapped_column(LargeBinary(64))
    pruned_epoch: Mapped[int | None] = mapped_column(Big, active_history=True)
    pruned_seq: Mapped[int | None] = mapped_column(Big, active_history=True)
    pruned_head: Mapped[bytes | None] = mapped_column(LargeBinary(32), active_history=True)
    pending: Mapped[int] = mapped_column(Big, default=0)
    last_contact_ms: Mapped[int | None] = mapped_column(Big)
    complete_until_ms: Mapped[int | None] = mapped_column(Big, active_history=True)
    apart_from_ms: Mapped[int | None] = mapped_column(Big, active_history=True)
    health: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    site: Mapped[Site | None] = relationship(lazy="joined")


class PairingCodeRow(OfTownship, Base):
    """A one-time code, of which only a keyed hash is kept."""

    __tablename__ = "pairing_code"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(10))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    made_ms: Mapped[int] = mapped_column(Big)
    expires_ms: Mapped[int] = mapped_column(Big)
    used_ms: Mapped[int | None] = mapped_column(Big)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("device.id"))


class PairingAttempt(Base):
    """A wrong code. Of no township: a wrong code does not say whose it was meant to be."""

    __tablename__ = "pairing_attempt"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at_ms: Mapped[int] = mapped_column(Big, index=True)
    remote: Mapped[str] = mapped_column(String(64), default="")


class Contact(Base):
    """Append-only: at `server_ms` the kiosk's chain stood at `(epoch, seq)`.

    So records up to there existed before, and those after it came later. `(server_ms, boot_id,
    boottime_ns)` is also a time proof, whose round trip the kiosk reports with a later contact:
    the `proof_*` columns are such a report, complete in itself, of an earlier contact.
    """

    __tablename__ = "contact"
    __table_args__ = (
        Index("ix_contact_when", "township_id", "server_ms", "device_id"),
        Index("ix_contact_place", "device_id", "epoch", "seq"),
        Index("ix_contact_boot", "device_id", "boot_id", "boottime_ns"),
        Index("ix_contact_proof", "device_id", "proof_boot_id", "proof_boottime_ns"),
    )

    # Not of OfTownship: its own index would double the first.
    township_id: Mapped[int] = mapped_column(ForeignKey("township.id"))
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    server_ms: Mapped[int] = mapped_column(Big, index=True)
    boot_id: Mapped[str] = mapped_column(String(36))
    boottime_ns: Mapped[int] = mapped_column(Big)
    epoch: Mapped[int] = mapped_column(Big)
    seq: Mapped[int] = mapped_column(Big)
    pending: Mapped[int] = mapped_column(Big)
    proof_server_ms: Mapped[int | None] = mapped_column(Big)
    proof_boot_id: Mapped[str | None] = mapped_column(String(36))
    proof_boottime_ns: Mapped[int | None] = mapped_column(Big)
    proof_rtt_ns: Mapped[int | None] = mapped_column(Big)


class GalleryRow(OfTownship, Base):
    """The newest sealed gallery of a kiosk, as the exact bytes that the desk sent."""

    __tablename__ = "gallery"

    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Big)
    people: Mapped[int] = mapped_column(Integer)
    package: Mapped[bytes] = mapped_column(LargeBinary)
    made_ms: Mapped[int] = mapped_column(Big)
    expires_ms: Mapped[int] = mapped_column(Big)
    received_ms: Mapped[int] = mapped_column(Big)


class WithdrawalRow(OfTownship, Base):
    """Append-only: an official withdrew consent."""

    __tablename__ = "withdrawal"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    official: Mapped[str] = mapped_column(String(32))
    at_ms: Mapped[int] = mapped_column(Big)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    received_ms: Mapped[int] = mapped_column(Big)
    note: Mapped[str | None] = mapped_column(Text)
