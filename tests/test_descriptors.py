"""Errors that mean that no file can be opened."""

import errno
import os

import pytest

from discordplex.descriptors import out_of_descriptors, says_no_descriptors


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "x"), True),
        (OSError(errno.ENFILE, "x"), True),
        (OSError(errno.ENOENT, "x"), False),
        (OSError("x"), False),
        (ValueError(errno.EMFILE), False),
    ],
)
def test_only_two_codes_say_so(error: BaseException, says: bool) -> None:  # noqa: FBT001 -- a parameter of the table
    """Too many files in the process or on the machine; no other failure, and no other kind of error with that number."""
    assert says_no_descriptors(error) is says


@pytest.mark.parametrize(("code", "full"), [(None, False), (errno.EMFILE, True), (errno.EACCES, False)])
def test_a_file_is_opened_to_know(monkeypatch: pytest.MonkeyPatch, code: int | None, full: bool) -> None:  # noqa: FBT001 -- likewise
    """Where one can be opened, or fails for another reason, there are descriptors left; and the one that was opened is closed."""
    if code is not None:

        def fail(*_: object) -> int:
            raise OSError(code, "x")

        monkeypatch.setattr(os, "open", fail)
    before = os.dup(0)
    os.close(before)
    assert out_of_descriptors() is full
    after = os.dup(0)
    os.close(after)
    assert after == before
