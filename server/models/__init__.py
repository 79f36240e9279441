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
    Expectation,
    Official,
    Site,
    Township,
    WorkGroup,
)
from server.models.public import Duty, PublicChoice, Visit, VisitStep
from server.models.rosters import (
    CalendarDay,
    GroupSite,
    ImportBatch,
    PastExpectation,
    RosterDay,
    Shift,
    TownshipRule,
)
from server.models.rulings import (
    Attachment,
    Correction,
    CorrectionDecision,
    Finding,
    FindingEvent,
    LeaveStep,
    MonthSignature,
    SpotCheck,
    SpotDraw,
)
from server.rules.calendar import MONDAY_TO_FRIDAY

__all__ = [
    "MONDAY_TO_FRIDAY",
    "Attachment",
    "AuditEntry",
    "Base",
    "CalendarDay",
    "Checkpoint",
    "CheckpointLeaves",
    "Contact",
    "Correction",
    "CorrectionDecision",
    "Device",
    "Duty",
    "EpochRow",
    "Expectation",
    "Finding",
    "FindingEvent",
    "GalleryRow",
    "GroupSite",
    "ImportBatch",
    "LeaveDecision",
    "LeaveRow",
    "LeaveStep",
    "LoginThrottle",
    "MonthSignature",
    "Official",
    "PairingAttempt",
    "PairingCodeRow",
    "PastExpectation",
    "PublicChoice",
    "Quarantined",
    "RecordRow",
    "RejectedRecord",
    "Role",
    "RosterDay",
    "Shift",
    "Site",
    "SpotCheck",
    "SpotDraw",
    "Township",
    "TownshipRule",
    "User",
    "Visit",
    "VisitStep",
    "WithdrawalRow",
    "WorkGroup",
]
