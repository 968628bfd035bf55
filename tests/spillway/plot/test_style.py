"""Colours: told apart by the colour-blind too, and texts that are read on them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from spillway.plot.style import BUY, INK, PAPER, SELL, STATE_COLOURS, cell_colours, legible, mixed, strengths

# Machado, Oliveira and Fernandes 2009, severity 1; on linear RGB.
EYES = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])


def seen(colour: NDArray[np.float64], eye: str) -> NDArray[np.float64]:
    """A colour as that eye sees it, in CIE L*a*b*, where 2.3 is a difference that is just noticed."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    share = TO_XYZ @ np.clip(np.array(EYES[eye]) @ linear, 0, 1) / WHITE
    root = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def apart(one: NDArray[np.float64], two: NDArray[np.float64], eye: str) -> float:
    return float(np.linalg.norm(seen(one, eye) - seen(two, eye)))


@pytest.mark.parametrize("eye", EYES)
def test_bought_and_sold_are_told_apart_by_every_eye_pale_or_strong(eye: str) -> None:
    for strength, least in ((0.15, 8), (0.3, 16), (0.85, 50), (1.0, 60)):
        buy, sell = (mixed(colour, np.array([strength]))[0] for colour in (BUY, SELL))
        assert apart(buy, sell, eye) > least


@pytest.mark.parametrize("eye", EYES)
def test_the_states_of_a_minute_are_told_apart_by_every_eye(eye: str) -> None:
    for one, two in combinations(STATE_COLOURS.values(), 2):
        assert apart(mixed(one, np.ones(1))[0], mixed(two, np.ones(1))[0], eye) > 10


def test_numbers_are_read_on_the_strongest_cell() -> None:
    values = np.array([1.0, -1.0, 0.5, -0.01, 0.0])
    for by_volume in (False, True):
        assert legible(INK, cell_colours(np.abs(values) if by_volume else values, by_volume)).all()
    assert not legible(PAPER, mixed(PAPER, np.ones(1))).any()
    assert legible("#000000", mixed(PAPER, np.ones(1))).all()


def test_what_traded_at_all_is_never_as_white_as_paper() -> None:
    found = cell_colours(np.array([1e-9, -1e-9, 0.0, 1.0]), by_volume=False)
    assert (found.min(axis=1) < 0.97).all()
    assert found[0][2] > found[0][0]
    assert found[1][0] > found[1][2]
    assert np.ptp(found[2]) < 0.05  # grey: as much was bought as sold


def test_more_is_stronger_and_one_giant_fades_none_of_the_others() -> None:
    many = np.r_[np.linspace(0, 1, 200), 1e9]
    found = strengths(many)
    assert (np.diff(found) >= 0).all()
    assert found[150] > 0.6
