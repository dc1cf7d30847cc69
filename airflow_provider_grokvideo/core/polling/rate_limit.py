"""Rate limit of one account: a token bucket that an HTTP 429 closes and slows for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace

DEFAULT_PACE = 4.0
"""Default polls per second. xAI's page of one video model says 10 requests a second; the limits of the others are not
known, nor is whether polls count (contract §7.1). Less than half of it leaves room for submits and for a second
triggerer; a 429 halves it."""

LOCAL_PACE = 1000.0
"""The default for a service on this machine, such as the emulator, which has no limit."""

RECOVERY = 300.0
"""Seconds in which the rate recovers from zero to the usual one."""

LONGEST_CLOSURE = 300.0
"""Longest accepted ``Retry-After`` of a 429, in seconds: a wrong header must not stop all polls for a day."""

_BURST = 0.25
_TICK = 1e-6
"""Seconds that are ignored: epoch seconds have steps of a quarter of a millionth."""
_SLOWEST = 1 / 64


@dataclass(frozen=True)
class RateLimit:
    """The state of one account's bucket; times are epoch seconds.

    Attributes:
        usual: Polls per second without an HTTP 429.
        rate: Polls per second at `at`.
        tokens: Polls that are allowed immediately at `at`.
        at: Time of `rate` and `tokens`.
        closed_until: No polls before.
        slowed_at: When the rate was last halved.
    """

    usual: float = DEFAULT_PACE
    rate: float = DEFAULT_PACE
    tokens: float = 1.0
    at: float = 0.0
    closed_until: float = 0.0
    slowed_at: float = float("-inf")

    @classmethod
    def of(cls, usual: float, now: float) -> RateLimit:
        """Return a new bucket."""
        return cls(usual=usual, rate=usual, at=now)

    def changed(self, usual: float) -> RateLimit:
        """Return the pace with a new usual rate; it stays slowed by earlier 429s."""
        return self if usual == self.usual else replace(self, usual=usual, rate=self.rate * usual / self.usual)

    def now(self, now: float) -> RateLimit:
        """Return the bucket at a later time: filled and recovered by the time that has passed."""
        rate, tokens = self._level(now)
        return replace(self, rate=rate, tokens=tokens, at=max(now, self.at))

    def next_at(self, now: float) -> float:
        """Return when the next poll is allowed: `now`, or later."""
        rate, tokens = self._level(now)
        opens = max(now, self.closed_until)
        missing = (1.0 - tokens) / rate
        return opens if missing < _TICK else opens + missing

    def spent(self, now: float) -> RateLimit:
        """Return the bucket after one poll."""
        rate, tokens = self._level(now)
        return replace(self, rate=rate, tokens=tokens - 1.0, at=max(now, self.at))

    def _level(self, now: float) -> tuple[float, float]:
        """Return rate and tokens at a moment."""
        passed = max(0.0, now - self.at)
        # The bucket does not fill while it is closed: what was held back would come as one burst.
        open_for = max(0.0, min(passed, now - self.closed_until))
        rate, rate_then = self._recovered(passed), self._recovered(passed - open_for)
        return rate, min(max(1.0, rate * _BURST), self.tokens + open_for * (rate_then + rate) / 2)

    def _recovered(self, passed: float) -> float:
        return min(self.usual, self.rate + passed * self.usual / RECOVERY)

    def limited(self, now: float, asked_at: float, retry_after: float | None) -> RateLimit:
        """Return the bucket after an HTTP 429.

        Args:
            now: Time of the response.
            asked_at: When the call was sent; one that was sent before the last halving does not halve again.
            retry_after: The seconds of the ``Retry-After`` header, if there is one.
        """
        state = self.now(now)
        pause = min(max(retry_after or 0.0, 1.0 / state.rate), LONGEST_CLOSURE)
        closed_until = max(state.closed_until, now + pause)
        if asked_at <= state.slowed_at:
            return replace(state, closed_until=closed_until)
        rate = max(state.rate / 2, state.usual * _SLOWEST)
        return replace(state, rate=rate, tokens=0.0, closed_until=closed_until, slowed_at=now)

    def set_back(self, seconds: float) -> RateLimit:
        """Return the same pace after the clock was set back."""
        return replace(
            self,
            at=self.at - seconds,
            closed_until=self.closed_until - seconds,
            slowed_at=self.slowed_at - seconds,
        )
