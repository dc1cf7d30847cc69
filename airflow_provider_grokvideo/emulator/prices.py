"""Prices of xAI in ticks: 1 USD is 10^10 ticks (contract §4 and §13.5).

The table is written down here a second time on purpose: the emulator is the second witness to the price, so it
shares nothing with the estimator it is used to test.
"""

from __future__ import annotations

from fractions import Fraction

TICKS_PER_USD = 10**10
_CENT = TICKS_PER_USD // 100

CLASSIC = "grok-imagine-video"
MODEL_15 = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"

_PER_OUTPUT_SECOND: dict[tuple[str, str], int] = {
    (CLASSIC, "480p"): 5 * _CENT,
    (CLASSIC, "720p"): 7 * _CENT,
    (MODEL_15, "480p"): 8 * _CENT,
    (MODEL_15, "720p"): 14 * _CENT,
    (MODEL_15, "1080p"): 25 * _CENT,
    (LITE, "480p"): 2 * _CENT,
    (LITE, "720p"): 3 * _CENT,
    (LITE, "1080p"): 14 * _CENT,
}
_PER_IMAGE: dict[str, int] = {CLASSIC: _CENT // 5, MODEL_15: _CENT, LITE: _CENT}
_PER_INPUT_SECOND = _CENT


def ticks(
    model: str, resolution: str, seconds: Fraction | int, images: int = 0, input_seconds: Fraction | int = 0
) -> int:
    """Return the full price of one job in ticks, rounded to a whole tick.

    ``seconds`` are the seconds that are made: the whole clip of a generation or an edit, the added tail of an
    extension. ``input_seconds`` is the length of a source clip, ``images`` counts every picture handed in. A
    resolution the model has no price for costs nothing, because such a job can only fail.
    """
    made = _PER_OUTPUT_SECOND.get((model, resolution), 0) * seconds
    return round(made + _PER_IMAGE[model] * images + _PER_INPUT_SECOND * input_seconds)
