"""Which Redis is too old, and which has a hole that is known."""

from __future__ import annotations

import pytest

from spillway.doctor.finding import Level
from spillway.doctor.redis_version import FIXED, of_version


@pytest.mark.parametrize("text", ["6.0.20", "5.0.7", "6.1.999", "nonsense"])
def test_what_is_older_than_6_2_is_wrong_however_private(text: str) -> None:
    assert of_version(text, private=True).level is Level.WRONG


@pytest.mark.parametrize(("series", "first"), sorted(FIXED.items()))
def test_each_series_is_fine_from_its_fixed_release_on_and_not_before(series: tuple[int, int], first: int) -> None:
    major, minor = series
    assert of_version(f"{major}.{minor}.{first}", private=False).level is Level.OK
    assert of_version(f"{major}.{minor}.{first + 1}", private=False).level is Level.OK
    before = of_version(f"{major}.{minor}.{first - 1}", private=False)
    assert before.level is Level.WARNING
    assert "CVE-2025-49844" in before.found and f"{major}.{minor}.{first}" in before.todo


def test_a_series_after_the_fix_is_fine() -> None:
    assert of_version("8.4.0", private=False).level is Level.OK
    assert of_version("9.0.0", private=False).level is Level.OK


def test_a_series_that_only_distributions_mend_is_told_with_the_package_to_look_for() -> None:
    found = of_version("7.0.15", private=False)
    assert found.level is Level.WARNING
    assert "deb12u6" in found.todo


def test_on_a_socket_of_ours_the_hole_is_only_noted() -> None:
    assert of_version("6.2.14", private=True).level is Level.NOTE


def test_of_a_fork_nothing_is_concluded_from_the_number_that_it_gives_itself() -> None:
    assert of_version("7.2.4", private=False, name="valkey").level is Level.NOTE
