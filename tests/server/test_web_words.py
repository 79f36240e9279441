"""Both catalogues are complete, current and compiled."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

LOCALES = ("zh_Hans_CN", "en")
KEYWORDS = {"_": None, "gettext": None, "_l": None}
RENEW = "see babel.cfg for how to renew the catalogues"


@pytest.fixture(scope="module")
def sentences(root: Path) -> set[str]:
    found = set()
    for part, pattern, method in (
        ("server/web", "**.py", "python"),
        ("server/templates", "**.html", "jinja2"),
    ):
        for _, _, message, _, _ in extract_from_dir(
            root / part, [(pattern, method)], keywords=KEYWORDS
        ):
            found.add(str(message))
    assert len(found) > 200
    return found


def catalogue(root: Path, locale: str, suffix: str) -> Catalog:
    path = root / "server" / "translations" / locale / "LC_MESSAGES" / f"messages.{suffix}"
    with path.open("rb") as file:
        return read_mo(file) if suffix == "mo" else read_po(file, locale=locale)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_sentence_is_translated(root: Path, sentences: set[str], locale: str) -> None:
    held = {str(m.id): m for m in catalogue(root, locale, "po") if m.id}
    assert sentences - set(held) == set(), RENEW
    assert set(held) - sentences == set(), f"no longer said: {RENEW}"
    for key, message in held.items():
        assert message.string, f"{locale}: {key!r} is empty"
        assert not message.fuzzy, f"{locale}: {key!r} is fuzzy"
        places = re.findall(r"%\(\w+\)s", key)
        assert sorted(places) == sorted(re.findall(r"%\(\w+\)s", str(message.string))), key


@pytest.mark.parametrize("locale", LOCALES)
def test_the_compiled_catalogue_is_the_written_one(root: Path, locale: str) -> None:
    written = {m.id: m.string for m in catalogue(root, locale, "po") if m.id}
    compiled = {m.id: m.string for m in catalogue(root, locale, "mo") if m.id}
    assert written == compiled, f"pybabel compile -d server/translations ({RENEW})"


def test_the_recipe_leaves_complete_catalogues_as_they_are(root: Path, tmp_path: Path) -> None:
    """What babel.cfg says to type, typed on a copy: no sentence, no header and no order is lost."""
    recipe = [
        line.removeprefix("#").split()
        for line in (root / "babel.cfg").read_text(encoding="utf-8").splitlines()
        if line.startswith("#   pybabel ")
    ]
    assert [words[1] for words in recipe] == ["extract", "update", "compile"]
    here = tmp_path / "checkout"
    for part in ("server/web", "server/templates", "server/translations"):
        shutil.copytree(root / part, here / part)
    shutil.copy(root / "babel.cfg", here)
    for words in recipe:
        typed = shlex.join(words[1:]).replace("/tmp/", f"{tmp_path}/")
        done = subprocess.run(
            [sys.executable, "-m", "babel.messages.frontend", *shlex.split(typed)],
            cwd=here, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for locale in LOCALES:
        name = f"server/translations/{locale}/LC_MESSAGES/messages"
        before, after = ((place / f"{name}.po").read_text("utf-8") for place in (root, here))
        # Who made it last says which release of Babel that was.
        assert _same(after) == _same(before), RENEW
        assert (here / f"{name}.mo").read_bytes() != b""


def _same(catalogue: str) -> list[str]:
    return [line for line in catalogue.splitlines() if not line.startswith('"Generated-By')]


def test_chinese_is_chinese(root: Path) -> None:
    for message in catalogue(root, "zh_Hans_CN", "po"):
        if message.id:
            assert re.search(r"[\u3000-\u9fff\uff00-\uffef]", str(message.string)) or re.fullmatch(
                r"[^A-Za-z]*(%\(\w+\)s[^A-Za-z]*)+", str(message.string)
            ), message.id


def test_templates_say_nothing_untranslated(root: Path) -> None:
    plain = re.compile(r">([^<>{}]*[A-Za-z\u4e00-\u9fff][^<>{}]*)<")
    for path in sorted((root / "server" / "templates").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\{#.*?#\}", "", text, flags=re.S)
        text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.S)
        assert plain.findall(text) == [], path.name
