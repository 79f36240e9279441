"""Mutated requests to a real server: hypothesis bends what kiosks, desks and strangers send.

Each request begins as a true one, made against the state of its sender: a batch that follows the
cursor or does not, a cursor with its health, a pairing, a roster, a portrait, a sealed gallery,
a withdrawal. Then its JSON is bent (values, types, keys, doubled keys, tokens), its records are
chained and signed again so that the bent ones reach the rules and the database, its gzip, its
bytes, its signature and its HTTP are bent too. No answer may be 500 or more, each request must be
answered, with a signature where the interface answers, nothing acknowledged may be missing, the
chain of a kiosk that does no harm goes on, `verify` holds, and memory stays where it was.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from sqlalchemy import text

from attendance import proposals as told
from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.signing import to_text
from kiosk.fakes import package
from tests.attacks.addresses import (
    DESK,
    FORMS,
    KIOSK,
    PAGES,
    Clerk,
    filled,
    form_of,
    pick,
    signed_path,
)
from tests.attacks.attacker import (
    Answer,
    Attacker,
    Target,
    attacked,
    chunked,
    request,
    signature_holds,
)
from tests.attacks.bend import (
    CUT,
    GETS,
    RECIPES,
    Bare,
    Bite,
    Obj,
    Recipe,
    bite,
    dump,
    pack,
    parse,
    twist,
)
from tests.faults.rig import SEED, Broken, main, need

#: Bytes that a worker may hold more than after its first requests, and at the worst moment: one
#: upload of 4 MiB and a portrait of 40 million pixels are open at the same time. Pages keep their
#: templates, drawings and words once they were asked for.
MAY_KEEP = 56 << 20
MAY_PEAK = 256 << 20


@dataclass
class Senders:
    """Who sends: kiosks in several states, a desk, and one kiosk that does no harm."""

    target: Target
    kiosk: Attacker = field(init=False)
    old: Attacker = field(init=False)
    revoked: Attacker = field(init=False)
    desk: Attacker = field(init=False)
    honest: Attacker = field(init=False)
    clerk: Clerk = field(init=False)
    everybody: list[Attacker] = field(default_factory=list)
    version: int = 0

    def __post_init__(self) -> None:
        self.desk = self.target.pair("desk")
        for name in ("honest", "revoked", "old", "kiosk"):
            setattr(self, name, self.fresh())
        self.store(self.honest, 5)
        self.store(self.revoked, 3)
        self.target.revoke(self.revoked.device)
        people = [
            wire.RosterRow(official=f"A-{n}", name="某人", title="", phone="", work_group="",
                           sites=["杏树村"])
            for n in range(3)
        ]  # fmt: skip
        answer = self.desk.ask(wire.encode(wire.Roster(officials=people)), wire.DESK_ROSTER, "PUT")
        need(answer.status == 200, "the roster was not taken")
        self.clerk = Clerk(self.target)
        self.clerk.sign_in()

    def fresh(self) -> Attacker:
        made = self.target.pair()
        self.everybody.append(made)
        return made

    def store(self, who: Attacker, number: int) -> None:
        answer = who.ask(who.batch(who.payloads(number)))
        need(answer.status == 200, f"an honest batch was answered {answer.status}")
        who.note(answer)

    def who(self, name: str, route: str) -> Attacker:
        if name in ("old", "revoked", "desk"):
            return {"old": self.old, "revoked": self.revoked, "desk": self.desk}[name]
        if name == "nobody":
            return Attacker(self.target, "n0b0dy00")
        desks = ("roster", "portrait", "gallery", "withdrawal", "decision", "desk address")
        return self.desk if route in desks else self.kiosk


def picture() -> bytes:
    """A small true JPEG."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 80), (90, 120, 60)).save(out, "JPEG")
    return out.getvalue()


PICTURE = picture()


