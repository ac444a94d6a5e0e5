"""File descriptors: whether an error means that the process, or the machine, has as many files and sockets open as it may."""

import errno
import os
from typing import Final

LIMIT_REACHED: Final = "the process has reached its limit of open files and connections"
RAISE_LIMIT: Final = "raise it (`ulimit -n 4096`, or LimitNOFILE= of systemd) and restart the process"
NO_DESCRIPTORS: Final = f"{LIMIT_REACHED}: {RAISE_LIMIT}"
"""The same as a part of a sentence, wherever somebody reads it."""


def says_no_descriptors(error: BaseException) -> bool:
    """Whether this error says so."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def out_of_descriptors() -> bool:
    """Whether no file can be opened now.

    Errors do not always say so: a name is not found and a certificate is not trusted where their files could not be opened.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as fault:
        return says_no_descriptors(fault)
    return False
