"""`quxiang-server webhook`: from making one to its end, and that no secret is told twice."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli import main
from server.config import ServerConfig
from server.db import Database
from server.models import AuditEntry, Webhook
from tests.conftest import NewDatabase

from .receiver import Receiver, genuine


class Machine:
    """A server's data folder, and whoever types commands there."""

    def __init__(
        self, data: Path, database: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.config, self._capsys = ServerConfig(data, database), capsys
        more = ["--database", database] if database else []
        assert self(["init", "--data", str(data), *more], bare=True)[0] == 0

    def __call__(self, words: list[str], *, bare: bool = False) -> tuple[int, str, str]:
        """Exit status, what was printed, what was complained of."""
        self._capsys.readouterr()
        try:
            code = main(words if bare else [*words, "--data", str(self.config.data)])
        except SystemExit as ended:
            code = int(str(ended.code))
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def trail(self) -> list[tuple[str, str]]:
        database = Database(self.config)
        with database.session() as session:
            found = [(row.what, row.target) for row in session.query(AuditEntry).order_by("id")
                     if row.who == "command"]  # fmt: skip
        database.close()
        return found

    def hook(self) -> Webhook:
        database = Database(self.config)
        with database.session() as session:
            found = session.query(Webhook).one()
        database.close()
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_webhook_from_the_machine_itself(
    tmp_path: Path, new_database: NewDatabase, receiver: Receiver,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("QUXIANG_LANG", "en")
    machine = Machine(tmp_path / "data", new_database(), capsys)
    url = f"{receiver.url}/in?key=hidden-path"
    code, out, _ = machine(["webhook", "add", "县报表", url, "--topic", "records"])
    assert code == 0
    secret = out.splitlines()[-1]
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32

    code, _, err = machine(["webhook", "test", "1"])
    assert code == 1
    assert err.strip().endswith("this address is not allowed; see --webhook-network")
    assert not receiver.taken
    near = ["--webhook-network", "127.0.0.0/8"]
    assert machine(["webhook", "test", "1", *near])[0] == 0
    assert genuine(secret, receiver.taken[-1])
    receiver.answers = [500]
    code, _, err = machine(["webhook", "test", "1", *near])
    assert code == 1
    assert "refused it (500)" in err

    code, renewed, _ = machine(["webhook", "renew", "1"])
    other = renewed.splitlines()[-1]
    assert code == 0
    assert other != secret
    machine(["webhook", "test", "1", *near])
    assert genuine(other, receiver.taken[-1])
    assert not genuine(secret, receiver.taken[-1])

    assert machine(["webhook", "disable", "1"])[0] == 0
    assert machine.hook().disabled_ms is not None
    listed = machine(["webhook", "list"])[1]
    assert listed.startswith("1  stopped  records  127.0.0.1  县报表  20")
    for hidden in (secret, other, "hidden-path", "whsec_"):
        assert hidden not in listed
    assert machine(["webhook", "resume", "1"])[0] == 0
    assert machine.hook().disabled_ms is None
    assert machine(["webhook", "remove", "1"])[0] == 0
    assert machine(["webhook", "list"])[1] == ""

    trail = machine.trail()
    acts = ["make", "test", "test", "test", "renew", "test", "disable", "resume", "remove"]
    assert [act for act, _ in trail if act.endswith("_webhook")] == [f"{a}_webhook" for a in acts]
    for hidden in (secret, other, "hidden-path"):
        assert hidden not in str(trail)


def test_what_cannot_be_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUXIANG_LANG", "zh")
    machine = Machine(tmp_path / "data", None, capsys)
    for words, status, said in (
        (["add", "x", "ftp://a", "--topic", "records"], 1, "请填写 http(s)"),
        (["add", " ", "https://a.example/", "--topic", "records"], 1, "请填写用途"),
        (["add", "x", "https://a.example/"], 2, "--topic"),
        (["test", "7"], 1, "没有这个推送"),
        (["remove", "7"], 1, "没有这个推送"),
        (["list", "--township", "无乡"], 1, "没有这个乡镇"),
    ):
        code, _, err = machine(["webhook", *words])
        assert code == status, words
        assert said in err.splitlines()[-1]
        assert "Traceback" not in err
