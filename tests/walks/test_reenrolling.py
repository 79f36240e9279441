"""After "wrong person": from the supervisors' correction to new faces at the desk and the kiosk.

The desk took two officials' faces for each other's. What follows is typed and filled in as people
would: nothing is patched, faces and clips are real.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from attendance.days import SHANGHAI
from tests.walks.test_clips import cut
from tests.walks.test_whole_path import of
from tests.walks.town import PASSWORD, Town

SITE = "东村"
ZHANG, LI = "zhang-3", "li-4"


def capture(town: Town, official: str, clip: Path, *more: str, code: int = 0) -> str:
    """The guided capture at the desk; what it said."""
    done = town.run("quxiang-enroll", "capture", official, "--camera", str(clip), "--consented-on",
                    "2026-11-02", "--data", town.data("enroll"), *more, code=code)  # fmt: skip
    return done.stdout + done.stderr


def seen(town: Town, clip: Path) -> list[str]:
    """Whom the kiosk takes the person of a clip for."""
    town.run("quxiang-kiosk", "sync", "--data", town.data("kiosk"))
    return [e["official"] for e in of(town.play("kiosk", clip), "checkin")]


@pytest.mark.timeout(900)  # eight commands that load the model
def test_both_are_enrolled_again_and_told_apart(
    town: Town, shared_data: Path, shared_models: Path
) -> None:
    town.environ["QUXIANG_MODELS"] = os.fspath(shared_models)
    hers, his = (shared_data / "videos" / f"liveportrait_{n}.mp4" for n in ("d12", "d14"))
    passing = {clip: town.folder / f"{clip.stem}.avi" for clip in (hers, his)}
    for clip, rest in passing.items():
        cut(clip, town.folder / clip.stem, rest)
    folder = town.folder / "people"
    folder.mkdir()
    (folder / "officials.csv").write_text(
        "official,name,title,phone,work_group,sites,consented_on,pin\n"
        f"{ZHANG},张三,科员,1,一组,{SITE},,314159\n{LI},李四,科员,2,一组,{SITE},,271828\n",
        encoding="utf-8",
    )
    town.pair_kiosk("kiosk", SITE)
    town.enrol(folder)
    enroll = ("quxiang-enroll", "sync", "--data", town.data("enroll"))

    # The mistake, and what it led to.
    capture(town, ZHANG, hers)
    capture(town, LI, his)
    town.run(*enroll)
    assert seen(town, passing[hers]) == [ZHANG]

    # The supervisors: one proposes, another decides.
    town.user("wenshu", "clerk")
    town.user("lingdao", "leader")
    clerk, leader = town.signed_in("wenshu", PASSWORD), town.signed_in("lingdao", PASSWORD)
    today = datetime.now(SHANGHAI).date().isoformat()
    path = f"/corrections/{ZHANG}?date={today}"
    record = re.search(r'<option value="([0-9a-f-]{36})"', clerk.get(town.url + path).text)
    assert record is not None
    town.form(clerk, path, {"kind": "mistaken", "record_id": record[1], "really": LI,
                            "reason": "录像里是李四"})  # fmt: skip
    assert "enrolled again" not in town.run(*enroll).stdout, "proposed is not decided"
    page = leader.get(f"{town.url}/corrections?state=proposed").text
    decide = re.search(r'action="(/corrections/\d+/decide)"', page)
    assert decide is not None
    town.form(leader, "/corrections?state=proposed", {"answer": "approve"}, action=decide[1])
    assert f"quxiang-enroll capture {LI}" in clerk.get(f"{town.url}/officials/{LI}").text

    # The desk: asked for both; whoever comes first is told by name who has that face already.
    assert "2 officials are to be enrolled again" in town.run(*enroll).stdout
    listed = ("quxiang-enroll", "list", "--data", town.data("enroll"))
    assert town.run(*listed).stdout.count("to be enrolled again") == 2
    assert ZHANG in capture(town, LI, hers, code=1)
    assert ZHANG in capture(town, LI, hers, "--allow-similar")
    assert town.run(*listed).stdout.count("PIN after the face") == 2
    capture(town, ZHANG, his)
    town.run(*enroll)
    told = town.run(*listed).stdout
    assert "to be enrolled again" not in told
    assert "PIN after the face" not in told, "they are alike no more"

    # The server: the finding says so, and an inspector may close it.
    assert "quxiang-enroll capture" not in clerk.get(f"{town.url}/officials/{LI}").text
    found = re.findall(r"[a-z]+-\d enrolled", clerk.get(f"{town.url}/findings").text)
    assert {f"{ZHANG} enrolled", f"{LI} enrolled"} <= set(found)

    # The kiosk: each is who they are.
    assert seen(town, passing[hers]) == [LI]
    assert seen(town, passing[his]) == [ZHANG]
    for role in ("kiosk", "server"):
        town.run(f"quxiang-{role}", "verify", "--data", town.data(role))
