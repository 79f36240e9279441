"""Checkpoints: when one is made, and the tree that it signs."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from attendance import wire
from server.models import Checkpoint
from server.services.evidence.merkle import Tree, leaf_hash
from server.services.evidence.verify import verify

from .conftest import MORNING, Kiosk, Machine, Office


def test_a_checkpoint_is_made_at_the_first_contact_of_an_hour(
    office: Office, village: Kiosk, desk: Machine
) -> None:
    def made() -> list[int]:
        with office.context.database.session() as session:
            return [c.at_ms for c in session.query(Checkpoint).order_by(Checkpoint.id)]

    start = int(MORNING.timestamp() * 1000)
    assert made() == [start]  # pairing: the first thing that was written
    village.record()
    village.sync()
    office.clock.step(minutes=59)
    village.cursor()
    assert made() == [start]
    office.clock.step(minutes=1)
    assert desk.send("GET", wire.DESK_SITES).status_code == 200
    assert made() == [start], "who only reads adds nothing"
    village.cursor()
    assert made() == [start, start + 3_600_000]
    office.clock.step(days=-4000)
    village.reboot()
    village.cursor()
    office.clock.now = MORNING + timedelta(hours=3)
    village.cursor()
    assert len(made()) == 4, "a clock set back and forth delays none for years"
    with office.context.database.session() as session:
        assert list(verify(session, office.context.keys.sign_public)) == []


def _root(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written there."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + _root(hashes[:k]) + _root(hashes[k:])).digest()


@given(st.lists(st.integers(0, 40), max_size=6))
def test_the_tree_is_that_of_rfc_6962_however_it_grew(steps: list[int]) -> None:
    tree = Tree()
    hashes: list[bytes] = []
    for count in steps:
        more = [leaf_hash(bytes([len(hashes) + n & 255])) for n in range(count)]
        hashes += more
        tree.extend(more)
        tree = Tree(tree.size, tree.frontier)
        assert (tree.size, tree.root) == (len(hashes), _root(hashes))