def body_of(recipe: Recipe, senders: Senders, who: Attacker) -> tuple[str, str, bytes]:
    """Method, path and body before its bytes are bent."""
    if recipe.route == "records":
        return "POST", wire.RECORDS, pack(_batch(recipe, who), recipe.pack)
    if recipe.route == "get":
        return "GET", GETS[recipe.size % len(GETS)], b""
    if recipe.route in ("kiosk address", "page"):
        among = PAGES if recipe.route == "page" else KIOSK
        path = among[pick(among, recipe.where)]
        return "GET", filled(path, recipe.hole, recipe.value), b""
    if recipe.route == "desk address":
        method, path = DESK[pick(DESK, recipe.where)]
        return method, filled(path, recipe.hole, recipe.value), PICTURE
    if recipe.route == "form":
        path, names = FORMS[pick(FORMS, recipe.where)]
        token = senders.clerk.token if recipe.sign == "true" else "0"
        body = form_of(names, token, recipe.hole, recipe.value, recipe.where * 7 % 1000)
        return "POST", filled(path, str(recipe.size), ""), body
    if recipe.route == "portrait":
        return "PUT", f"{wire.DESK_PORTRAITS}/A-{recipe.size % 4}", PICTURE
    if recipe.route == "gallery":
        return "PUT", f"{wire.DESK_GALLERIES}/{senders.kiosk.device}", _gallery(recipe, senders)
    method, path, true = _message(recipe, senders, who)
    return method, path, dump(twist(parse(wire.encode(true)), recipe.twists))


def _message(recipe: Recipe, senders: Senders, who: Attacker) -> tuple[str, str, Any]:
    if recipe.route == "cursor":
        who.boottime_ns += 10**9
        health = wire.Health(
            camera="ok", lamps="ok", clock="A", disk_free_mb=900, version="1",
            refused={"unknown": 3}, oldest_s=4, rejected=0,
            gallery_expires_ms=1_790_000_000_000, troubles=["camera"],
        )  # fmt: skip
        return "POST", wire.CURSOR, wire.CursorRequest(
            epoch=who.epoch, seq=who.seq, head=(who.head or who.start).hex(),
            boot_id=f"00000000-0000-0000-0000-{recipe.size:012}", boottime_ns=who.boottime_ns,
            wall_ms=1_790_000_000_000, pending=0, gallery=0, anchor="19f.3b.00", rtt_ns=40_000_000,
            health=health,
        )  # fmt: skip
    if recipe.route == "pair":
        code = senders.target.code() if recipe.size == 1 else "AAAA-BBBB"
        return "POST", wire.PAIR, wire.PairRequest(
            code=code, kind="kiosk", sign_key=to_text(who.keys.sign_public),
            box_key=to_text(who.keys.box_public),
        )  # fmt: skip
    if recipe.route == "roster":
        rows = [
            wire.RosterRow(official=f"A-{n}", name="张三", title="干部", phone="139",
                           work_group="一组", sites=["杏树村"])
            for n in range(recipe.size)
        ]  # fmt: skip
        return "PUT", wire.DESK_ROSTER, wire.Roster(officials=rows)
    if recipe.route == "decision":
        return "POST", told.DESK_DECISIONS, told.Decision(
            id=f"00000000-0000-0000-0000-{recipe.where:012}", official=f"A-{recipe.size % 4}",
            device=senders.kiosk.device, what="accepted", by="王芳", at_ms=1_790_000_000_000,
        )  # fmt: skip
    withdrawal = wire.Withdrawal(official=f"A-{recipe.size % 4}", at_ms=1_790_000_000_000)
    return "POST", wire.DESK_WITHDRAWALS, withdrawal


def _batch(recipe: Recipe, who: Attacker) -> bytes:
    """The batch before it is packed: records bent, chained again, and the whole bent and signed."""
    first, epoch = who.seq + 1, who.epoch
    if recipe.place == "gap":
        first += 7
    elif recipe.place in ("again", "other", "before"):
        first = max(1, who.seq - 2)
    elif recipe.place == "end":
        first = 2**63 - 1 - recipe.size
    elif recipe.place == "epoch":
        first, epoch = 1, who.epoch + 1
    payloads = []
    for number, record in enumerate(who.records(recipe.size, first)):
        tree = parse(msgspec.json.encode(msgspec.structs.replace(record, epoch=epoch)))
        payloads.append(dump(twist(tree, tuple(t for n, t in recipe.records if n == number))))
    before = who.head or who.start
    cites = before.hex() if epoch > who.epoch else None
    if cites is not None:
        before = genesis(who.device, epoch, before)
    tree: Any = Obj(
        [("v", 1), ("device", who.device), ("epoch", epoch), ("first", first),
         ("last", first + len(payloads) - 1), ("before", before.hex()),
         ("head", run_chain(before, payloads).hex()), ("cites", cites),
         ("records", [Bare(p) for p in payloads]), ("signature", "")]
    )  # fmt: skip
    if not recipe.resign:
        _sign_batch(tree, who)
    tree = twist(tree, recipe.twists)
    if recipe.resign:
        _sign_batch(tree, who)
    return dump(tree)


