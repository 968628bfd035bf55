from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.block import MAX_RAW
from collectors.tapes.lines import Lines

PIECES = st.sampled_from([b"a,1", b'"q"', b'"', b"\r", b"\0", "é".encode(), b"\xff", b" ", b"", b",", b"\n"])


def lines(data: bytes) -> Lines:
    return Lines(data, 11, "tape.csv")


def test_a_line_has_its_text_and_its_number_in_the_file() -> None:
    three = lines(b"a\r\n\nb,c\n")
    assert three.count == 3
    assert [three.text(n) for n in range(3)] == ["a", "", "b,c"]
    assert three.where(2) == "tape.csv:13"
    assert three.blank.tolist() == [False, True, False]
    assert lines(b"\r\n").blank.tolist() == [True]


def test_each_flaw_is_found_on_its_line() -> None:
    found = lines(b'a,1\r\n"b,2\nc\r,3\r\nd,\0\n\xff,5\n"f",6\n\xc3\xa9,7\n').flawed
    assert found == {
        1: "a quote that is not closed on its line",
        2: "a carriage return inside it",
        3: "a NUL byte in it",
        4: "not valid UTF-8",
    }


def test_a_refused_line_is_kept_as_far_as_it_is_worth() -> None:
    reject = lines(b"\xff" + b"x" * 10_000 + b"\n").reject(0, "why")
    assert (reject.where, reject.reason) == ("tape.csv:11", "why")
    assert reject.raw == "�" + "x" * (MAX_RAW - 1)


@given(st.lists(PIECES, max_size=30).map(lambda parts: b"".join(parts) + b"\n"))
def test_arrays_find_what_a_loop_finds(data: bytes) -> None:
    found = lines(data)
    expected = data[:-1].split(b"\n")
    assert found.count == len(expected)
    assert [found.text(n) for n in range(found.count)] == [
        line.removesuffix(b"\r").decode("utf-8", "replace") for line in expected
    ]
    assert found.blank.tolist() == [line in (b"", b"\r") for line in expected]
    flawed = [n for n, line in enumerate(expected) if is_flawed(line)]
    assert sorted(found.flawed) == flawed
    assert found.without(found.flawed) == b"".join(line + b"\n" for line in expected if not is_flawed(line))


def is_flawed(line: bytes) -> bool:
    text = line.removesuffix(b"\r")
    return b"\0" in line or b"\r" in text or line.count(b'"') % 2 == 1 or "�" in line.decode("utf-8", "replace")
