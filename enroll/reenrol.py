"""Those whom the township wants enrolled again, since somebody else was taken for them."""

from __future__ import annotations

from dataclasses import dataclass

from attendance.reenrol import Reenrolled, Reenrolment
from enroll.client import Client
from enroll.errors import ServerRefused
from enroll.store import Store


@dataclass(frozen=True)
class Asked:
    """One official to be enrolled again; `day` is when the wrong person was taken."""

    finding: int
    official: str
    day: str


class Reenrolments:
    """What the server asks is kept beside the mark that the face had then: another mark is a newer
    enrolment. The log of who asked and what came of it is the server's."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def exchange(self, client: Client) -> tuple[int, int]:
        """Take what is asked and tell what is done: (newly asked, told).

        Raises as `Client`; a server that asks nothing of the kind is left alone.
        """
        try:
            offered = client.reenrolments()
        except ServerRefused as error:
            if error.status == 404:
                return 0, 0
            raise
        fresh = self._keep(offered)
        told = 0
        faces = self._marks()
        known = {row.official for row in self.store.officials()}
        for finding, official, mark in self.store.rows(
            "SELECT finding, official, mark FROM reenrolments ORDER BY finding, official"
        ):
            now = faces.get(official)
            if now == mark and (now is not None or official not in known):
                continue  # as it was; or another desk's
            client.reenrolled(
                Reenrolled(finding=finding, official=official, face=now is not None)
            )
            with self.store.transaction() as db:
                db.execute(
                    "DELETE FROM reenrolments WHERE finding = ? AND official = ?",
                    (finding, official),
                )
            told += 1
        return fresh, told

    def waiting(self) -> list[Asked]:
        """Everybody asked for and not enrolled again yet, as of the last sync."""
        return [
            Asked(*row)
            for row in self.store.rows(
                "SELECT finding, official, day FROM reenrolments ORDER BY finding, official"
            )
        ]

    def _keep(self, offered: list[Reenrolment]) -> int:
        wanted = {(row.finding, row.official): row for row in offered}
        held = {
            (finding, official)
            for finding, official in self.store.rows("SELECT finding, official FROM reenrolments")
        }
        faces = self._marks()
        with self.store.transaction() as db:
            for finding, official in held - wanted.keys():  # closed, or undone, at the server
                db.execute(
                    "DELETE FROM reenrolments WHERE finding = ? AND official = ?",
                    (finding, official),
                )
            for key in wanted.keys() - held:
                row = wanted[key]
                db.execute(
                    "INSERT INTO reenrolments (finding, official, day, mark) VALUES (?, ?, ?, ?)",
                    (row.finding, row.official, row.day, faces.get(row.official)),
                )
        return len(wanted.keys() - held)

    def _marks(self) -> dict[str, str]:
        return dict(self.store.rows("SELECT official, mark FROM secrets WHERE kind = 'face'"))
