"""The tables (SQLAlchemy 2), by concern."""

from server.models.base import Base
from server.models.checkpoints import Checkpoint, CheckpointLeaves
from server.models.devices import (
    Contact,
    Device,
    GalleryRow,
    PairingAttempt,
    PairingCodeRow,
    WithdrawalRow,
)
from server.models.evidence import EpochRow, Quarantined, RecordRow, RejectedRecord
from server.models.office import (
    AuditEntry,
    LeaveDecision,
    LeaveRow,
    LoginThrottle,
    Role,
    User,
)
from server.models.places import (
    MONDAY_TO_FRIDAY,
    Expectation,
    Official,
    Site,
    Township,
    WorkGroup,
)

__all__ = [
    "MONDAY_TO_FRIDAY",
    "AuditEntry",
    "Base",
    "Checkpoint",
    "CheckpointLeaves",
    "Contact",
    "Device",
    "EpochRow",
    "Expectation",
    "GalleryRow",
    "LeaveDecision",
    "LeaveRow",
    "LoginThrottle",
    "Official",
    "PairingAttempt",
    "PairingCodeRow",
    "Quarantined",
    "RecordRow",
    "RejectedRecord",
    "Role",
    "Site",
    "Township",
    "User",
    "WithdrawalRow",
    "WorkGroup",
]
