"""What must hold of an opened gallery before anybody is compared with it."""

from __future__ import annotations

import re

import numpy as np
from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError
from argon2.low_level import Type
from msgspec.structs import replace

from attendance.signing import KEY_BYTES
from attendance.tokens import MARK_BYTES
from attendance.wire import GalleryContents, Manifest, Person
from kiosk.errors import GalleryRefused

_OFFICIAL = re.compile(r"[A-Za-z0-9-]{1,32}")
#: How far a template's L2 norm may be from 1; as `recognition.gallery` asks.
NORM_TOLERANCE = 1e-3
#: Costs of a PIN hash beyond which checking one would stall a Raspberry Pi: KiB and passes.
MAX_MEMORY_KIB = 65_536
MAX_PASSES = 8


def check_contents(contents: GalleryContents, manifest: Manifest) -> None:
    """Raises GalleryRefused unless the contents are what the manifest promised, and usable."""
    promised = (manifest.device, manifest.version, manifest.model, manifest.people)
    found = (contents.device, contents.version, contents.model, len(contents.people))
    if promised != found:
        raise _bad("it is not what its manifest says", "与清单不符")
    if not 1 <= contents.dimension <= 4096 or len(contents.pin_key) < 16:
        raise _bad("its dimension or PIN key is not usable", "维数或密码密钥不可用")
    if len(contents.desk_box) not in (0, KEY_BYTES):
        raise _bad("the desk's key in it is damaged", "登记台的密钥损坏")
    if len({person.official for person in contents.people}) != len(contents.people):
        raise _bad("it names an official twice", "同一编号出现两次")
    for person in contents.people:
        _check_person(person, contents.dimension)


def check_erased(contents: GalleryContents, manifest: Manifest) -> None:
    """Raises GalleryRefused where the manifest asks to erase somebody whose face comes with it:
    a receipt for that would be untrue."""
    kept = {person.official for person in contents.people if person.templates}
    for official in manifest.tombstones:
        if official in kept:
            raise GalleryRefused(
                f"人脸库要求删除 {official}，却仍带有其人脸，未采用：请在登记台运行 "
                "quxiang-enroll sync，或重新导出。",
                f"the gallery asks to erase {official} and still holds that face; it is not taken: "
                "run quxiang-enroll sync at the desk, or export it anew",
            )


def without_erased(contents: GalleryContents, manifest: Manifest) -> GalleryContents:
    """Without the faces that the manifest asks to erase: a release before this one may have taken
    some of them."""
    gone = set(manifest.tombstones)
    people = [
        replace(person, templates=b"", propose=False) if person.official in gone else person
        for person in contents.people
    ]
    return replace(contents, people=people)


def _check_person(person: Person, dimension: int) -> None:
    if not _OFFICIAL.fullmatch(person.official) or not person.name:
        raise _bad(f"{person.official!r} is no official's id", f"编号 {person.official!r} 不合规")
    if len(person.templates) % (4 * dimension):
        raise _bad(f"the templates of {person.official} are cut", f"{person.official} 的模板不完整")
    templates = np.frombuffer(person.templates, "<f4").reshape(-1, dimension)
    norms = np.linalg.norm(templates.astype(np.float64), axis=1)
    if not np.all(np.abs(norms - 1) <= NORM_TOLERANCE):  # false for NaN too
        raise _bad(f"a template of {person.official} is damaged", f"{person.official} 的模板损坏")
    for token in (person.card, person.badge):
        if token is not None and len(token) != MARK_BYTES:
            raise _bad(
                f"a card of {person.official} is damaged", f"{person.official} 的卡或工牌损坏"
            )
    if person.pin is not None and not _usable(person.pin):
        raise _bad(f"the PIN of {person.official} is damaged", f"{person.official} 的密码损坏")


def _usable(phc: str) -> bool:
    try:
        cost = extract_parameters(phc)
    except (InvalidHashError, ValueError):
        return False
    return (
        cost.type is Type.ID and cost.memory_cost <= MAX_MEMORY_KIB and cost.time_cost <= MAX_PASSES
    )


def _bad(en: str, zh: str) -> GalleryRefused:
    return GalleryRefused(
        f"人脸库不可用：{zh}。请在登记台重新导出。",
        f"the gallery cannot be used: {en}; export it anew at the desk",
    )