def _sign_batch(tree: Any, who: Attacker) -> None:
    """Signs whatever the batch says now, where it still is one."""
    if not isinstance(tree, Obj):
        return
    said = {str(k): v for k, v in tree}
    claim = "\n".join(
        str(said.get(name, "")) for name in ("device", "epoch", "first", "last", "before", "head")
    )
    claim += "\n" + str(said.get("cites") or "")
    signature = to_text(who.keys.sign(wire.BATCH_DOMAIN, claim.encode("utf-8", "replace")))
    tree[:] = [(k, signature if k == "signature" else v) for k, v in tree]


def _gallery(recipe: Recipe, senders: Senders) -> bytes:
    """A sealed gallery for the kiosk, its manifest bent and signed again."""
    senders.version += 1
    contents = wire.GalleryContents(
        device=senders.kiosk.device, version=senders.version, model="sface", dimension=128,
        pin_key=b"p" * 32, people=[],
    )  # fmt: skip
    made = package(senders.desk.keys, senders.kiosk.keys.box_public, contents)
    bent = dump(twist(parse(bytes(made.manifest)), recipe.twists))
    signature = to_text(senders.desk.keys.sign(wire.MANIFEST_DOMAIN, bent))
    tree = Obj([("v", 1), ("manifest", Bare(bent)),
                ("signature", signature if recipe.resign else made.signature),
                ("sealed", made.sealed)])  # fmt: skip
    return dump(tree)


def realise(recipe: Recipe, senders: Senders) -> tuple[Attacker, str, str, bytes, dict[str, str]]:
    """The request as bytes: who sends it, method, path, raw bytes, and its headers."""
    who = senders.who(recipe.who, recipe.route)
    method, path, body = body_of(recipe, senders, who)
    body = bite(body, recipe.bites)
    path += recipe.path
    headers = {}
    if recipe.sign != "none":
        signer = {"other": senders.honest}.get(recipe.sign, who)
        headers = wire.sign_request(signer.keys, who.device, method, signed_path(path), body)
    if recipe.sign == "wrong":
        headers[wire.HEADER_SIGNATURE] = to_text(bytes(64))
    elif recipe.sign == "text":
        headers[wire.HEADER_SIGNATURE] = str(recipe.value).replace("\r", "").replace("\n", "")[:200]
    elif recipe.sign == "domain":
        claim = wire.request_claim(method, path, body)
        headers[wire.HEADER_SIGNATURE] = to_text(who.keys.sign(wire.BATCH_DOMAIN, claim))
    if recipe.route in ("page", "form") and recipe.who != "nobody":
        headers = {**headers, **senders.clerk.headers}
    return who, method, path, _http(recipe, method, path, headers, body), headers


