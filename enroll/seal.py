"""Sealing: what one kiosk may know, encrypted to its key and signed by the desk."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from argon2 import PasswordHasher

from attendance import tokens, wire
from attendance.days import DAY_MS
from attendance.signing import DeviceKeys, seal, to_text
from attendance.statuses import SiteKind
from enroll.errors import GalleryTooLarge
from enroll.ledger import Kiosk, Ledger
from enroll.proposals import asked_since
from enroll.store import Store, StoredFace

LIFETIME_MS = wire.GALLERY_DAYS * DAY_MS
"""A manifest's life (design notes on evidence: 90 days)."""
RENEW_MS = 30 * DAY_MS
"""Age at which a manifest is renewed: a desk switched on once a month never lets one lapse."""
# OWASP's password storage cheat sheet, argon2id: 19 MiB, two passes, one lane.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)

OnHash = Callable[[int, int], None]


@dataclass(frozen=True)
class Sealed:
    """A package on its way. `digest` tells the same content again; `faces` and `people` count."""

    kiosk: Kiosk
    version: int
    package: wire.GalleryPackage
    digest: str
    people: int
    faces: int


@dataclass(frozen=True)
class _Plan:
    model: str
    dimension: int
    people: list[wire.Person]  # pin, card and badge hold the marks of what will be hashed
    digest: str


def hash_pin(pin_key: bytes, digits: str) -> str:
    """argon2id (PHC string) of HMAC-SHA256(pin_key, six ASCII digits), as docs/wire.md says."""
    return HASHER.hash(hmac.digest(pin_key, digits.encode("ascii"), hashlib.sha256))


def _model(store: Store) -> tuple[str, int]:
    known = store.meta("model")
    if known is not None:
        return known, int(store.meta("dimension") or 0)
    # Nobody's face is enrolled yet: a gallery of PINs names the default engine all the same.
    from recognition.sface import SFaceEngine

    return SFaceEngine.model_id, SFaceEngine.dimension


