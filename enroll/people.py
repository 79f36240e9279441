"""One official given on the command line: particulars, consent date, PIN."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import date
from typing import TextIO

import msgspec

from attendance import wire
from enroll.desk import Desk
from enroll.errors import EnrollError, OfficialUnknown
from enroll.folder import parse_date


def read_consent_date(text: str) -> date:
    """The date of `--consented-on`. Raises EnrollError."""
    try:
        given = parse_date(text)
    except ValueError:
        given = None
    if given is None:
        raise EnrollError(
            f"“{text}”不是日期，应为 2026-11-21 这样", f"{text!r} is not a date like 2026-11-21"
        )
    return given


def read_pin(stream: TextIO) -> str:
    """A PIN from a line of `stream`. Raises EnrollError."""
    pin = stream.readline().strip()
    if not re.fullmatch(r"[0-9]{6}", pin):
        raise EnrollError("PIN 应为六位数字", "a PIN has six digits")
    return pin


def official_for_capture(
    desk: Desk,
    given: argparse.Namespace,
    known_sites: Callable[[Desk], list[str] | None],
) -> wire.RosterRow:
    """The official as kept, with what the command line adds or changes; not stored yet.

    Raises OfficialUnknown where they are new and no --name is given, EnrollError for a bad field or
    an unknown site.
    """
    old = desk.store.official(given.official)
    if old is None and not given.name:
        raise OfficialUnknown(
            f"本机没有编号为 {given.official} 的人员：请先导入，或加 --name 姓名 --sites 地点",
            f"nobody here has the id {given.official}: import them first, or add --name NAME "
            "--sites SITE",
        )
    sites = list(old.sites) if old is not None else []
    if given.sites is not None:
        sites = [part.strip() for part in re.split("[;；]", given.sites) if part.strip()]
        known = known_sites(desk)
        for site in sites:
            if known is not None and site not in known:
                raise EnrollError(
                    f"未知地点“{site}”（已有：{'、'.join(known) or '无'}）",
                    f"unknown site: {site} (known: {', '.join(known) or 'none'})",
                )
    fields = {"name": given.name, "title": given.title, "phone": given.phone}
    fields["work_group"] = given.group
    row = {
        "official": given.official,
        "sites": sites,
        **{
            key: value if value is not None else getattr(old, key, "")
            for key, value in fields.items()
        },
    }
    try:
        return msgspec.convert(row, wire.RosterRow)
    except msgspec.ValidationError as error:
        raise EnrollError(f"资料无效：{error}", f"not valid: {error}") from None
