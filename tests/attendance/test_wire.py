"""The wire: what is encoded is decoded, and nothing else is."""

import gzip
import json
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attendance import wire
from attendance.chain import genesis, run_chain
from attendance.errors import SignatureInvalid, WireInvalid
from attendance.pairing import PairingCode, Vouched
from attendance.records import Record, encode_record
from attendance.signing import DeviceKeys, seal
from attendance.statuses import Kind, Method, Status

KEYS = DeviceKeys.generate()
OTHER = DeviceKeys.generate()
DEVICE = "k0000001"


def payloads(n: int, first: int = 1) -> list[bytes]:
    return [
        encode_record(
            Record(
                device=DEVICE,
                epoch=1,
                seq=first + i,
                record_id=str(uuid.UUID(int=first + i)),
                kind=Kind.CHECKIN,
                official="zhang-3",
                status=Status.IN_VILLAGE,
                method=Method.FACE,
                wall_ms=1_790_000_000_000 + i,
                boot_id=str(uuid.UUID(int=7)),
                boottime_ns=10**9 * i,
                score=0.71,
            )
        )
        for i in range(n)
    ]


@given(st.integers(1, 40), st.integers(1, 10**6))
def test_a_batch_comes_back_byte_for_byte(n: int, first: int) -> None:
    sent = payloads(n, first)
    before = genesis(DEVICE, 1)
    body = wire.encode_batch(KEYS, DEVICE, 1, first, before, sent)
    batch, got = wire.decode_batch(body, KEYS.sign_public)
    assert got == sent
    assert (batch.first, batch.last) == (first, first + n - 1)
    assert bytes.fromhex(batch.head) == run_chain(before, sent)


def test_a_batch_of_another_key_is_refused() -> None:
    body = wire.encode_batch(OTHER, DEVICE, 1, 1, genesis(DEVICE, 1), payloads(2))
    with pytest.raises(SignatureInvalid):
        wire.decode_batch(body, KEYS.sign_public)


def test_a_changed_record_does_not_follow() -> None:
    body = wire.encode_batch(KEYS, DEVICE, 1, 1, genesis(DEVICE, 1), payloads(2))
    changed = gzip.compress(wire.unpack(body).replace(b"zhang-3", b"zhang-4"))
    with pytest.raises(WireInvalid, match="heads"):
        wire.decode_batch(changed, KEYS.sign_public)


def test_a_bomb_is_never_unpacked() -> None:
    with pytest.raises(WireInvalid, match="more than"):
        wire.unpack(gzip.compress(b"0" * (64 << 20)))


@pytest.mark.parametrize(
    "cut",
    [b"", b"\x1f\x8b", gzip.compress(b"{}", mtime=0)[:-3]],
    ids=["nothing", "two_bytes", "no_end"],
)
def test_a_cut_stream_is_named(cut: bytes) -> None:
    with pytest.raises(WireInvalid):
        wire.unpack(cut)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"v":1}', b"[" * 100_000, b"\xff\xfe", b'{"epoch":NaN}'],
    ids=["empty", "list", "brace", "fields", "deep", "latin", "nan"],
)
def test_malformed_messages_are_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(WireInvalid):
        wire.decode(body, wire.CursorRequest)


def test_requests_refuse_unknown_fields_and_replies_ignore_them() -> None:
    row = {"official": "a", "at_ms": 1, "v": 1, "extra": 1}
    with pytest.raises(WireInvalid):
        wire.decode(json.dumps(row).encode(), wire.Withdrawal)
    reply = wire.decode(b'{"error":"x","message":"y","new":1}', wire.Problem)
    assert reply.error == "x"


def test_a_key_that_stands_twice_is_refused_and_another_order_is_not() -> None:
    row = b'{"official":"A-1","name":"n","title":"","phone":"","work_group":"","sites":[]}'
    doubled = row.replace(b'"title":""', b'"title":"","title":"x"')
    turned = b' {"officials": [ ' + row + b' ], "v": 1}'
    assert wire.decode(turned, wire.Roster).officials[0].official == "A-1"
    for bad in (
        b'{"v":1,"officials":[' + doubled + b"]}",
        b'{"v":1,"v":1,"officials":[]}',
        b'{"v":1,"officials":[' + row + b'],"officials":[]}',
    ):
        with pytest.raises(WireInvalid, match="twice"):
            wire.decode(bad, wire.Roster)


def test_a_request_is_signed_as_a_whole() -> None:
    headers = wire.sign_request(KEYS, DEVICE, "post", "/api/v1/cursor?x=1", b"{}")
    signature = headers[wire.HEADER_SIGNATURE]
    wire.check_request(KEYS.sign_public, signature, "POST", "/api/v1/cursor?x=1", b"{}")
    for method, target, body in [
        ("GET", "/api/v1/cursor?x=1", b"{}"),
        ("POST", "/api/v1/cursor?x=2", b"{}"),
        ("POST", "/api/v1/cursor?x=1", b"{ }"),
    ]:
        with pytest.raises(SignatureInvalid):
            wire.check_request(KEYS.sign_public, signature, method, target, body)
    with pytest.raises(SignatureInvalid):
        wire.check_request(KEYS.sign_public, "AAAA", "POST", "/api/v1/cursor?x=1", b"{}")


