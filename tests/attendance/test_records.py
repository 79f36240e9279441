"""The record format and the hash chain."""

import json
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attendance.chain import genesis, next_head, verify_chain
from attendance.days import MAX_MS, MIN_MS
from attendance.errors import ChainBroken, RecordInvalid
from attendance.records import MAX_INT, Record, decode_record, decode_records, encode_record
from attendance.statuses import CHOOSABLE, LOOKS, Kind, Method, SiteKind, Status, kind_of_choice

uuids = st.uuids().map(str)
counters = st.integers(1, MAX_INT)
times = st.integers(MIN_MS, MAX_MS)
ratios = st.none() | st.floats(-1, 1, allow_nan=False)
words = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)

people = st.builds(
    Record,
    device=st.from_regex(r"\A[a-z0-9]{8,32}\Z"),
    epoch=counters,
    seq=counters,
    record_id=uuids,
    kind=st.sampled_from([Kind.CHECKIN, Kind.DECLARE]),
    official=st.from_regex(r"\A[A-Za-z0-9-]{1,32}\Z"),
    status=st.sampled_from([s for s in CHOOSABLE if s is not Status.LEFT]),
    reason=words,
    until_ms=st.none() | times,
    method=st.sampled_from(Method),
    verified=st.booleans(),
    wall_ms=times,
    boot_id=uuids,
    boottime_ns=st.integers(0, MAX_INT),
    anchor=words,
    score=ratios,
    margin=ratios,
    liveness=words,
    model=words,
    gallery=st.none() | st.integers(0, MAX_INT),
)


@given(people)
def test_a_record_comes_back(record: Record) -> None:
    payload = encode_record(record)
    assert decode_record(payload) == record
    assert encode_record(decode_record(payload)) == payload


#: A field, and what a record that is none of this chain's, or none at all, has in it.
ODD: tuple[tuple[str, object], ...] = (
    ("seq", 7), ("epoch", 3), ("device", "zzzzzzzz"), ("official", "no such id"),
    ("official", None), ("boot_id", "x" * 36), ("record_id", "X" * 36), ("supersedes", "y" * 36),
    ("status", "stale"), ("kind", "amend"), ("extra", 1), ("wall_ms", "1"),
)  # fmt: skip


@given(st.lists(people, min_size=1, max_size=5), st.data())
def test_a_batch_is_read_as_its_records_one_by_one(
    batch: list[Record], data: st.DataObject
) -> None:
    place = {"device": "k3m7q9x2", "epoch": 2}
    payloads = [
        encode_record(msgspec.structs.replace(record, seq=seq, **place))
        for seq, record in enumerate(batch, 1)
    ]
    spoiled = data.draw(st.none() | st.tuples(st.integers(0, len(batch) - 1), st.sampled_from(ODD)))
    if spoiled is not None:
        number, (name, value) = spoiled
        fields = {**json.loads(payloads[number]), name: value}
        payloads[number] = msgspec.json.encode(fields)
    found = decode_records(payloads, "k3m7q9x2", 2, 1)
    assert [said(one) for one in found] == [
        alone(payload, seq) for seq, payload in enumerate(payloads, 1)
    ]


def said(one: Record | str) -> object:
    """A record's fields, or why it is none."""
    return one if isinstance(one, str) else msgspec.structs.asdict(one)


def alone(payload: bytes, seq: int) -> object:
    """What a batch should say of these bytes."""
    try:
        record = decode_record(payload)
    except RecordInvalid as error:
        return str(error)
    if (record.device, record.epoch, record.seq) == ("k3m7q9x2", 2, seq):
        return said(record)
    return "the record names another device or place in the chain"


