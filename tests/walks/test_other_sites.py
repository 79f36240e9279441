"""One site's lamps show what was recorded at another, and approved leave."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from attendance.days import SHANGHAI
from tests.walks.town import PASSWORD, Town

OFFICE, VILLAGE = "机关", "杏树村"


def lamps(events: list[dict[str, object]]) -> dict[object, tuple[object, object]]:
    """Each lamp's last colour, asked for and read back."""
    return {e["official"]: (e["colour"], e["latched"]) for e in events if e["event"] == "lamp"}


def test_the_office_sees_the_village_and_approved_leave(town: Town, tmp_path: Path) -> None:
    town.pair_kiosk("office", OFFICE, "office")
    town.pair_kiosk("village", VILLAGE)
    people = tmp_path / "people"
    people.mkdir()
    (people / "officials.csv").write_text(
        "official,name,title,phone,work_group,sites,consented_on,pin\n"
        f"V1,王村,科员,1,一组,{VILLAGE},,314159\n"
        f"O1,李岗,科员,2,二组,{OFFICE},,271828\n"
        f"O2,赵闲,科员,3,二组,{OFFICE},,161803\n",
        encoding="utf-8",
    )
    town.enrol(people)
    empty = tmp_path / "nobody"
    empty.mkdir()
    rng = np.random.default_rng(1)
    for n in range(5):
        cv2.imwrite(str(empty / f"{n}.png"), rng.integers(90, 110, (480, 640, 3), np.uint8))

    town.run("quxiang-kiosk", "sync", "--data", town.data("village"))
    town.run("quxiang-kiosk", "checkin", "--official", "V1", "--pin-stdin",
             "--data", town.data("village"), stdin="314159\n")  # fmt: skip
    town.run("quxiang-kiosk", "sync", "--data", town.data("village"))

    town.user("党政办", "clerk")
    town.user("主任", "leader")
    clerk, leader = town.signed_in("党政办", PASSWORD), town.signed_in("主任", PASSWORD)
    today = datetime.now(SHANGHAI).date().isoformat()
    town.form(clerk, "/leave", {"official": "O1", "status": "on_leave", "first": today,
                                "last": today, "reason": "事假"})  # fmt: skip
    before = lamps(town.play("office", empty, "--lamps", "rgb"))
    assert before["V1"] == ("yellow", "yellow")
    assert "O1" not in before, "asked is not approved"

    page = leader.get(f"{town.url}/leave", timeout=60).text
    decide = re.search(r'action="(/leave/\d+/decide)"', page)
    assert decide is not None
    town.form(leader, "/leave", {"answer": "approve"}, action=decide.group(1))
    after = lamps(town.play("office", empty, "--lamps", "rgb"))
    assert after == {"V1": ("yellow", "yellow"), "O1": ("red", "red")}
    assert town.board()["李岗"]["colour"] == "red"

    # A check-in outranks the leave and shows green at once; the sheet flags the clash.
    town.run("quxiang-kiosk", "checkin", "--official", "O1", "--pin-stdin",
             "--data", town.data("office"), stdin="271828\n")  # fmt: skip
    assert lamps(town.play("office", empty, "--lamps", "rgb"))["O1"] == ("green", "green")
    assert town.board()["李岗"]["colour"] == "green"
    assert "冲突" in town.supervisor().get(f"{town.url}/day", timeout=60).text
    # And the village's kiosk shows only whom it expects.
    assert set(lamps(town.play("village", empty, "--lamps", "rgb"))) == {"V1"}
