"""Spot checks drawn at random: the seed and the population give the same draw to everybody.

The draw does not rest on `random`, whose methods may change between releases of Python: each
candidate gets the SHA-256 of seed and name, and the lowest are drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Drawn:
    """Sites in the order of the draw, and for each the codes of officials."""

    sites: tuple[str, ...]
    people: dict[str, tuple[str, ...]]


def rank(seed: str, what: str, name: str) -> bytes:
    """Where a candidate stands in the draw: lower is drawn first."""
    return hashlib.sha256(f"quxiang-draw/1\n{seed}\n{what}\n{name}".encode()).digest()


def lowest(seed: str, what: str, names: Sequence[str], wanted: int) -> tuple[str, ...]:
    """The `wanted` names that the seed draws, all where there are fewer."""
    return tuple(sorted(set(names), key=lambda name: rank(seed, what, name))[: max(wanted, 0)])


def draw(seed: str, population: Mapping[str, Sequence[str]], sites: int, people: int) -> Drawn:
    """Draws `sites` of the population's sites, and at each `people` of those expected there.

    `population` are codes of officials by site; sites where nobody is expected are never drawn.
    """
    candidates = [site for site, codes in population.items() if codes]
    chosen = lowest(seed, "site", candidates, sites)
    return Drawn(
        chosen, {site: lowest(seed, f"person\n{site}", population[site], people) for site in chosen}
    )


def to_json(value: Mapping[str, Sequence[str]] | Drawn) -> str:
    """Population or draw as they are stored."""
    return msgspec.json.encode(value, order="sorted").decode()


def population_from(text: str) -> dict[str, list[str]]:
    """A stored population."""
    return msgspec.json.decode(text, type=dict[str, list[str]])


def drawn_from(text: str) -> Drawn:
    """A stored draw."""
    return msgspec.json.decode(text, type=Drawn)
