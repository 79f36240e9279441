"""Importing real faces: who is enrolled, which picture is refused, and what is said of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from enroll.cli import main
from enroll.desk import Desk
from enroll.enrol import LIKENESS, Sample, choose
from enroll.errors import FolderInvalid, ModelChanged
from enroll.importer import OfficialResult, import_folder
from enroll.sync import sync_once
from recognition.engines import load_engine
from recognition.quality import Quality

SITES = ["杏树村", "镇政府"]
Faces = Callable[[int], list[Path]]


def run(desk: Desk, folder, engine, **options: object) -> dict[str, OfficialResult]:
    results = import_folder(desk, folder.path, lambda: engine, sites=SITES, **options)
    return {result.official: result for result in results}


def fates(result: OfficialResult) -> dict[str, tuple[str, ...]]:
    return {p.file: (p.result, *p.faults) for p in result.pictures}


def said(result: OfficialResult, lang: str = "en") -> str:
    return "; ".join(note.words(lang) for note in result.notes)


def test_people_are_enrolled_and_told_apart(desk: Desk, folder, engine, faces: Faces) -> None:
    for n in range(6):
        folder.add(f"g{n}", faces(n)[:4])
    results = run(desk, folder, engine)
    assert [(r.result, r.face, r.pin) for r in results.values()] == [("new", "enrolled", True)] * 6
    assert not any(r.similar for r in results.values())
    stored = desk.store.faces()
    assert all(1 <= len(face.templates) <= 3 for face in stored)
    right = 0
    for n in range(6):
        frame = cv2.imread(str(faces(n)[4]))
        probe = engine.embed(frame, engine.detect(frame, thorough=True)[0])
        best = max(stored, key=lambda face: float((face.templates @ probe).max()))
        right += best.official == f"g{n}"
    assert right == 6


def test_bad_pictures_are_refused_with_words_and_the_rest_is_enrolled(
    desk: Desk, folder, engine, faces: Faces, shared_data: Path
) -> None:
    good, other = faces(3)[1], faces(7)[0]
    place = folder.add("g", [good, other])
    picture = cv2.imread(str(good))
    data = good.read_bytes()
    (place / "zero.jpg").write_bytes(b"")
    (place / "cut.jpg").write_bytes(data[: len(data) // 2])
    (place / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(500))
    (place / "text.jpeg").write_text("not a picture")
    cv2.imwrite(str(place / "two.bmp"), np.hstack([picture, picture]))
    cv2.imwrite(str(place / "tiny.png"), cv2.resize(picture, (48, 48)))
    cv2.imwrite(str(place / "blur.PNG"), cv2.GaussianBlur(picture, (0, 0), 6))
    cv2.imwrite(str(place / "dark.png"), (picture * 0.12).astype(np.uint8))
    cv2.imwrite(str(place / "copy.png"), picture)
    cv2.imwrite(str(place / "nobody.png"), np.full((200, 200, 3), 128, np.uint8))
    (place / "notes.txt").write_text("never read")
    folder.add("h", faces(9))
    result = run(desk, folder, engine)["g"]
    fate = fates(result)
    assert "notes.txt" not in fate
    for name in ("zero.jpg", "cut.jpg", "noise.png", "text.jpeg"):
        assert fate[name] == ("refused", "unreadable"), name
    assert "many_faces" in fate["two.bmp"]
    assert fate["tiny.png"][0] == "refused"
    assert fate["tiny.png"][1] in ("too_small", "no_face")
    assert "blurred" in fate["blur.PNG"]
    assert "too_dark" in fate["dark.png"]
    assert fate["nobody.png"] == ("refused", "no_face")
    assert {fate["copy.png"][0], fate[good.name][0]} == {"taken", "spare"}
    for each in result.pictures:
        if each.result == "refused":
            assert each.why is not None
            assert each.why.zh
            assert each.why.en
            assert str(folder.path) not in each.why.en


def test_pictures_of_somebody_else_in_the_folder_are_refused(
    desk: Desk, folder, engine, faces: Faces
) -> None:
    folder.add("g", [*faces(4), faces(7)[0]])
    folder.add("even", [faces(10)[0], faces(11)[0]])
    results = run(desk, folder, engine)
    assert fates(results["g"])[faces(7)[0].name] == ("refused", "another_person")
    assert results["g"].face == "enrolled"
    assert {fate[0] for fate in fates(results["even"]).values()} == {"refused"}
    assert results["even"].face == "none"


def test_the_same_face_under_another_id_is_refused_unless_allowed(
    desk: Desk, folder, engine, faces: Faces
) -> None:
    folder.add("g1", faces(6)[:2])
    folder.add("g2", faces(6)[2:])
    results = run(desk, folder, engine)
    assert results["g1"].face == "enrolled"
    assert results["g2"].face == "none"
    assert results["g2"].pin
    assert "already g1's" in said(results["g2"])
    assert "--allow-similar" in said(results["g2"], "zh")
    results = run(desk, folder, engine, allow_similar=True)
    assert [s.official for s in results["g2"].similar if s.collides] == ["g1"]
    assert desk.store.alike() == {"g1", "g2"}
    results = run(desk, folder, engine)
    assert [r.face for r in results.values()] == ["enrolled", "enrolled"], "allowed once is allowed"
    assert all(r.second_factor for r in results.values())
    # The pictures were of somebody else all along: with their own they are alike no more.
    shutil.rmtree(folder.path / "g2")
    folder.lines.pop()
    folder.add("g2", faces(7)[:2])
    results = run(desk, folder, engine)
    assert results["g2"].face == "enrolled"
    assert (desk.store.alike(), results["g2"].second_factor) == (set(), False)


def test_without_consent_no_picture_is_even_read(desk: Desk, folder, engine, faces: Faces) -> None:
    folder.add("g", faces(0), consented="")
    folder.add("h", faces(1))
    result = run(desk, folder, engine)["g"]
    assert (result.face, result.pin, result.pictures) == ("none", True, [])
    assert "not read" in said(result)
    assert [face.official for face in desk.store.faces()] == ["h"]


def test_importing_twice_changes_nothing_and_a_change_updates(
    desk: Desk, folder, engine, faces: Faces
) -> None:
    folder.add("g", faces(0)[:3])
    run(desk, folder, engine)
    before = desk.store.face("g")
    again = run(desk, folder, engine)["g"]
    assert (again.result, again.face) == ("same", "enrolled")
    assert desk.store.face("g").mark == before.mark
    folder.change("482913", "739104")
    folder.change("干部", "副镇长")
    folder.add("g-2", faces(1)[:2])
    results = run(desk, folder, engine)
    assert (results["g"].result, results["g-2"].result) == ("updated", "new")
    assert desk.store.pin("g").digits == "739104"
    assert desk.store.official("g").title == "副镇长"
    folder.change("739104", "")
    assert "earlier PIN" in said(run(desk, folder, engine)["g"])
    assert desk.store.pin("g").digits == "739104"


def test_unusable_new_pictures_leave_the_old_face(desk: Desk, folder, engine, faces: Faces) -> None:
    place = folder.add("g", faces(0)[:2])
    run(desk, folder, engine)
    for path in place.iterdir():
        path.write_bytes(b"")
    result = run(desk, folder, engine)["g"]
    assert (result.face, result.templates) == ("kept", len(desk.store.face("g").templates))


def test_a_consent_taken_out_of_the_list_is_a_withdrawal_and_an_old_one_does_not_return(
    desk: Desk, folder, engine, faces: Faces
) -> None:
    folder.add("g", faces(0)[:2])
    run(desk, folder, engine)
    folder.change("2026-11-01", "")
    result = run(desk, folder, engine)["g"]
    assert result.face == "withdrawn"
    assert desk.store.face("g") is None
    assert [who for _, who, _ in desk.ledger.unsent_withdrawals()] == ["g"]
    assert run(desk, folder, engine)["g"].face == "none"
    folder.change("杏树村,,", "杏树村,2026-11-02,")
    result = run(desk, folder, engine)["g"]
    assert result.face == "none"
    assert "withdrawn" in said(result)
    folder.change("2026-11-02", "2026-11-21")
    assert run(desk, folder, engine)["g"].face == "enrolled"


def test_a_portrait_needs_its_own_consent_and_loses_its_metadata(
    paired: Desk, township, folder, engine, faces: Faces
) -> None:
    jpeg = faces(0)[0].read_bytes()
    exif = b"\xff\xe1\x00\x1eExif\x00\x00GPS: 30.1 N, 104.2 E!!"
    for who, consent in (("g", ""), ("h", "2026-11-02")):
        place = folder.add(who, faces(1 if who == "g" else 2)[:2], portrait=consent)
        (place / "Portrait.JPG").write_bytes(jpeg[:2] + exif + jpeg[2:])
    results = run(paired, folder, engine)
    assert (results["g"].portrait, results["h"].portrait) == ("refused", "queued")
    assert "portrait_consented_on" in said(results["g"])
    assert not any("ortrait" in name for r in results.values() for name in fates(r))
    client = paired.client()
    sync_once(paired, client)
    assert list(township.portraits) == ["h"]
    assert b"GPS" not in township.portraits["h"]
    assert cv2.imdecode(np.frombuffer(township.portraits["h"], np.uint8), 1).shape == (250, 250, 3)
    assert run(paired, folder, engine)["h"].portrait == "same"
    client.close()


def test_no_photograph_stays_on_the_desk_nor_is_sent(
    paired: Desk, township, folder, engine, faces: Faces
) -> None:
    township.add_kiosk("镇政府")
    folder.add("g", faces(0))
    run(paired, folder, engine)
    client = paired.client()
    sync_once(paired, client)
    client.close()
    kept = b"".join(p.read_bytes() for p in paired.data.rglob("*") if p.is_file())
    sent = b"".join(township.bodies)
    for path in faces(0):
        data = path.read_bytes()
        digest = hashlib.sha256(data)
        for piece in (data[600:664], digest.digest(), digest.hexdigest().encode()):
            assert piece not in kept
            assert piece not in sent


def test_another_model_is_refused_unless_everybody_is_enrolled_anew(
    desk: Desk, folder, engine, faces: Faces, synthetic
) -> None:
    desk.store.set_face("old", synthetic(1), "dlib-000000000000")
    desk.store.set_meta("model", "dlib-000000000000")
    folder.add("g", faces(0)[:2])
    with pytest.raises(ModelChanged, match="--new-model"):
        run(desk, folder, engine)
    assert run(desk, folder, engine, new_model=True)["g"].face == "enrolled"


def test_the_csv_is_read_before_the_weights_are_asked_for(desk: Desk, folder) -> None:
    def engine():
        raise AssertionError("not needed")

    (folder.path / "officials.csv").write_text("official,name\n")
    with pytest.raises(FolderInvalid):
        import_folder(desk, folder.path, engine, sites=SITES)
    folder.add("g", consented="")
    folder.add("bad", consented="", sites="火星")
    results = import_folder(desk, folder.path, engine, sites=SITES)
    assert [r.result for r in results] == ["new", "refused"]
    assert desk.store.official("bad") is None


def sample(name: str, *vector: float) -> Sample:
    block = np.array(vector, np.float32)
    return Sample(name, block / np.linalg.norm(block), Quality(()))


def test_the_pictures_that_differ_most_are_chosen() -> None:
    samples = [
        sample("middle", 1, 0, 0),
        sample("copy", 1, 0.01, 0),
        sample("left", 1, 0.6, 0),
        sample("near left", 1, 0.4, 0),
        sample("right", 1, -0.6, 0),
        sample("stranger", 0, 0, 1),
    ]
    chosen, results = choose(samples, LIKENESS["sface"])
    assert {s.file for s in chosen} >= {"left", "right"}
    assert len(chosen) == 3
    by_file = {r.file: r for r in results}
    assert [r.file for r in results] == [s.file for s in samples]
    assert by_file["stranger"].faults == ("another_person",)
    assert choose([], LIKENESS["sface"]) == ([], [])


# -- by command -------------------------------------------------------------------------------


def test_the_commands_from_pairing_to_withdrawal(
    tmp_path: Path, township, folder, engine, faces: Faces, command
) -> None:
    data = tmp_path / "data"
    kiosk = township.add_kiosk("镇政府")
    done = command("pair", "--data", data, "--server", township.url, "--code", township.make_code())
    assert done.returncode == 0, done.stderr
    assert "paired with 云溪镇" in done.stdout
    folder.add("g", faces(0)[:3])
    (folder.add("h", faces(1)[:1]) / "broken.jpg").write_bytes(b"\xff\xd8oh")
    folder.add("i", sites="火星")
    report = tmp_path / "report.json"
    done = command("import", folder.path, "--data", data, "--json", report)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sealed version ") == 1, "pairing sealed the first, empty one"
    assert "for 镇政府 (kiosk000): 2 people" in done.stdout
    body = json.loads(report.read_text())
    assert body["summary"]["officials"] == 2
    assert body["summary"]["refused"] == 1
    assert body["sync"] == {"reached": True, "message": None}
    by_id = {each["official"]: each for each in body["officials"]}
    assert by_id["i"]["result"] == "refused"
    assert "unknown site: 火星" in by_id["i"]["notes"][0]
    (broken,) = [p for p in by_id["h"]["pictures"] if p["file"] == "broken.jpg"]
    assert broken["faults"] == ["unreadable"]
    assert broken["why"]
    assert "482913" not in report.read_text() + done.stdout + done.stderr
    township.pull(kiosk)
    township.down()
    done = command("withdraw", "g", "--data", data, lang="zh")
    assert done.returncode == 0
    assert "g 的同意已撤回" in done.stdout
    assert "尚未确认删除 g" in done.stdout
    assert done.stderr.count("\n") == 1
    done = command("sync", "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    township.up()
    assert command("sync", "--data", data).returncode == 0
    assert township.pull(kiosk).tombstones == ["g"]
    assert "erased" in command("sync", "--data", data).stdout
    done = command("list", "--data", data)
    assert "g 姓名g: templates 0, consent -, PIN, 杏树村" in done.stdout
    done = command("export", tmp_path / "usb.json", "--data", data)
    assert done.returncode == 0
    assert "for one paired since, run quxiang-enroll sync once" in done.stdout
    assert (tmp_path / "usb.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_failure_is_one_line(tmp_path: Path, command, lang: str) -> None:
    data = tmp_path / "data"
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "officials.csv").write_text("official,name,title,phone,sites,pin\n")
    for args in (
        ("withdraw", "nobody"),
        ("import", tmp_path / "csv"),
        *([("sync",), ("export", tmp_path / "x")] if lang == "en" else []),
        ("pair", "--server", "http://127.0.0.1:1", "--code", "AAAA-AAAA-AAAA-AAAA"),
        ("capture", "nobody", "--camera", "97", "--consented-on", "2026-11-01"),
        ("capture", "a", "--name", "A", "--camera", "97", "--consented-on", "2999-01-01"),
        ("capture", "a", "--name", "A", "--camera", "/none", "--consented-on", "2026-11-01"),
    ):
        done = command(*args, "--data", data, lang=lang)
        assert done.returncode == 1, args
        lines = [line for line in done.stderr.splitlines() if "warning" not in line]
        lines = [line for line in lines if not line.startswith("注意")]
        assert len(lines) == 1, (args, done.stderr)
        assert "Traceback" not in done.stderr
        assert any("\u4e00" <= c <= "\u9fff" for c in lines[0]) == (lang == "zh"), lines
    done = command("import", tmp_path / "csv", "--data", data, lang=lang)
    assert "work_group" in done.stderr
    assert "consented_on" in done.stderr


def test_every_command_has_help_and_wrong_usage_is_told(capsys) -> None:
    def leaves(*args: str) -> object:
        with pytest.raises(SystemExit) as left:
            main(args)
        return left.value.code

    for name in ("pair", "import", "capture", "sync", "export", "withdraw", "list"):
        assert leaves(name, "--help") == 0
        assert "--data" in capsys.readouterr().out
    assert leaves("frobnicate") == 2
    assert leaves("import") == 2


def test_the_dlib_engine_enrols_too(desk: Desk, folder, faces: Faces) -> None:
    pytest.importorskip("dlib", reason="the dlib engine is not installed")
    dlib = load_engine("dlib")
    for n in (0, 1, 4):
        folder.add(f"g{n}", faces(n)[:4])
    results = run(desk, folder, dlib)
    assert {r.face for r in results.values()} == {"enrolled"}
    assert not any(s.collides for r in results.values() for s in r.similar)
    assert {face.model for face in desk.store.faces()} == {dlib.model_id}