@given(people, st.data())
def test_any_other_spelling_is_refused(record: Record, data: st.DataObject) -> None:
    payload = encode_record(record)
    fields = json.loads(payload)
    shuffled = data.draw(st.permutations(list(fields.items())))
    other = data.draw(
        st.sampled_from(
            [
                payload + b" ",
                json.dumps(dict(shuffled[::-1])).encode(),
                payload[:-1] + b',"seq":%d}' % record.seq,
                payload[:-1] + b',"extra":1}',
                payload.replace(b'"v":1', b'"v":2', 1),
                payload.replace(b'"v":1', b'"v":1.0', 1),
                payload[:-1],
            ]
        )
    )
    with pytest.raises(RecordInvalid):
        decode_record(other)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(payload: bytes) -> None:
    with pytest.raises(RecordInvalid):
        decode_record(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"official": None},
        {"status": None},
        {"method": None},
        {"status": Status.UNKNOWN},
        {"status": Status.STALE},
        {"kind": Kind.CHECKOUT},
        {"kind": Kind.AMEND},
        {"supersedes": str(uuid.UUID(int=1))},
        {"kind": Kind.ERASURE},
        {"kind": Kind.CLOCK, "official": None},
        {"seq": 2**63},
        {"seq": 0},
        {"score": float("nan")},
        {"score": float("inf")},
        {"margin": float("nan")},
        {"record_id": str(uuid.UUID(int=9)).upper().replace("0", "A")},
        {"record_id": ""},
        {"boot_id": str(uuid.UUID(int=8)) + "\n"},
        {"kind": Kind.AMEND, "supersedes": "the one before"},
        {"kind": Kind.FAULT, "detail": "\u6b7b" * 501},
        {"wall_ms": 10**15},
        {"official": "../../etc"},
        {"official": "zhang\n"},
        {"reason": "x" * 65},
        {"device": "K1"},
        {"device": "k0000001\n"},
    ],
    ids=lambda c: ",".join(f"{k}={str(v)[:20]}" for k, v in c.items()),
)
def test_what_cannot_be_read_back_is_never_written(change: dict[str, object]) -> None:
    good = Record(
        device="k0000001", epoch=1, seq=1, record_id=str(uuid.UUID(int=9)), kind=Kind.CHECKIN,
        official="zhang-3", status=Status.ON_DUTY, method=Method.PIN, wall_ms=0,
        boot_id=str(uuid.UUID(int=8)), boottime_ns=0,
    )  # fmt: skip
    encode_record(good)
    with pytest.raises(RecordInvalid):
        encode_record(msgspec.structs.replace(good, **change))


chains = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=12)


def link(payloads: list[bytes]) -> list[tuple[int, bytes, bytes]]:
    head = genesis("k0000001", 1)
    links = []
    for seq, payload in enumerate(payloads, start=1):
        head = next_head(head, payload)
        links.append((seq, payload, head))
    return links


@given(chains, st.data())
def test_every_flipped_bit_is_found_where_it_is(payloads: list[bytes], data: st.DataObject) -> None:
    links = link(payloads)
    start = genesis("k0000001", 1)
    assert verify_chain(start, links) == links[-1][2]
    at = data.draw(st.integers(0, len(links) - 1))
    seq, payload, head = links[at]
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    flipped = bytearray(payload)
    flipped[bit // 8] ^= 1 << bit % 8
    links[at] = (seq, bytes(flipped), head)
    with pytest.raises(ChainBroken) as caught:
        verify_chain(start, links)
    assert caught.value.seq == at + 1


@given(chains, st.data())
def test_a_dropped_record_is_named(payloads: list[bytes], data: st.DataObject) -> None:
    links = link([*payloads, b"last"])
    at = data.draw(st.integers(0, len(links) - 2))
    with pytest.raises(ChainBroken) as caught:
        verify_chain(genesis("k0000001", 1), links[:at] + links[at + 1 :])
    assert caught.value.seq == at + 1


def test_epochs_and_devices_start_apart() -> None:
    heads = {genesis("k0000001", 1), genesis("k0000002", 1), genesis("k0000001", 2),
             genesis("k0000001", 2, b"x" * 32)}  # fmt: skip
    assert len(heads) == 4


def test_every_status_looks_like_itself() -> None:
    assert set(LOOKS) == set(Status)
    for status in CHOOSABLE:
        same = [s for s in CHOOSABLE if LOOKS[s].shape == LOOKS[status].shape]
        assert same == [status], "a shape tells one status from all others"


def test_presence_is_a_checkin_only_where_the_kiosk_stands() -> None:
    assert kind_of_choice(Status.ON_DUTY, SiteKind.OFFICE) is Kind.CHECKIN
    assert kind_of_choice(Status.IN_VILLAGE, SiteKind.VILLAGE) is Kind.CHECKIN
    assert kind_of_choice(Status.ON_DUTY, SiteKind.VILLAGE) is Kind.DECLARE
    assert kind_of_choice(Status.ON_LEAVE, SiteKind.OFFICE) is Kind.DECLARE
    assert kind_of_choice(Status.LEFT, SiteKind.OFFICE) is Kind.CHECKOUT
    with pytest.raises(ValueError, match="cannot be chosen"):
        kind_of_choice(Status.STALE, SiteKind.OFFICE)


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("status", LOOKS)
def test_what_is_written_on_a_status_can_be_read(status: Status) -> None:
    light, dark = sorted((luminance(LOOKS[status].css), luminance(LOOKS[status].ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
