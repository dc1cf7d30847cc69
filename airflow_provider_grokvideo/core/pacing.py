"""How fast one account may look: a token bucket that a rate limit closes for everybody and slows for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace

USUAL_PACE = 1.0
"""Looks a second if the connection does not say: the only limit xAI has published for a video model is 60 requests a
minute, and nobody knows whether looks count (contract §7.1)."""

LOCAL_PACE = 1000.0
"""The same for a service on this machine, which has no limit; the emulator is one."""

RECOVERY = 300.0
"""Seconds after which a pace that was slowed to nothing would be the usual one again."""

LONGEST_CLOSURE = 300.0
"""Cap on a rate limit's ``Retry-After``, in seconds: a typing error must not silence an account for a day."""

_BURST = 0.25
_SLOWEST = 1 / 64


@dataclass(frozen=True)
class Pace:
    """The state of one account's bucket; times are epoch seconds.

    Attributes:
        usual: Looks a second without a rate limit.
        rate: Looks a second at `at`.
        tokens: Looks that may be taken at once at `at`.
        at: When `rate` and `tokens` were true.
        closed_until: Nobody looks before.
        slowed_at: When the rate was last halved.
    """

    usual: float = USUAL_PACE
    rate: float = USUAL_PACE
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
        passed = max(0.0, now - self.at)
        rate = min(self.usual, self.rate + passed * self.usual / RECOVERY)
        # The bucket does not fill while it is closed: what was held back would come as one burst.
        open_for = max(0.0, min(passed, now - self.closed_until))
        tokens = min(max(1.0, rate * _BURST), self.tokens + open_for * (self.rate + rate) / 2)
        return replace(self, rate=rate, tokens=tokens, at=max(now, self.at))

    def next_at(self, now: float) -> float:
        """Return when the next look is allowed: `now`, or later."""
        state = self.now(now)
        opens = max(now, self.closed_until)
        return opens if state.tokens >= 1.0 - 1e-9 else opens + (1.0 - state.tokens) / state.rate

    def spent(self, now: float) -> Pace:
        """Return the bucket after one look."""
        state = self.now(now)
        return replace(state, tokens=state.tokens - 1.0)

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
