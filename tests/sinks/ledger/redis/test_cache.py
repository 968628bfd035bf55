"""The cache's operations, on a real Redis and in memory."""

from __future__ import annotations

import string
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from sinks.ledger.redis.cache import FOREVER, Cache, escaped
from sinks.ledger.redis.cache_keys import CACHE, MemoryKeys
from sinks.ledger.redis.shared import Shared, open_shared
from tests.sinks.ledger.redis.servers import Server, wait_until


@pytest.fixture
def cache(shared: Shared) -> Cache:
    return shared.cache


def test_a_text_comes_back_until_it_is_deleted(cache: Cache) -> None:
    assert cache.get("price") is None
    cache.set("price", "héllo\n\0 😀")
    assert (cache.get("price"), cache.exists("price")) == ("héllo\n\0 😀", True)
    cache.set("price", "")
    assert cache.get("price") == ""
    assert cache.delete("price")
    assert not cache.delete("price")
    assert not cache.exists("price")


def test_many_are_set_and_got_at_once(cache: Cache) -> None:
    items = {f"level:{n}": str(n) for n in range(1234)}
    cache.set_many(items, ttl=60)
    assert cache.get_many([*items, "no such"]) == items
    assert 0 < cache.ttl("level:1233") <= 60
    assert cache.get_many([]) == {}
    cache.set_many({})


def test_a_time_to_live_is_told_changed_and_kept_to(cache: Cache) -> None:
    assert cache.ttl("a") == -2
    cache.set("a", "1")
    assert cache.ttl("a") == -1
    assert cache.expire("a", timedelta(minutes=1))
    assert 59 < cache.ttl("a") <= 60
    assert cache.expire("a", FOREVER)
    assert cache.ttl("a") == -1
    assert not cache.expire("b", 60)
    cache.set("a", "2", ttl=0.01)
    wait_until(lambda: cache.get("a") is None)
    assert (cache.exists("a"), cache.ttl("a"), cache.keys()) == (False, -2, [])


def test_what_is_set_anew_has_the_new_time_to_live(cache: Cache) -> None:
    cache.set("a", "1", ttl=1000)
    cache.set("a", "2")
    assert cache.ttl("a") == -1


def test_patterns_find_and_delete(cache: Cache) -> None:
    cache.set_many(dict.fromkeys(["btc:1", "btc:2", "eth:1", "a*b", "axb", "[x]"], "v"))
    assert cache.keys("btc:*") == ["btc:1", "btc:2"]
    assert cache.keys("???:1") == ["btc:1", "eth:1"]
    assert cache.keys("[^b]*:1") == ["eth:1"]
    assert cache.keys("a*b") == ["a*b", "axb"]
    assert cache.keys(escaped("a*b")) == ["a*b"]
    assert cache.keys(escaped("[x]")) == ["[x]"]
    assert cache.delete_pattern("btc:*") == 2
    assert cache.delete_pattern("btc:*") == 0
    assert cache.keys() == ["[x]", "a*b", "axb", "eth:1"]
    assert cache.clear() == 4
    assert cache.keys() == []


def test_thousands_of_keys_are_found_and_cleared(cache: Cache) -> None:
    names = [f"k{n:05}" for n in range(3000)]
    cache.set_many(dict.fromkeys(names, ""))
    assert cache.keys() == names
    assert cache.clear() == 3000


VALUES: list[Any] = [
    {"asset": "BTC/USD", "levels": [1, 2.5, -0.0, 1e300, 5e-324], "ok": True, "none": None, "nested": {"ü": []}},
    [],
    "text",
    10**40,
    0.1,
    None,
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_json_comes_back_as_it_was(cache: Cache, value: Any) -> None:
    cache.set_json("j", value, ttl=60)
    assert repr(cache.get_json("j")) == repr(value)


def test_decimals_are_kept_as_their_text(cache: Cache) -> None:
    cache.set_json("fill", {"price": Decimal("60000.10"), "sizes": [Decimal("1E-8"), Decimal("0.000000000000000001")]})
    assert cache.get_json("fill") == {"price": "60000.1", "sizes": ["0.00000001", "0.000000000000000001"]}


def test_a_number_of_others_that_no_float_holds_comes_as_a_decimal(cache: Cache) -> None:
    cache.set("theirs", '{"a": 0.12345678901234567890, "b": 0.1}')
    assert cache.get_json("theirs") == {"a": Decimal("0.12345678901234567890"), "b": 0.1}


@pytest.mark.parametrize("text", ["{", "NaN", "[Infinity]", "", "[" * 100_000])
def test_what_is_no_json_is_refused_by_its_key(cache: Cache, text: str) -> None:
    cache.set("theirs", text)
    with pytest.raises(BadValue, match="cache key 'theirs': holds no JSON"):
        cache.get_json("theirs")


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, {1: 2}, (1,), b"x", Decimal("NaN"), "\ud800"], ids=repr)
def test_what_json_cannot_hold_is_not_stored(cache: Cache, value: Any) -> None:
    with pytest.raises(BadValue, match="cache key 'j'"):
        cache.set_json("j", value)
    assert not cache.exists("j")


def test_a_counter_counts_in_both_directions(cache: Cache) -> None:
    assert cache.increment("orders") == 1
    assert cache.increment("orders", 41) == 42
    assert cache.decrement("orders", 2) == 40
    assert cache.decrement("orders") == 39
    assert cache.increment("orders", -40) == -1
    assert cache.get("orders") == "-1"
    assert cache.ttl("orders") == -1