def test_only_the_sealed_for_device_reads() -> None:
    contents = wire.GalleryContents(
        device=DEVICE, version=3, model="sface-x", dimension=2, pin_key=b"k" * 32,
        people=[wire.Person(official="a", name="张三", title="", templates=b"\x00" * 8)],
    )  # fmt: skip
    sealed = seal(KEYS.box_public, wire.encode_contents(contents))
    assert wire.decode_contents(KEYS.open(sealed)) == contents
    with pytest.raises(SignatureInvalid):
        OTHER.open(sealed)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_decoders(body: bytes) -> None:
    for attempt in (
        lambda: wire.decode_batch(body, KEYS.sign_public),
        lambda: wire.decode_batch(gzip.compress(body), KEYS.sign_public),
        lambda: wire.decode_contents(body),
        lambda: wire.decode(body, wire.Roster),
    ):
        with pytest.raises((WireInvalid, SignatureInvalid)):
            attempt()


def test_a_pairing_code_survives_a_hand() -> None:
    code = PairingCode.make(KEYS.sign_public, OTHER.sign_public)
    assert PairingCode.parse(str(code)) == code
    assert PairingCode.parse(str(code).lower().replace("0", "o").replace("-", " ")) == code
    desks = [b"x" * 32, OTHER.sign_public]
    assert code.vouches_for(KEYS.sign_public, desks) == Vouched(OTHER.sign_public, False)
    assert code.vouches_for(OTHER.sign_public, desks) is None
    assert code.vouches_for(KEYS.sign_public, [KEYS.sign_public]) is None
    assert code.vouches_for(KEYS.sign_public) is None
    early = PairingCode.parse(str(PairingCode.make(KEYS.sign_public, None)))
    assert early.vouches_for(KEYS.sign_public, desks) == Vouched(None, False)
    assert early.vouches_for(KEYS.sign_public, desks, b"c" * 32) == Vouched(None, False)
    tls = PairingCode.make(KEYS.sign_public, OTHER.sign_public, b"c" * 32)
    assert len(str(tls).replace("-", "")) == 20
    assert tls.vouches_for(KEYS.sign_public, desks, b"c" * 32) == Vouched(OTHER.sign_public, True)
    assert tls.vouches_for(KEYS.sign_public, desks, b"d" * 32) is None
    assert tls.vouches_for(KEYS.sign_public, desks) is None
    for wrong in ("", "1234", "-" * 20, "１２３４５６７８９０１２３４５６７８９０", "!" * 20):
        with pytest.raises(WireInvalid):
            PairingCode.parse(wrong)


def test_keys_do_not_print_themselves() -> None:
    assert KEYS.sign_seed.hex() not in repr(KEYS)
    assert str(KEYS.sign_seed) not in repr(KEYS)


def test_raw_records_keep_their_bytes() -> None:
    assert (
        bytes(msgspec.json.decode(b'[{"b":1, "a":2}]', type=list[msgspec.Raw])[0])
        == b'{"b":1, "a":2}'
    )


def test_a_brief_answer_says_the_same_and_only_where_the_head_is_ours() -> None:
    sent = dict(enumerate(payloads(5, 3), 3))
    heads = [run_chain(b"h" * 32, list(sent.values())[:n]) for n in range(6)]
    body = wire.encode_batch(KEYS, DEVICE, 1, 3, b"h" * 32, list(sent.values()))
    batch, _ = wire.decode_batch(body, KEYS.sign_public)
    words = {3: "duplicate", 4: "stored", 5: "rejected", 6: "stored", 7: "stored"}
    results = [
        wire.Result(
            seq=seq,
            record_id=str(uuid.UUID(int=seq)),
            result=word,
            why="bad" if word == "rejected" else None,
        )
        for seq, word in words.items()
    ]
    whole = wire.BatchReply(results=results, epoch=1, seq=7, head=heads[5].hex())
    short = wire.decode(wire.encode(wire.brief(whole, batch)), wire.BatchReply)
    assert [(r.first, r.last, r.result) for r in short.runs] == [
        (3, 3, "duplicate"), (4, 4, "stored"), (6, 7, "stored"),
    ]  # fmt: skip
    assert wire.spelled(short, heads[5], sent) == results
    assert wire.spelled(short, heads[4], sent) == [results[2]], "another head vouches for none"
    assert wire.spelled(short, None, sent) == [results[2]]
    wide = msgspec.structs.replace(short, runs=[wire.Run(first=1, last=10**9, result="stored")])
    assert [r.seq for r in wire.spelled(wide, heads[5], sent)] == [3, 4, 5, 5, 6, 7]
    elsewhere = msgspec.structs.replace(whole, seq=9)
    assert wire.brief(elsewhere, batch) == elsewhere
