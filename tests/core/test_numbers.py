"""What counts as a number in a text: plain digits, and nothing else that Python would take."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.client.account import account_from
from airflow_provider_grokvideo.core.billing.money import amount
from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.core.numbers import checked_number, number_in
from airflow_provider_grokvideo.core.retrying import retry_after

ODD = ["1_0", "\u0661\u0660", "\uff11", "1e", "0x10", "nan", "inf", "1,5", ""]


@pytest.mark.parametrize("text", ODD)
def test_odd_digits_are_no_number(text):
    """Underscores and digits of other scripts are mistakes, not amounts, bounds or pauses."""
    assert [None, None] == [number_in(text), retry_after({"Retry-After": text}, 0.0)]
    with pytest.raises(InvalidInput):
        amount(text, "max_cost_usd")
    with pytest.raises(InvalidInput):
        checked_number(text, "timeout", least=0, most=100, expected="seconds", may_be_text=True)


@pytest.mark.parametrize("text", ODD[:-1])
def test_a_connection_has_plain_numbers(text):
    """The connection's numbers are read by the same rule; an empty field is none."""
    with pytest.raises(InvalidInput):
        account_from(host=None, port=None, schema=None, password="k" * 9, extra={"timeout": text})


@pytest.mark.parametrize(
    ("text", "number"), [("10", 10), (" 1.5 ", 1.5), (".5", 0.5), ("1e1", 10), ("+2", 2), ("5.", 5)]
)
def test_plain_numbers_are_read(text, number):
    """Signs, points and exponents are usual."""
    assert (number, number) == (number_in(text), float(amount(text, "max_cost_usd")))