class Sealer:
    """Decides what each kiosk holds. Reads every face once; make a new one for every round."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self.store = store
        self.ledger = ledger
        self._refused = store.refused()
        self._officials = [o for o in store.officials() if o.official not in self._refused]
        self._faces = {face.official: face for face in store.faces()}
        self._alike = store.alike()
        self._expected = store.expected()
        self._model, self._dimension = _model(store)

    @property
    def outdated(self) -> list[str]:
        """Officials whose templates are of an older model: sealed without a face."""
        return [who for who, face in self._faces.items() if face.model != self._model]

    def is_due(self, kiosk: Kiosk, held: int, now_ms: int) -> bool:
        """Whether the kiosk needs a new package; `held` is the version that the server holds."""
        return (
            held != kiosk.put_version
            or kiosk.put_version == 0
            or kiosk.made_ms is None
            or not 0 <= now_ms - kiosk.made_ms < RENEW_MS
            or self.ledger.has_new_tombstone(kiosk.device)
            or self._plan(kiosk).digest != kiosk.digest
        )

    def seal_for(
        self,
        kiosk: Kiosk,
        keys: DeviceKeys,
        now_ms: int,
        *,
        held: int = 0,
        on_hash: OnHash | None = None,
    ) -> Sealed:
        """The kiosk's next package, its version above every earlier one and above `held`.

        on_hash: called with (done, total) while PINs are hashed, some 20 ms each.
        Raises GalleryTooLarge.
        """
        plan = self._plan(kiosk)
        people = self._with_tokens(kiosk, self._with_pins(kiosk, plan.people, on_hash))
        # Hashing takes minutes: whoever withdrew meanwhile counts, for the number that says so.
        with self.store.transaction():
            buried = self.ledger.tombstones(kiosk.device)
            people = self._as_now(people, buried)
            with_faces = [p.official for p in people if p.templates]
            version = self.ledger.next_version(kiosk.device, held, with_faces, now_ms)
        contents = wire.GalleryContents(
            device=kiosk.device,
            version=version,
            model=plan.model,
            dimension=plan.dimension,
            pin_key=self.ledger.pin_key(kiosk.device),
            people=people,
            desk_box=keys.box_public,
        )
        sealed = seal(kiosk.box_public, wire.encode_contents(contents))
        manifest = wire.encode(
            wire.Manifest(
                device=kiosk.device,
                version=version,
                made_ms=now_ms,
                expires_ms=now_ms + LIFETIME_MS,
                model=plan.model,
                people=len(people),
                sealed_sha256=hashlib.sha256(sealed).hexdigest(),
                tombstones=buried,
            )
        )
        package = wire.GalleryPackage(
            manifest=msgspec.Raw(manifest),
            signature=to_text(keys.sign(wire.MANIFEST_DOMAIN, manifest)),
            sealed=to_text(sealed),
        )
        if len(wire.encode(package)) > wire.MAX_GALLERY:
            raise GalleryTooLarge(
                f"{kiosk.site} 的人脸库超过 {wire.MAX_GALLERY >> 20} MiB，无法下发",
                f"the gallery of {kiosk.site} has more than {wire.MAX_GALLERY >> 20} MiB",
            )
        return Sealed(kiosk, version, package, plan.digest, len(people), len(with_faces))

    def _as_now(self, people: list[wire.Person], buried: list[str]) -> list[wire.Person]:
        """Without the faces that were erased since they were read, nor those to be erased."""
        here, marks = self.store.known(), self.store.face_marks()
        found = []
        for person in people:
            who = person.official
            if who not in here:
                continue
            face = self._faces.get(who)
            if who in buried or who not in marks:
                person = msgspec.structs.replace(person, templates=b"", propose=False)
            elif person.templates and face is not None and face.mark != marks[who]:
                self._faces[who] = self.store.faces(who)[0]
                person = msgspec.structs.replace(person, templates=self._templates(who))
            found.append(person)
        return found

    def _plan(self, kiosk: Kiosk) -> _Plan:
        everybody = kiosk.site_kind is SiteKind.OFFICE
        buried = set(self.ledger.tombstones(kiosk.device))
        people = []
        for row in self._officials if everybody else self._known_at(kiosk.site):
            pin = self.store.pin(row.official)
            people.append(
                wire.Person(
                    official=row.official,
                    name=row.name,
                    title=row.title,
                    # A kiosk first confirms the old erasure, so that its receipt means something;
                    # a face enrolled anew follows after that.
                    templates=b"" if row.official in buried else self._templates(row.official),
                    pin=None if pin is None else pin.mark,
                    second_factor=row.official in self._alike,
                    card=self._token(row.official, "card"),
                    badge=self._token(row.official, "badge"),
                    propose=self._may_propose(row.official),
                )
            )
        told = [self._model, str(self._dimension), kiosk.box_key]
        digest = hashlib.sha256("\n".join(told).encode() + msgspec.msgpack.encode(people))
        return _Plan(self._model, self._dimension, people, digest.hexdigest())

    def _known_at(self, site: str) -> list[wire.RosterRow]:
        """The village's own people, then those of the desk whom only the server expects there.

        A guest of a day moves nobody's lamp: lamps follow this order where no wiring file does.
        """
        own = [row for row in self._officials if site in row.sites]
        return own + [
            row
            for row in self._officials
            if site in self._expected.get(row.official, ()) and site not in row.sites
        ]

    def _templates(self, official: str) -> bytes:
        face: StoredFace | None = self._faces.get(official)
        if face is None or face.model != self._model:
            return b""
        return face.templates.astype("<f4").tobytes()

    def _may_propose(self, official: str) -> bool:
        """Twins are left out: a picture of one may be the other's."""
        return (
            bool(self._templates(official))
            and official not in self._alike
            and asked_since(self.store, official) is not None
        )

    def _token(self, official: str, kind: tokens.Kind) -> bytes | None:
        kept = self.store.token(official, kind)
        return None if kept is None else kept.mark.encode()

    def _with_tokens(self, kiosk: Kiosk, people: list[wire.Person]) -> list[wire.Person]:
        return [
            msgspec.structs.replace(
                p,
                card=self._token_mark(kiosk, p.official, "card", p.card),
                badge=self._token_mark(kiosk, p.official, "badge", p.badge),
            )
            for p in people
        ]

    def _token_mark(
        self, kiosk: Kiosk, official: str, kind: tokens.Kind, mark: bytes | None
    ) -> bytes | None:
        kept = None if mark is None else self.store.token(official, kind)
        if kept is None:
            return None
        made = self.ledger.token_mark(kiosk.device, official, kind, kept.mark)
        if made is None:
            made = tokens.mark(self.ledger.pin_key(kiosk.device), kind, kept.text)
            self.ledger.keep_token_mark(kiosk.device, official, kind, kept.mark, made)
        return made

    def _with_pins(
        self, kiosk: Kiosk, people: list[wire.Person], on_hash: OnHash | None
    ) -> list[wire.Person]:
        key = self.ledger.pin_key(kiosk.device)
        known = {
            p.official: self.ledger.pin_hash(kiosk.device, p.official, p.pin)
            for p in people
            if p.pin
        }
        missing = [p for p in people if p.pin and known[p.official] is None]
        made: dict[str, tuple[str, str]] = {}
        for done, person in enumerate(missing):
            pin = self.store.pin(person.official)
            if pin is not None:
                made[person.official] = (pin.mark, hash_pin(key, pin.digits))
            if on_hash is not None:
                on_hash(done + 1, len(missing))
        self.ledger.keep_pin_hashes(kiosk.device, made)
        return [
            msgspec.structs.replace(
                p, pin=made[p.official][1] if p.official in made else known.get(p.official)
            )
            for p in people
        ]
