"""Whole exchanges over real HTTP with a township that remembers, and that can misbehave."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from attendance.errors import ChainBroken, QuxiangError, SignatureInvalid
from attendance.receipts import check_receipt, receipt_signature
from attendance.signing import DeviceKeys, to_text
from attendance.statuses import Kind, Method, Status
from attendance.wire import GALLERY, GalleryContents, Person, WhereaboutsRow
from kiosk.config import KioskConfig, load_config, load_keys, save_config
from kiosk.errors import ServerRefused, ServerUnreachable
from kiosk.fakes import FakeClock, FakeTownship, package
from kiosk.pairing import pair
from kiosk.store import Draft, Store
from kiosk.sync import SyncClient, SyncLoop, SyncReport, last_contact, last_snapshot
from kiosk.vault import Vault


class Site:
    """A paired kiosk, its store, its vault and its township."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.township = FakeTownship()
        self.clock = FakeClock()
        self.config = pair(folder, self.township.url, str(self.township.code))
        self.keys = load_keys(folder)
        self.store = Store.open(folder / "kiosk.db", self.config.device)
        self.vault = Vault(folder / "vault")
        self.client = self.new_client()

    def new_client(self) -> SyncClient:
        return SyncClient(
            load_config(self.folder),
            self.keys,
            self.store,
            self.vault,
            self.clock,
            save=lambda config: save_config(self.folder, config),
        )

    def record(self, official: str = "A-1", count: int = 1) -> None:
        for _ in range(count):
            draft = Draft(
                kind=Kind.CHECKIN, official=official, status=Status.IN_VILLAGE, method=Method.PIN
            )
            self.store.record(draft, self.clock.read())
            self.clock.advance(1)

    @property
    def device(self) -> str:
        return self.config.device

    def officials(self) -> list[str | None]:
        return [record.official for record in self.township.stored(self.device)]

    def enrol(self, version: int, *officials: str, tombstones: tuple[str, ...] = ()) -> None:
        template = np.eye(1, 4, dtype="<f4").tobytes()
        contents = GalleryContents(
            device=self.device,
            version=version,
            model="m",
            dimension=4,
            pin_key=b"k" * 32,
            people=[Person(official=o, name=o, title="", templates=template) for o in officials],
        )
        self.township.galleries[self.device] = package(
            self.township.desk, self.keys.box_public, contents, tombstones=tombstones
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.client.close()
    opened.store.close()
    opened.township.close()


def test_an_exchange_brings_records_up_and_whereabouts_down(site: Site) -> None:
    site.record("A-1")
    site.record("A-2")
    site.township.rows = [
        WhereaboutsRow(official="A-9", name="赵", title="", status=Status.ON_DUTY)
    ]
    report = site.client.exchange()
    assert (report.sent, report.stored, report.duplicate, report.rejected) == (2, 2, 0, 0)
    assert report.pending == 0
    assert report.snapshot is not None
    assert [row.official for row in report.snapshot.rows] == ["A-9"]
    assert last_snapshot(site.store) == report.snapshot
    assert last_contact(site.store) == report.heard_ms == site.clock.wall_ms
    assert site.officials() == ["A-1", "A-2"]
    asked = [path.rsplit("/", 1)[1] for _, path in site.township.requests]
    paths = [path for path in asked if path != "pair"]
    assert paths == ["cursor", "records", "cursor", "whereabouts"]
    assert [c.pending for c in site.township.cursors] == [2, 0]
    assert site.township.cursors[1].anchor == "a1"
    again = site.client.exchange()
    assert (again.sent, again.pending) == (0, 0)


def test_only_an_ack_empties_the_outbox(site: Site) -> None:
    site.record(count=3)
    site.township.drop_answers = 1
    with pytest.raises(ServerUnreachable):
        site.client.exchange()
    assert site.store.pending() == 3
    assert len(site.township.stored(site.device)) == 3
    report = site.client.exchange()
    assert (report.stored, report.duplicate, report.pending) == (0, 3, 0)
    assert len(site.township.stored(site.device)) == 3


def test_one_bad_record_blocks_nobody(site: Site) -> None:
    site.township.reject.add("bad")
    for official in ("A-1", "bad", "A-2"):
        site.record(official)
    report = site.client.exchange()
    assert (report.stored, report.rejected, report.pending) == (2, 1, 0)
    pile = site.store.rejected()
    assert [(row.seq, row.why, row.record.official) for row in pile] == [
        (2, "ordered by the test", "bad")
    ]


def test_more_than_a_batch(site: Site) -> None:
    site.record(count=3)
    batch = site.store.batch(1, 0, 2)
    assert batch is not None
    assert len(batch.payloads) == 2
    with site.store.transaction() as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone()[0] == 3
    site.record(count=600)
    report = site.client.exchange()
    assert (report.sent, report.stored, report.pending) == (603, 603, 0)
    posts = [path for _, path in site.township.requests if path.endswith("records")]
    assert len(posts) == 2


def test_a_server_from_an_older_backup_gets_everything_again(site: Site) -> None:
    site.record(count=5)
    site.client.exchange()
    del site.township.records[site.device][1][2:]
    site.record("A-2")
    report = site.client.exchange()
    assert (report.sent, report.stored, report.pending) == (4, 4, 0)
    assert len(site.township.stored(site.device)) == 6


def test_a_server_older_than_what_the_kiosk_keeps_is_told_what_to_do(site: Site) -> None:
    site.record(count=6)
    site.client.exchange()
    with site.store.transaction() as db:  # as `kiosk.prune` does, more than a year later
        head = db.execute("SELECT head FROM records WHERE seq = 4").fetchone()[0]
        db.execute("INSERT INTO pruned VALUES (1, 4, ?)", (head,))
        db.execute("DELETE FROM records WHERE seq <= 4")
    del site.township.records[site.device][1][2:]
    site.record("A-2")
    site.enrol(2, "A-1", tombstones=("A-2",))
    for _ in range(2):
        with pytest.raises(ServerRefused) as caught:
            site.client.exchange()
        assert caught.value.word == "gap"
        assert "from number 3 on, this kiosk keeps those from 5 on" in caught.value.words("en")
        assert "恢复较新的备份" in caught.value.words("zh")
        assert site.vault.version == 2, "who withdrew is erased all the same"
        assert site.store.pending() == 2, "the receipt waits with the check-in"
    kept = site.township.records[site.device][1]
    kept += [b"{}", b"{}"]  # not those that were there: another history, and told so
    with pytest.raises(ServerRefused) as caught:
        site.client.exchange()
    assert caught.value.word == "fork"


@pytest.mark.parametrize("fault", [(429, 900), (503, 7), (500, None), "cut"])
def test_who_withdrew_is_erased_also_where_uploads_get_no_answer_for_long(
    site: Site, fault: tuple[int, int | None] | str
) -> None:
    site.enrol(1, "A-1", "A-2")
    site.record()
    site.client.exchange()
    site.record(count=2)
    site.enrol(2, "A-1", tombstones=("A-2",))
    for _ in range(2):
        if isinstance(fault, str):
            site.township.drop_answers = 9
        else:
            site.township.upload_answer = fault
        with pytest.raises(ServerUnreachable) as caught:
            site.client.exchange()
        assert caught.value.heard
        if not isinstance(fault, str):
            assert caught.value.retry_after_s == fault[1]
        assert site.vault.version == 2
        held = site.vault.contents()
        assert held is not None
        assert [p.official for p in held.people] == ["A-1"]
        waiting = site.store.first_pending()
        assert waiting is not None, "the receipt waits with the check-ins"
    asked = [path for _, path in site.township.requests if path == GALLERY]
    assert len(asked) == 2, "once for each version"
    site.township.upload_answer, site.township.drop_answers = None, 0
    assert site.client.exchange().pending == 0
    assert [r.official for r in site.township.stored(site.device) if r.kind is Kind.ERASURE] == [
        "A-2"
    ]


def test_who_withdrew_is_erased_also_where_the_chain_is_broken(site: Site) -> None:
    site.record()
    site.client.exchange()
    site.record(count=2)
    with site.store.transaction() as db:
        db.execute("DELETE FROM records WHERE seq = 2")
    site.enrol(2, "A-1", tombstones=("A-2",))
    with pytest.raises(ChainBroken):
        site.client.exchange()
    assert site.vault.version == 2


def lose_tail(site: Site, count: int) -> None:
    """The card forgets the last records, and what it knew of their acks."""
    site.store.close()
    with sqlite3.connect(site.folder / "kiosk.db") as db:
        db.execute("DELETE FROM outbox")
        last = db.execute("SELECT max(seq) FROM records").fetchone()[0]
        db.execute("DELETE FROM records WHERE seq > ?", (last - count,))


def test_a_card_that_lost_its_tail_opens_an_epoch(site: Site) -> None:
    site.record(count=5)
    site.client.exchange()
    lose_tail(site, 3)
    with site.store.transaction() as db:  # and the ack of record 2
        db.execute("INSERT INTO outbox VALUES (1, 2)")
    report = site.client.exchange()
    assert (report.stored, report.pending) == (1, 0)
    site.record("A-8")
    assert site.client.exchange().stored == 1
    known = [(r.epoch, r.seq, str(r.kind)) for r in site.township.stored(site.device)]
    assert known[4:] == [(1, 5, "checkin"), (2, 1, "fault"), (2, 2, "checkin")]
    assert site.store.verify() == 4
    site.township.records[site.device].pop(2)  # the server comes back from an older backup
    del site.township.records[site.device][1][1:]
    assert site.client.exchange().sent == 3


def test_a_card_that_lost_its_tail_and_went_on_is_a_fork(site: Site) -> None:
    site.record(count=5)
    site.client.exchange()
    lose_tail(site, 3)
    site.record("A-7", count=600)  # from number 3 on, which the server has otherwise
    for _ in range(2):
        with pytest.raises(ServerRefused) as caught:
            site.client.exchange()
        assert caught.value.word == "fork"
    assert len(site.township.aside) == 600, "handed over for the review, once"
    assert site.store.pending() == 600


def test_time_proofs_make_records_sure(site: Site) -> None:
    site.clock.wall_ms = 0  # no battery: 1970
    site.township.now_ms = 1_780_000_000_000
    site.record()
    report = site.client.exchange()
    facts = site.store.facts(site.township.now_ms - 10_000, site.township.now_ms + 10_000)
    assert [fact.when.cls for fact in facts] == ["A"]
    assert facts[0].when.at_ms == pytest.approx(site.township.now_ms - 1000, abs=20)
    assert report.wall_off_ms == 1000 - site.township.now_ms
    site.record()
    assert site.store.last_of("A-1").anchor == "a1"  # type: ignore[union-attr]


def test_a_boot_between_two_proofs_is_bracketed(site: Site) -> None:
    site.client.exchange()
    site.clock.reboot()
    site.clock.advance(3600)
    site.record("A-2")  # in a boot that never reached the server
    site.clock.reboot()
    site.clock.advance(3600)
    site.township.now_ms += 7_300_000
    site.client.exchange()
    (fact,) = site.store.facts(0, 2**62)
    assert fact.when.cls == "B"
    assert fact.when.earliest_ms <= site.clock.wall_ms - 3_600_000 <= fact.when.latest_ms


def test_the_gallery_comes_down_and_withdrawal_leaves_a_receipt(site: Site) -> None:
    site.enrol(1, "A-1", "A-2")
    assert site.client.exchange().gallery_installed
    first = {p: p.read_bytes() for p in (site.folder / "vault").glob("*.key")}
    site.enrol(2, "A-1", tombstones=("A-2",))
    report = site.client.exchange()
    assert (report.gallery_version, report.sent, report.pending) == (2, 1, 0)
    assert not any(path.exists() for path in first)
    receipt = site.township.stored(site.device)[-1]
    assert (receipt.kind, receipt.official, receipt.gallery) == (Kind.ERASURE, "A-2", 2)
    site.client.exchange()
    assert len(site.township.stored(site.device)) == 1, "one receipt for one manifest"
    # Enrolled anew in version 3 and withdrawn in 4: the kiosk was away, and sees 4 only.
    site.enrol(4, "A-1", tombstones=("A-2",))
    site.client.exchange()
    receipt = site.township.stored(site.device)[-1]
    assert (receipt.official, receipt.gallery) == ("A-2", 4), "the first one masks nothing"
    signature = receipt_signature(receipt)
    assert signature is not None
    check_receipt(site.keys.sign_public, site.device, "A-2", 4, signature)
    with pytest.raises(SignatureInvalid):
        check_receipt(site.keys.sign_public, site.device, "A-2", 2, signature)


def test_a_power_cut_before_the_receipt_leaves_none_out(site: Site) -> None:
    site.enrol(2, "A-1", tombstones=("A-2",))
    package = site.township.galleries[site.device]
    site.vault.install(package, site.config, site.keys, site.clock.wall_ms, site.store)
    assert site.store.pending() == 0
    assert site.client.exchange().sent == 1
    assert site.officials() == ["A-2"]


def test_a_bad_gallery_stops_nothing(site: Site) -> None:
    site.enrol(1, "A-1")
    site.client.exchange()
    good = site.township.galleries[site.device]
    stranger = DeviceKeys.generate()
    site.township.desk, desk = stranger, site.township.desk
    site.enrol(2, "A-1")
    site.record()
    report = site.client.exchange()
    assert report.gallery_fault is not None
    assert (report.gallery_version, report.pending) == (1, 0)
    site.township.desk = desk
    site.township.galleries[site.device] = good


def test_another_desk_is_not_taken_silently(site: Site) -> None:
    pinned = site.client.config.desk_key
    site.township.desk_key = to_text(DeviceKeys.generate().sign_public)
    assert site.client.exchange().desk_changed
    assert load_config(site.folder).desk_key == pinned


def test_a_desk_that_comes_later_is_pinned(tmp_path: Path) -> None:
    site = Site(tmp_path / "late")
    save_config(site.folder, KioskConfig(**{**_fields(site.config), "desk_key": None}))
    site.client = site.new_client()
    report = site.client.exchange()
    assert not report.desk_changed
    assert load_config(site.folder).desk_key == site.township.desk_key
    site.client.close()
    site.store.close()
    site.township.close()


def _fields(config: KioskConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def test_another_server_is_not_believed(site: Site) -> None:
    site.record()
    site.township.seed = DeviceKeys.generate().sign_seed
    with pytest.raises(ServerRefused) as caught:
        site.client.exchange()
    assert caught.value.word == "signature"
    assert site.store.pending() == 1


def test_down_busy_and_revoked(site: Site) -> None:
    site.record()
    site.township.down()
    with pytest.raises(ServerUnreachable) as caught:
        site.client.exchange()
    assert caught.value.retry_after_s is None
    site.township.up()
    site.township.answer = (503, 7)
    with pytest.raises(ServerUnreachable) as caught:
        site.client.exchange()
    assert caught.value.retry_after_s == 7
    site.township.answer = (429, 10**9)
    with pytest.raises(ServerUnreachable) as caught:
        site.client.exchange()
    assert caught.value.retry_after_s == 900
    site.township.answer = None
    site.township.revoked = True
    with pytest.raises(ServerRefused) as refused:
        site.client.exchange()
    assert refused.value.word == "revoked"
    assert (site.officials(), len(site.township.aside), site.store.pending()) == ([], 1, 1)


def test_an_exchange_that_breaks_off_says_whether_the_server_had_answered(site: Site) -> None:
    site.record()
    site.township.drop_answers = 1
    with pytest.raises(ServerUnreachable) as caught:
        site.client.exchange()
    assert caught.value.heard  # the cursor came, the ack of the records did not
    assert caught.value.cut
    site.township.answer = (503, 7)
    with pytest.raises(ServerUnreachable) as caught:
        site.client.exchange()
    assert not caught.value.heard
    site.township.down()
    with pytest.raises(ServerUnreachable) as caught:
        site.client.exchange()
    assert not caught.value.cut  # nobody took the connection


def test_a_fork_is_told_and_recording_goes_on(site: Site) -> None:
    site.record()
    site.client.exchange()
    payload = site.township.records[site.device][1][0]
    site.township.records[site.device][1][0] = payload.replace(b"A-1", b"A-2")
    site.record()
    with pytest.raises(ServerRefused) as caught:
        site.client.exchange()
    assert caught.value.word == "fork"
    site.record()
    assert site.store.pending() == 2


def test_the_loop_sends_soon_and_survives_faults(site: Site) -> None:
    reports: list[SyncReport] = []
    faults: list[QuxiangError] = []
    came = threading.Event()

    def report(one: SyncReport) -> None:
        reports.append(one)
        came.set()
        if len(reports) == 2:
            raise RuntimeError("a listener's own fault")

    failed = threading.Event()

    def fault(error: QuxiangError) -> None:
        faults.append(error)
        failed.set()

    loop = SyncLoop(site.client, report, fault, interval_s=0.05)
    loop.start()
    assert came.wait(10)
    came.clear()
    site.record()
    loop.poke()
    assert came.wait(10)
    assert failed.wait(10)
    failed.clear()
    site.township.down()
    site.record()
    loop.poke()
    assert failed.wait(10)
    site.township.up()
    came.clear()
    for _ in range(100):
        if site.store.pending() == 0:
            break
        came.wait(0.2)
    loop.stop()
    loop.stop()
    assert site.store.pending() == 0
    assert sum(report.stored for report in reports) == 2
    assert any(isinstance(error, ServerUnreachable) for error in faults)
