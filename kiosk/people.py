"""Whom this kiosk knows: the desk's gallery, and whoever the server's last snapshot adds."""

from __future__ import annotations

import hmac
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attendance.tokens import Kind, mark
from attendance.wire import GalleryContents, Snapshot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Person:
    """An official as the kiosk knows them.

    `expected` is False for whom only the server's snapshot names, not the desk's gallery.
    `second_factor` asks for the PIN after the face; `propose`: a picture may be proposed.
    """

    official: str
    name: str
    title: str = ""
    expected: bool = True
    has_face: bool = False
    has_pin: bool = False
    has_badge: bool = False
    second_factor: bool = False
    propose: bool = False


class People:
    """The people of one gallery and one snapshot. Immutable: build another when either changes."""

    def __init__(self, contents: GalleryContents | None = None, snapshot: Snapshot | None = None):
        self._contents = contents
        known: dict[str, Person] = {}
        for person in contents.people if contents else ():
            known[person.official] = Person(
                person.official,
                person.name,
                person.title,
                has_face=bool(person.templates),
                has_pin=person.pin is not None,
                has_badge=person.badge is not None,
                second_factor=person.second_factor,
                propose=person.propose,
            )
        for row in snapshot.rows if snapshot else ():
            if row.official not in known:
                known[row.official] = Person(row.official, row.name, row.title, expected=False)
        self._known = known
        self.proposing = any(person.propose for person in known.values())
        self._pins = {p.official: p.pin for p in contents.people if p.pin} if contents else {}
        everybody = contents.people if contents else []
        self._tokens: dict[Kind, list[tuple[bytes, str]]] = {
            "card": [(p.card, p.official) for p in everybody if p.card],
            "badge": [(p.badge, p.official) for p in everybody if p.badge],
        }

    @property
    def all(self) -> tuple[Person, ...]:
        """Everybody, in the desk's order, those of the snapshot after them."""
        return tuple(self._known.values())

    @property
    def model(self) -> str | None:
        """The model id of the templates, None while there is no gallery."""
        return self._contents.model if self._contents else None

    @property
    def version(self) -> int:
        """The gallery's version, 0 while there is none."""
        return self._contents.version if self._contents else 0

    @property
    def pin_key(self) -> bytes:
        """The secret that the PIN hashes are keyed with; empty while there is no gallery."""
        return self._contents.pin_key if self._contents else b""

    def pin_hash(self, official: str) -> str | None:
        """The argon2id hash of an official's PIN, None where none is enrolled."""
        return self._pins.get(official)

    def owner(self, kind: Kind, token: str) -> Person | None:
        """Whose card number or badge code that is; takes the same time whoever's it is."""
        if not self.pin_key:
            return None
        made = mark(self.pin_key, kind, token)
        found = [who for kept, who in self._tokens[kind] if hmac.compare_digest(kept, made)]
        return self._known[found[0]] if len(found) == 1 else None

    def get(self, official: str) -> Person | None:
        """The official with that id."""
        return self._known.get(official)

    def find(self, text: str) -> Person | None:
        """By id, or by a name that only one person here has. Spaces and full width are forgiven."""
        plain = unicodedata.normalize("NFKC", text).strip()
        exact = self._known.get(plain)
        if exact is not None:
            return exact
        everybody = self._known.values()
        same = [p for p in everybody if p.name == plain] or [
            p for p in everybody if p.official.lower() == plain.lower()
        ]
        return same[0] if len(same) == 1 else None

    @property
    def cards(self) -> int:
        """How many have a card."""
        return len(self._tokens["card"])

    def gallery_entries(self) -> list[tuple[str, NDArray[np.float32]]]:
        """`(official, templates)` for `recognition.gallery.Gallery.replace`; templates (k, d)."""
        import numpy as np

        if self._contents is None:
            return []
        dimension = self._contents.dimension
        return [
            (p.official, np.frombuffer(p.templates, "<f4").reshape(-1, dimension).astype("f4"))
            for p in self._contents.people
            if p.templates
        ]

    @property
    def dimension(self) -> int:
        """Numbers in one template, 0 while there is no gallery."""
        return self._contents.dimension if self._contents else 0

    def __len__(self) -> int:
        return len(self._known)
