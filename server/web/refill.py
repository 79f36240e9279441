"""A page drawn again after a form on it was refused: what was typed stands in the form again.

Forms of the desk are small and many. Instead of threading every field through every view and
template, the form that was sent is found in the finished page, by its address and hidden fields,
and filled as the browser had it. The pages are ours: attributes are quoted, forms are not nested.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import unescape

from markupsafe import escape

_FORM = re.compile(r"<form\b[^>]*>.*?</form>", re.S)
_INPUT = re.compile(r"<input\b[^>]*>")
_SELECT = re.compile(r"(<select\b[^>]*>)(.*?)(</select>)", re.S)
_OPTION = re.compile(r"<option\b([^>]*)>([^<]*)")
_TEXT = re.compile(r"(<textarea\b[^>]*>)(.*?)(</textarea>)", re.S)
#: Kinds of input of which nothing is kept: files cannot be, secrets must not be.
_NEVER = ("hidden", "file", "password", "submit")

Fields = Mapping[str, Sequence[str]]


def refilled(page: str, path: str, action: str, fields: Fields, said: str) -> str:
    """The page at `path` with the form that was sent to `action` filled, open, and `said` in it.

    Where no form of the page is meant, `said` stands at its head.
    """
    for found in _FORM.finditer(page):
        form = found.group()
        if _meant(form, path, action, fields):
            break
    else:
        return page.replace('<main id="main">', f'<main id="main">\n{_alert(said)}', 1)
    filled = _TEXT.sub(lambda m: _text(m, fields), form)
    filled = _SELECT.sub(lambda m: _select(m, fields), filled)
    filled = _INPUT.sub(lambda m: _input(m.group(), fields), filled)
    head, rest = filled.split(">", 1)
    return f"{_opened(page[: found.start()])}{head}>{_alert(said)}{rest}{page[found.end() :]}"


def _alert(said: str) -> str:
    return f'<p class="says bad" role="alert">{escape(said)}</p>'


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'\s{name}="([^"]*)"', tag)
    return None if found is None else unescape(found.group(1))


def _meant(form: str, path: str, action: str, fields: Fields) -> bool:
    """Whether that form was sent: to that address, with these hidden fields."""
    head = form.split(">", 1)[0]
    sent_to = (_attribute(head, "action") or path).split("?")[0]
    if _attribute(head, "method") != "post" or sent_to != action:
        return False
    for tag in _INPUT.findall(form):
        name = _attribute(tag, "name") or ""
        hidden = _attribute(tag, "type") == "hidden" and name != "csrf_token"
        if hidden and (_attribute(tag, "value") or "") not in fields.get(name, ()):
            return False
    return True


def _put(tag: str, name: str, value: str | None) -> str:
    """The tag with that attribute; without it where `value` is None, bare where it is ""."""
    bare = re.sub(rf'\s{name}(="[^"]*")?(?=[\s/>])', "", tag)
    if value is None:
        return bare
    return bare[:-1] + (f' {name}="{escape(value)}">' if value else f" {name}>")


def _input(tag: str, fields: Fields) -> str:
    name, kind = _attribute(tag, "name"), _attribute(tag, "type") or "text"
    if name is None or kind in _NEVER:
        return tag
    if kind in ("checkbox", "radio"):
        on = (_attribute(tag, "value") or "on") in fields.get(name, ())
        return _put(tag, "checked", "" if on else None)
    if name not in fields:
        return tag
    return _put(tag, "value", fields[name][0] or None)


def _select(found: re.Match[str], fields: Fields) -> str:
    name = _attribute(found.group(1), "name")
    if name is None or name not in fields:
        return found.group()

    def option(one: re.Match[str]) -> str:
        value = _attribute(f"<option{one.group(1)}>", "value")
        on = (unescape(one.group(2)) if value is None else value) in fields[name]
        return _put(f"<option{one.group(1)}>", "selected", "" if on else None) + one.group(2)

    return found.group(1) + _OPTION.sub(option, found.group(2)) + found.group(3)


def _text(found: re.Match[str], fields: Fields) -> str:
    name = _attribute(found.group(1), "name")
    if name is None or name not in fields:
        return found.group()
    return f"{found.group(1)}{escape(fields[name][0])}{found.group(3)}"


def _opened(before: str) -> str:
    """What stands before the form, with every fold open that it is in."""
    at: list[int] = []
    for tag in re.finditer(r"<details\b|</details>", before):
        if tag.group() == "</details>":
            at.pop()
        else:
            at.append(tag.end())
    for place in reversed(at):
        if not re.match(r"[^>]*\sopen[\s>]", before[place:]):
            before = f"{before[:place]} open{before[place:]}"
    return before


def kept(fields: Iterable[tuple[str, Sequence[str]]]) -> Fields:
    """The fields of a form without what proves that it is ours."""
    return {name: list(values) for name, values in fields if name != "csrf_token" and values}
