"""How long to wait before the next try to mend a connection, and when to give up. Pure."""

DELAYS_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0)
"""The first try is made at once: most losses are mended by it in 25 to 70 ms. All of them take a minute with the tries themselves."""

MAX_RESUMES = 3
"""Resumes in a row before a session is entered anew."""


class Backoff:
    """Tries since the connection last worked. What counts as working is for the caller: a mere connect does not."""

    def __init__(self) -> None:
        self._tries = 0

    @property
    def resumes_exhausted(self) -> bool:
        """Whether it is time for something stronger than a resume."""
        return self._tries > MAX_RESUMES

    def reset(self) -> None:
        """Audio or heartbeats have flowed."""
        self._tries = 0

    def next_delay_s(self) -> float | None:
        """Seconds before the next try, None to give up."""
        if self._tries == len(DELAYS_S):
            return None
        self._tries += 1
        return DELAYS_S[self._tries - 1]
