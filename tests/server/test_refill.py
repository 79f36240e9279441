"""What was typed stands in the form again, and nowhere else."""

from __future__ import annotations

import pytest

from server.web.refill import kept, refilled

PAGE = """<html><main id="main">
<form method="get" action="/x"><input name="q" value="old"></form>
<details class="panel"><summary>a</summary><details open><summary>b</summary>
<form method="post" action="/x/1"><input type="hidden" name="csrf_token" value="new">
<input type="hidden" name="official" value="A1"><input name="text" maxlength="9">
<input type="password" name="secret" value=""><input type="file" name="file">
<input type="checkbox" name="day" value="0"><input type="checkbox" name="day" value="1" checked>
<select name="kind"><option value="a" selected>A</option><option value="b">B</option></select>
<select name="site"><option value="">-</option><option>杏树村 &amp; 东沟</option></select>
<textarea name="why" rows="2">before</textarea><button>go</button></form></details></details>
<form method="post"><input type="hidden" name="official" value="A2"><input name="text"></form>
</main></html>"""


def sent(**fields: str | list[str]) -> dict[str, list[str]]:
    return {k: [v] if isinstance(v, str) else v for k, v in fields.items()}


def test_what_was_typed_stands_in_the_form_again() -> None:
    fields = sent(official="A1", text='"><script>', day=["0"], kind="b", site="杏树村 & 东沟",
                  why="<b>", secret="s", csrf_token="t")  # fmt: skip
    made = refilled(PAGE, "/x", "/x/1", kept(fields.items()), "no <good>")
    assert '<input name="text" maxlength="9" value="&#34;&gt;&lt;script&gt;">' in made
    assert '<input type="checkbox" name="day" value="0" checked>' in made
    assert '<input type="checkbox" name="day" value="1">' in made
    assert '<option value="a">A</option><option value="b" selected>B' in made
    assert "<option selected>杏树村 &amp; 东沟</option>" in made
    assert ">&lt;b&gt;</textarea>" in made
    assert '<details open class="panel"><summary>a' in made
    assert made.count(" open") == 2
    assert 'action="/x/1"><p class="says bad" role="alert">no &lt;good&gt;</p>' in made
    assert 'value="s"' not in made, "no secret comes back"
    assert 'name="csrf_token" value="new"' in made
    assert '<input name="q" value="old">' in made, "another form is left alone"


@pytest.mark.parametrize("official", ["A2", "A3"])
def test_only_the_form_that_was_sent_is_filled(official: str) -> None:
    made = refilled(PAGE, "/x", "/x", sent(official=official, text="typed"), "no")
    assert ('<input name="text" value="typed">' in made) is (official == "A2")
    assert made.count('role="alert"') == 1
    assert made.index("alert") > made.index("<main"), "said, whatever form it was"
