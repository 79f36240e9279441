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
from server.models.evidence import (
    ApartReview,
    EpochRow,
    Quarantined,
    RecordRow,
    RejectedRecord,
)
from server.models.logins import LoginSession, LoginThrottle, RecoveryCode, SecondFactor
from server.models.office import (
    TOWNSHIP_ROLES,
    AuditEntry,
    LeaveDecision,
    LeaveRow,
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
from server.models.programs import ApiToken
from server.models.proposals import Proposal
from server.models.public import Duty, PublicChoice, Visit, VisitStep
from server.models.retention import PruneLimit, PrunePoint
from server.models.rosters import (
    CalendarDay,
    GroupSite,
    ImportBatch,
    ImportDraft,
    PastExpectation,
    RosterDay,
    Shift,
    TermDecision,
    TermProposal,
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
from server.models.seals import RowSeal
from server.models.webhooks import Lease, Webhook, WebhookDelivery
from server.rules.calendar import MONDAY_TO_FRIDAY

__all__ = [
    "MONDAY_TO_FRIDAY",
    "TOWNSHIP_ROLES",
    "ApartReview",
    "ApiToken",
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
    "ImportDraft",
    "Lease",
    "LeaveDecision",
    "LeaveRow",
    "LeaveStep",
    "LoginSession",
    "LoginThrottle",
    "MonthSignature",
    "Official",
    "PairingAttempt",
    "PairingCodeRow",
    "PastExpectation",
    "Proposal",
    "PruneLimit",
    "PrunePoint",
    "PublicChoice",
    "Quarantined",
    "RecordRow",
    "RecoveryCode",
    "RejectedRecord",
    "Role",
    "RosterDay",
    "RowSeal",
    "SecondFactor",
    "Shift",
    "Site",
    "SpotCheck",
    "SpotDraw",
    "TermDecision",
    "TermProposal",
    "Township",
    "TownshipRule",
    "User",
    "Visit",
    "VisitStep",
    "Webhook",
    "WebhookDelivery",
    "WithdrawalRow",
    "WorkGroup",
]