def _http(recipe: Recipe, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    how = recipe.http
    if how == "chunked":
        return request(
            method, path, {**headers, "Transfer-Encoding": "chunked"}, chunked(body, 333)
        )
    if how == "chunked bad":
        bent = bite(chunked(body, 64), (*recipe.bites, Bite(300, "flip", b"\x11")))
        return request(method, path, {**headers, "Transfer-Encoding": "chunked"}, bent)
    if how in ("short", "long"):
        length = len(body) // 2 if how == "short" else len(body) + 9
        return request(method, path, {**headers, "Content-Length": str(length)}, body)
    extra = {
        "twice": {"Content-Length": f"{len(body)}, {len(body)}"},
        "coding": {"Transfer-Encoding": "gzip, chunked"},
        "header": {"X-\x01": "\x00"},
        "huge header": {"Cookie": "x" * 20_000},
        "expect": {"Expect": "100-continue"},
        "gzip coding": {"Content-Encoding": "gzip"},
    }.get(how, {})
    raw = request("PATCH" if how == "method" else method, path, {**headers, **extra}, body)
    return raw.replace(b"HTTP/1.1", b"HTTP/9.1", 1) if how == "version" else raw


@dataclass
class Seen:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    slowest: float = 0.0
    broken: list[str] = field(default_factory=list)


def attack(recipe: Recipe, senders: Senders, seen: Seen) -> None:
    """One request, and what must hold of its answer."""
    who, _method, path, raw, headers = realise(recipe, senders)
    answer = senders.target.send(raw)
    if answer is None:
        seen.unanswered += 1
        if recipe.http not in CUT:
            seen.broken.append(f"no answer to {recipe}")
        return
    seen.statuses[answer.status] += 1
    seen.words[answer.problem or "-"] += 1
    seen.slowest = max(seen.slowest, answer.seconds)
    if answer.status >= 500:
        seen.broken.append(f"{answer.status} {answer.body[:80]!r} to {recipe}")
    elif path.startswith(wire.PREFIX) and wire.HEADER_SIGNATURE.lower() in answer.headers:
        asked = headers.get(wire.HEADER_SIGNATURE, "")
        if asked.isascii() and not signature_holds(senders.target, asked.strip(), answer):
            seen.broken.append(f"an answer's signature does not hold: {recipe}")
    _follow(recipe, senders, who, answer)


def _follow(recipe: Recipe, senders: Senders, who: Attacker, answer: Answer) -> None:
    """Keeps up with what the request did to its sender."""
    if recipe.route == "records" and answer.status == 200 and recipe.http != "short":
        who.note(answer)
    elif answer.problem == "fork" and who is senders.kiosk:
        senders.old, senders.kiosk = senders.kiosk, senders.fresh()


def check_after(senders: Senders, seen: Seen) -> None:
    """What must hold once it is over. Raises Broken."""
    target = senders.target
    if seen.broken:
        raise Broken(f"{len(seen.broken)} answers; first: {seen.broken[0]}")
    senders.store(senders.honest, 5)
    with target.database.session() as session:
        rows = {
            tuple(row)
            for row in session.execute(text("SELECT device_id, epoch, seq FROM record")).all()
        }
    for each in senders.everybody:
        need(each.acked <= rows, f"acknowledged and not there: {sorted(each.acked - rows)[:3]}")
    need(senders.honest.seq == 10, "the honest kiosk's chain did not go on")
    board = target.ask("GET", "/board.json")
    need(board is not None and board.status == 200, f"the board answers {board}")
    officials = target.ask("GET", "/officials", senders.clerk.headers)
    need(officials is not None and officials.status == 200, "the clerk is signed in no more")


def storm(target: Target, times: int, chance: int = SEED) -> tuple[Seen, Senders]:
    """`times` mutated requests. Raises Broken."""
    senders, seen = Senders(target), Seen()
    workers = target.workers
    calm = 0

    @seed(chance)
    @settings(
        max_examples=times,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    @given(RECIPES)
    def each(recipe: Recipe) -> None:
        nonlocal calm
        attack(recipe, senders, seen)
        if sum(seen.statuses.values()) == max(times // 10, 100):
            calm = target.memory()

    each()
    check_after(senders, seen)
    need(target.workers == workers, "a worker died")
    if calm:
        more, peak = target.memory() - calm, target.memory("VmHWM") - calm
        need(more < MAY_KEEP, f"a worker holds {more >> 20} MiB more than before")
        need(peak < MAY_PEAK, f"a worker held {peak >> 20} MiB more at the worst moment")
    return seen, senders


def run(times: int, mode: str = "sqlite", seed: int = SEED) -> str:
    """`times` mutated requests; the line to print. Raises Broken."""
    with attacked(mode) as target:
        before = target.memory()
        seen, senders = storm(target, times, seed)
        after, peak = target.memory(), target.memory("VmHWM")
        done = sum(seen.statuses.values()) + seen.unanswered
        stored = sum(len(each.acked) for each in senders.everybody)
    statuses = ", ".join(f"{status} {count}" for status, count in sorted(seen.statuses.items()))
    words = ", ".join(f"{word} {count}" for word, count in seen.words.most_common() if word != "-")
    return (
        f"{mode}: {done} mutated requests: {statuses}; {seen.unanswered} cut by ourselves; "
        f"{words}; {stored} records stored from {len(senders.everybody)} kiosks and all there; "
        f"0 answers of 500 or more; slowest {seen.slowest * 1000:.0f} ms; a worker held "
        f"{before >> 20} MiB before, {after >> 20} after, {peak >> 20} at the most"
    )


if __name__ == "__main__":
    main(__doc__, run, 10_000, "requests", modes=("sqlite", "postgres"))
