"""How fast one account may look: a token bucket that a rate limit closes for everybody and slows for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace

DEFAULT_PACE = 4.0
"""Polls a second if the connection does not say. xAI's page of one video model says 10 requests a second; those of the
others are not known, nor is whether polls count (contract §7.1). Less than half of it leaves room for the submits of
the workers and a second triggerer; a 429 halves it."""

LOCAL_PACE = 1000.0
"""The same for a service on this machine, which has no limit; the emulator is one."""

RECOVERY = 300.0
"""Seconds after which a pace that was slowed to nothing would be the usual one again."""

LONGEST_CLOSURE = 300.0
"""Cap on a rate limit's ``Retry-After``, in seconds: a typing error must not silence an account for a day."""

_BURST = 0.25
_TICK = 1e-6
"""Seconds that do not count: epoch seconds have steps of a quarter of a millionth."""
_SLOWEST = 1 / 64


@dataclass(frozen=True)
class Pace:
    """The state of one account's bucket; times are epoch seconds.

    Attributes:
        usual: Polls a second without a rate limit.
        rate: Polls a second at `at`.
        tokens: Polls that may be taken at once at `at`.
        at: When `rate` and `tokens` were true.
        closed_until: Nobody looks before.
        slowed_at: When the rate was last halved.
    """

    usual: float = DEFAULT_PACE
    rate: float = DEFAULT_PACE
    tokens: float = 1.0
    at: float = 0.0
    closed_until: float = 0.0
    slowed_at: float = float("-inf")

    @classmethod
    def of(cls, usual: float, now: float) -> Pace:
        """Return a bucket that nobody has used yet."""
        return cls(usual=usual, rate=usual, at=now)

    def changed(self, usual: float) -> Pace:
        """Return the pace after a new usual one was set; a rate limit goes on to slow it."""
        return self if usual == self.usual else replace(self, usual=usual, rate=self.rate * usual / self.usual)

    def now(self, now: float) -> Pace:
        """Return the bucket as it is now: filled by what has passed, and recovered a little."""
        rate, tokens = self._level(now)
        return replace(self, rate=rate, tokens=tokens, at=max(now, self.at))

    def next_at(self, now: float) -> float:
        """Return when the next poll is allowed: `now`, or later."""
        rate, tokens = self._level(now)
        opens = max(now, self.closed_until)
        missing = (1.0 - tokens) / rate
        return opens if missing < _TICK else opens + missing

    def spent(self, now: float) -> Pace:
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

    def limited(self, now: float, asked_at: float, retry_after: float | None) -> Pace:
        """Return the bucket after an HTTP 429.

        Args:
            now: When it came.
            asked_at: When the call was sent. One that was under way when the rate was halved says nothing new.
            retry_after: Seconds the service asked for, if it did.
        """
        state = self.now(now)
        pause = min(max(retry_after or 0.0, 1.0 / state.rate), LONGEST_CLOSURE)
        closed_until = max(state.closed_until, now + pause)
        if asked_at <= state.slowed_at:
            return replace(state, closed_until=closed_until)
        rate = max(state.rate / 2, state.usual * _SLOWEST)
        return replace(state, rate=rate, tokens=0.0, closed_until=closed_until, slowed_at=now)

    def set_back(self, seconds: float) -> Pace:
        """Return the same pace by a clock that was set back."""
        return replace(
            self,
            at=self.at - seconds,
            closed_until=self.closed_until - seconds,
            slowed_at=self.slowed_at - seconds,
        )
