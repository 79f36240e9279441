"""Spot checks drawn at random: the seed and the population give the same draw to everybody.

The draw does not rest on `random`, whose methods may change between releases of Python: each
candidate gets the SHA-256 of seed and name, and the lowest are drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from attendance.decoding import json_of


@dataclass(frozen=True)
class Drawn:
    """Sites in the order of the draw, and for each the codes of officials."""

    sites: tuple[str, ...]
    people: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Ballot:
    """What a draw is made from: how many sites, how many people at each, and codes by site."""

    sites: int
    people: int
    population: dict[str, list[str]]


def rank(seed: str, what: str, name: str) -> bytes:
    """Where a candidate stands in the draw: lower is drawn first."""
    return hashlib.sha256(f"quxiang-draw/1\n{seed}\n{what}\n{name}".encode()).digest()


def lowest(seed: str, what: str, names: Sequence[str], wanted: int) -> tuple[str, ...]:
    """The `wanted` names that the seed draws, all where there are fewer."""
    return tuple(sorted(set(names), key=lambda name: rank(seed, what, name))[: max(wanted, 0)])


def draw(seed: str, ballot: Ballot) -> Drawn:
    """Draws sites, and at each as many as were asked for of those expected there.

    Sites where nobody is expected are never drawn.
    """
    held = ballot.population
    chosen = lowest(seed, "site", [site for site, codes in held.items() if codes], ballot.sites)
    return Drawn(
        chosen,
        {site: lowest(seed, f"person\n{site}", held[site], ballot.people) for site in chosen},
    )


def to_json(value: Ballot | Drawn) -> str:
    """Ballot or draw as they are stored."""
    return msgspec.json.encode(value, order="sorted").decode()


def ballot_from(text: str) -> Ballot:
    """A stored ballot."""
    return json_of(Ballot).decode(text)


def drawn_from(text: str) -> Drawn:
    """A stored draw."""
    return json_of(Drawn).decode(text)
