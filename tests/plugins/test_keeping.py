"""What the API server remembers has an end, in number and in memory."""

from __future__ import annotations

from airflow_provider_grokvideo.plugins.keeping import Kept, weight


def test_the_ones_used_longest_ago_are_forgotten_first():
    """A value that was asked for counts as used."""
    kept = Kept(2, 1000)
    kept.put("a", 1, 1)
    kept.put("b", 2, 1)
    kept.get("a")
    kept.put("c", 3, 1)

    assert [1, None, 3] == [kept.get(name) for name in "abc"]


def test_heavy_values_push_out_others_and_one_too_heavy_is_not_kept():
    """The sum of the weights has an end."""
    kept = Kept(100, 10)
    for name in "abc":
        kept.put(name, name, 5)
    kept.put("c", "C", 4)

    assert [None, "b", "C"] == [kept.get(name) for name in "abc"]
    kept.put("d", "d", 11)
    assert 0 == len(kept)


def test_many_small_parts_weigh_more_than_one_text():
    """A list in lists takes more memory than its JSON has characters."""

    assert weight([[]] * 1000) > weight("[]" * 1000) > weight("[]")
    assert weight({"a": "x" * 10}) > weight({"a": "x"})