def test_a_new_counter_lives_as_long_as_its_first_call_says(cache: Cache) -> None:
    cache.increment("window", ttl=60)
    cache.increment("window", ttl=6000)
    assert 59 < cache.ttl("window") <= 60


@pytest.mark.parametrize("text", ["", "1.0", "x", " 1", "+1", "01", "-0", "1e3", "9223372036854775808"])
def test_what_is_no_whole_number_is_not_counted(cache: Cache, text: str) -> None:
    cache.set("c", text)
    with pytest.raises(BadValue, match="cache key 'c': expected a whole number"):
        cache.increment("c")
    assert cache.get("c") == text


def test_a_counter_never_runs_over(cache: Cache) -> None:
    cache.set("c", str(2**63 - 2))
    assert cache.increment("c") == 2**63 - 1
    with pytest.raises(BadValue, match="64 bits"):
        cache.increment("c")
    assert cache.get("c") == str(2**63 - 1)


@pytest.mark.parametrize("amount", [1.0, True, "1", 2**63, None], ids=repr)
def test_an_amount_that_is_no_whole_number_is_refused(cache: Cache, amount: Any) -> None:
    for count in (cache.increment, cache.decrement):
        with pytest.raises(BadValue, match="amount"):
            count("c", amount)
    assert not cache.exists("c")


def test_many_threads_count_without_losing_one(cache: Cache) -> None:
    threads = [threading.Thread(target=lambda: [cache.increment("c") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("c") == "400"


def test_only_the_first_of_several_sets_what_is_absent(cache: Cache) -> None:
    told = []
    threads = [threading.Thread(target=lambda n=n: told.append(cache.set_if_absent("lock", str(n), 60))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True]
    assert 0 < cache.ttl("lock") <= 60


def test_what_lacks_is_made_once(cache: Cache) -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "dear"

    assert [cache.get_or_set("k", make), cache.get_or_set("k", make)] == ["dear", "dear"]
    assert len(made) == 1


@pytest.mark.parametrize("key", ["", "x" * 513, "a\nb", "ü", "\0", None, b"k"], ids=repr)
def test_what_can_be_no_key_is_refused(cache: Cache, key: Any) -> None:
    for ask in (cache.get, cache.delete, cache.exists, cache.ttl, cache.increment, cache.keys, cache.delete_pattern):
        with pytest.raises(BadValue, match=r"expected 1 to 512 printable ASCII"):
            ask(key)
    with pytest.raises(BadValue, match=r"expected 1 to 512 printable ASCII"):
        cache.set_many({"good": "v", key: "v"})
    assert not cache.exists("good")


@pytest.mark.parametrize("ttl", [0, -1, 0.0001, float("nan"), float("inf"), True, "60", timedelta(0)], ids=repr)
def test_a_time_to_live_that_is_none_is_refused(cache: Cache, ttl: Any) -> None:
    with pytest.raises(BadValue, match="ttl"):
        cache.set("k", "v", ttl)
    assert not cache.exists("k")


def test_a_value_has_a_bound(cache: Cache) -> None:
    cache.set("k", "x" * (1 << 20))
    with pytest.raises(BadValue, match="a value of 1048577 bytes: expected at most 1048576"):
        cache.set("k", "x" * ((1 << 20) + 1))
    with pytest.raises(BadValue, match="expected text; set_json takes"):
        cache.set("k", 1)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="100001 cache keys at once"):
        cache.get_many(map(str, range(100_001)))


def test_a_default_time_to_live_holds_for_all_that_is_given_none() -> None:
    now = [0.0]
    cache = Cache(MemoryKeys(lambda: now[0]), default_ttl=10)
    cache.set("a", "1")
    cache.set("for ever", "1", FOREVER)
    cache.increment("c")
    assert (cache.ttl("a"), cache.ttl("c"), cache.ttl("for ever")) == (10, 10, -1)
    now[0] = 10.0
    assert cache.keys() == ["for ever"]
    assert cache.set_if_absent("a", "2")


@pytest.fixture(scope="module")
def both(trading_redis: Server) -> Any:
    with open_shared(trading_redis.url) as real, open_shared("memory://") as memory:
        yield real.cache, memory.cache


_LETTERS = st.sampled_from("ab-]c^[\\*?!z")
_CLASS = st.text(_LETTERS, max_size=5).map(lambda inside: f"[{inside}]")
_PATTERN = st.lists(st.one_of(_LETTERS, _CLASS), min_size=1, max_size=6).map("".join)


@given(st.lists(st.text(_LETTERS, min_size=1, max_size=4), min_size=1, max_size=12, unique=True), _PATTERN)
def test_memory_understands_patterns_as_redis_does(both: tuple[Cache, Cache], keys: list[str], pattern: str) -> None:
    real, memory = both
    for cache in both:
        cache.clear()
        cache.set_many(dict.fromkeys(keys, ""))
    assert memory.keys(pattern) == real.keys(pattern)


@given(st.text(string.printable.strip() + " ", min_size=1, max_size=20))
def test_an_escaped_text_matches_itself_alone(both: tuple[Cache, Cache], key: str) -> None:
    for cache in both:
        cache.clear()
        cache.set_many({key: "", key + "x": "", "other": ""})
        assert cache.keys(escaped(key)) == [key]


def test_bytes_of_others_under_our_keys_are_refused(trading_redis: Server) -> None:
    with trading_redis.admin() as admin, open_shared(trading_redis.url) as shared:
        admin.execute_command("SET", CACHE + "theirs", b"\xff\xfe")
        with pytest.raises(BadValue, match="cache key 'theirs': holds no text"):
            shared.cache.get("theirs")
