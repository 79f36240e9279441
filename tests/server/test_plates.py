"""Plates as they come out of the printer: every word on the plate, none over another, whole."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
import segno
from PIL import Image

from server import paper
from server.services.public.plates import Plate
from server.web.platefit import KINDS, fit, pieces
from server.web.publishing import sheets
from tests.server.web_seed import LONG_NAME, LONG_TITLE, World, make_world

ADDRESS = "https://quxiang.qingshan.example.cn/o/abcdefghijklmnop"
GROUP = "第二驻村工作组（柳树沟门满族村、上窝铺、下窝铺）"
DUTIES = "林业、草原、森林防火、自然资源、集体林权制度改革、退耕还林、野生动物保护、生态护林员管理"
#: Millimetres of a PDF's point, and the page's margin.
MM, MARGIN = 25.4 / 72, 10
HEIGHT = {"door": 135, "desk": 100}


def portrait() -> str:
    out = io.BytesIO()
    Image.new("RGB", (60, 80), (200, 220, 200)).save(out, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def plate(name: str, *texts: str, face: bool = True) -> Plate:
    title, group, duties, phone = (*texts, "", "", "", "")[:4]
    code = segno.make(ADDRESS, error="m", micro=False).svg_data_uri(border=2)
    return Plate(name, title, group, duties, phone, portrait() if face else "", code, ADDRESS)


PEOPLE = [
    plate("王秀兰", "乡长", "党政综合办公室", "全面工作", "13800000001"),
    plate("李强", "副乡长", "", "", "0451-8888 8888"),
    plate("买买提·吐尔逊江", LONG_TITLE, GROUP, DUTIES, "13800000123"),
    plate("买买提·吐尔逊江", LONG_TITLE, GROUP, DUTIES, "13800000123", face=False),
    plate(LONG_NAME, "副乡长", GROUP, "、".join(["社会救助"] * 40)[:200], "0991-12345678 转 8012"),
    plate("欧阳建国", face=False),
    plate("Abdurehman Memetimin Tursunjan", "Deputy head and first secretary of Liushugoumen",
          "Second village work group", "forestry, fire prevention, natural resources, " * 3,
          "+86 138 0000 0123"),
    plate("阿" * 60, "长" * 200, "组" * 60, "事" * 200, "1" * 40),
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("plates"))


Word = tuple[float, float, float, float, str]


def words(pdf: Path) -> list[list[Word]]:
    """Of each page the words with their boxes (left, top, right, bottom) in millimetres."""
    made = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], capture_output=True, check=True)
    pattern = r'xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)<'
    return [
        [(*(float(n) * MM for n in found[:4]), found[4]) for found in re.findall(pattern, page)]
        for page in made.stdout.decode().split("<page ")[1:]
    ]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_word_is_on_the_plate_and_none_lies_over_another(
    world: World, tmp_path: Path, kind: str, language: str
) -> None:
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm (poppler-utils) looks at the sheet and is not here")
    with world.app.test_request_context("/", headers={"Cookie": f"quxiang_lang={language}"}):
        made = paper.pdf(sheets(PEOPLE, kind, "青山乡人民政府"))
    pdf = tmp_path / "plates.pdf"
    pdf.write_bytes(made)
    pages = words(pdf)
    two = kind == "door"
    assert len(pages) == (len(PEOPLE) // 2 if two else len(PEOPLE))
    for number, page in enumerate(pages):
        whose = PEOPLE[2 * number : 2 * number + 2] if two else [PEOPLE[number]] * 2
        tops = [MARGIN, MARGIN + HEIGHT[kind] + (6 if two else 12)]
        for top, person in zip(tops, whose, strict=True):
            mine = [w for w in page if top <= (w[1] + w[3]) / 2 < top + HEIGHT[kind]]
            text = "".join(w[4] for w in mine).replace(" ", "")
            if two or top > MARGIN:  # the other half of a desk plate is turned round
                for said in (person.name, person.title, person.work_group, person.duties,
                             person.phone):  # fmt: skip
                    assert said.replace(" ", "") in text, said
                label = "电话" if language == "zh" else "Telephone"
                line = {round((w[1] + w[3]) / 2) for w in mine if w[4] == label}
                for piece in person.phone.split():
                    assert line <= {round((w[1] + w[3]) / 2) for w in mine if w[4] == piece}
            for left, up, right, down, word in mine:
                assert MARGIN <= left <= right <= MARGIN + 190, word
                assert top <= (up + down) / 2, word
                assert down < top + HEIGHT[kind] + 1, word
            for n, one in enumerate(mine):
                for other in mine[n + 1 :]:
                    across = min(one[2], other[2]) - max(one[0], other[0])
                    # Boxes are as high as the font allows: letters fill the middle of them.
                    down = min(one[3], other[3]) - max(one[1], other[1])
                    low = min(one[3] - one[1], other[3] - other[1])
                    assert across < 0.3 or down < 0.3 * low, (one, other)
    subprocess.run(["pdftoppm", "-r", "110", "-png", str(pdf), tmp_path / "page"], check=True)
    for picture in sorted(tmp_path.glob("page*.png")):
        seen = cv2.imread(str(picture))
        assert seen is not None
        _, found, _, _ = cv2.QRCodeDetector().detectAndDecodeMulti(seen)
        assert list(found) == [ADDRESS] * 2, "a code that words lie over, or that is not there"


def test_a_name_breaks_after_its_dot_and_stays_the_largest() -> None:
    assert pieces("买买提·吐尔逊江") == ("买买提·", "吐尔逊江")
    assert pieces("王秀兰") == ("王秀兰",)
    assert pieces("Wang Xiulan") == ("Wang ", "Xiulan")
    short = fit(PEOPLE[0], "door", "负责：全面工作", "电话 13800000001")
    assert (short.name, short.title, short.phone) == (66, 32, 30), "the best sizes where they fit"
    for person in PEOPLE[:-1]:
        made = fit(person, "door", f"负责：{person.duties}", f"电话 {person.phone}")
        assert made.name > made.title > made.group
        assert made.title >= 15, "readable before a door"
