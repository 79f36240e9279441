"""Sheets of paper: HTML of our own templates as PDF, fonts included, nothing fetched."""

from __future__ import annotations

from attendance.i18n import say
from server.errors import PaperMissing


def pdf(html: str) -> bytes:
    """The page as PDF. Pictures and styles stand in the page itself (`data:` addresses).

    Raises PaperMissing where WeasyPrint's system libraries (Pango, HarfBuzz) are not installed.
    """
    try:
        from weasyprint import HTML
        from weasyprint.urls import URLFetcher
    except OSError as error:  # cffi: the shared library is not there
        raise PaperMissing(
            say(
                "本服务器缺少制作 PDF 的系统库：请安装 libpango-1.0-0、libpangoft2-1.0-0 和 "
                "libharfbuzz-subset0，或用浏览器打印",
                "system libraries for PDF are missing: install libpango-1.0-0, "
                "libpangoft2-1.0-0 and libharfbuzz-subset0, or print from the browser",
            )
        ) from error
    # A sheet may never read a file or ask the network, whatever a name or an address contains.
    fetcher = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    made: bytes = HTML(string=html, url_fetcher=fetcher).write_pdf()
    return made
