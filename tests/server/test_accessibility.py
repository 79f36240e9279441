"""Every page through axe-core, in both languages: no serious and no critical finding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from server.models import Official, Quarantined, RecordRow, User
from server.services.access import accounts, tokens
from server.services.programs import webhooks
from server.services.public.publication import page_of
from tests.axe import troubles

from .test_browser_pages import Reader, Served, check_width
from .web_seed import PASSWORD, fill, make_world

pytestmark = pytest.mark.browser

PUBLIC = ("/", "/?q=王", "/tv", "/duty", "/login")
STAFF = (
    "/day", "/day?date=2026-11-19", "/week", "/month", "/charts", "/discrepancies", "/corrections",
    "/corrections/A007", "/spotchecks", "/findings", "/allowance", "/officials", "/officials/A007",
    "/leave", "/duty/roster", "/visits", "/plates", "/publication", "/sites", "/settings/shifts",
    "/settings/roster", "/settings/roster/A007", "/settings/exceptions", "/settings/holidays",
    "/settings/rules", "/settings/groups", "/settings/sites", "/settings/import", "/audit",
    "/account", "/password", "/nope",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = make_world(tmp_path_factory.mktemp("axe"))
    fill(world)
    here = Served(world)
    yield here
    here.stop()


@pytest.mark.parametrize(
    ("lang", "size", "staff"),
    [("zh", "telephone", STAFF), ("en", "desk", STAFF[:3]), ("zh", "television", ())],
)
def test_no_page_keeps_anybody_out(
    browser: Browser, served: Served, lang: str, size: str, staff: tuple[str, ...]
) -> None:
    with served.world.app.extensions["quxiang"].database.transaction() as session:
        someone = session.scalars(select(Official).where(Official.official == "A007")).one()
        own = f"/o/{page_of(session, someone)}"
    reader = Reader(browser, served.url, size, lang)
    found = {}
    try:
        for path in (*PUBLIC, own):
            found[path] = troubles(reader.open(path))
        if staff:
            reader.sign_in("leader")
        for path in staff:
            found[path] = troubles(reader.open(path))
    finally:
        reader.close()
    assert {path: said for path, said in found.items() if said} == {}


def test_no_page_of_an_administrator_or_auditor_does(browser: Browser, served: Served) -> None:
    """Also with something in their lists, and while a fresh secret is shown."""
    world, topics = served.world, ["records"]
    held = world.app.extensions["quxiang"]
    with held.database.transaction() as session:
        admin = session.scalars(select(User).where(User.name == "admin")).one()
        tokens.make(session, admin.township, "县平台", ["days"], 30, admin, world.hand())
        webhooks.make(session, admin.township, "县平台", "https://10.9.8.7/in", topics, admin,
                      world.hand(), held.keys.secret)  # fmt: skip
        accounts.add_user(session, admin.township, "auditor", "auditor", PASSWORD, world.hand(),
                          must_change=False)  # fmt: skip
        own = f"/accounts/{admin.id}"
    found: dict[str, list[str]] = {}
    reader = Reader(browser, served.url, "telephone", "zh")
    try:
        reader.sign_in("admin")
        for path in ("/webhooks", "/accounts", own):
            found[path] = troubles(check_width(reader, path))
        page = reader.open("/tokens")
        page.click("main summary")
        page.fill("[name=name]", "统计程序")
        page.check("[name=scope] >> nth=0")
        page.click("main form:has([name=days]) button")
        expect(page.locator("main")).to_contain_text("quxiang_")
        found["/tokens"] = troubles(page)
    finally:
        reader.close()
    reader = Reader(browser, served.url, "desk", "en")
    try:
        reader.sign_in("auditor", "**/county")
        found["/county"] = troubles(reader.page)
    finally:
        reader.close()
    assert {path: said for path, said in found.items() if said} == {}


def test_no_page_of_records_set_aside_does(browser: Browser, served: Served) -> None:
    """Of one kiosk, read from a telephone and at a desk, before and after a review."""
    with served.world.app.extensions["quxiang"].database.transaction() as session:
        rows = session.scalars(select(RecordRow).where(RecordRow.official == "A007")).all()
        device = rows[0].device_id
        for seq, payload in enumerate((rows[0].payload, b'{"official":"A007"}', b"x"), 1):
            session.add(Quarantined(
                township_id=rows[0].township_id, device_id=device, epoch=9, seq=seq,
                payload=payload, head=bytes([seq]) * 32, why="fork",
                received_ms=rows[0].received_ms,
            ))  # fmt: skip
    path, found = f"/sites/{device}/apart", {}
    for size, lang, note in (("telephone", "zh", "问过本人"), ("desk", "en", "asked them")):
        reader = Reader(browser, served.url, size, lang)
        try:
            reader.sign_in("leader")
            page = check_width(reader, path)
            found[size, path] = troubles(page)
            for box in page.locator("[name=one]").all()[1:]:
                box.uncheck()
            page.fill("main [name=note]", note)
            page.click("main form button >> nth=0")
            expect(page.locator("main")).to_contain_text(note)
            found[size, "reviewed"] = troubles(page)
        finally:
            reader.close()
    assert {key: said for key, said in found.items() if said} == {}


def test_a_page_renews_itself_without_being_loaded_anew(browser: Browser, served: Served) -> None:
    world = served.world
    with world.app.extensions["quxiang"].database.transaction() as session:
        someone = session.scalars(select(Official).where(Official.official == "A009")).one()
        own = f"/o/{page_of(session, someone)}"
    reader = Reader(browser, served.url, "telephone", "zh")
    try:
        reader.page.clock.install()
        page = reader.open(own)
        page.evaluate("window.notReloaded = true")
        expect(page.locator("#fresh")).to_contain_text("未签到")
        world.kiosks[1].record("A009")
        world.kiosks[1].sync()
        page.clock.run_for(61_000)
        expect(page.locator("#fresh")).to_contain_text("下乡", timeout=10_000)
        assert page.evaluate("window.notReloaded") is True
        assert reader.errors == []
    finally:
        reader.close()
