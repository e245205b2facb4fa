"""Which errors are a user's mistake; they are told in a sentence, no traceback."""

from __future__ import annotations

from types import TracebackType


def is_mistake(error: BaseException) -> bool:
    """Whether the message alone helps.

    True for the course's own exceptions, for a ValueError or LookupError that the
    course's code raised itself, and for files that cannot be read or written. All
    else is a bug: its traceback is needed.
    """
    if type(error).__module__.partition(".")[0] == "tlcourse":
        return True
    if isinstance(error, OSError):
        return True
    ours = _raised_in(error.__traceback__).partition(".")[0] == "tlcourse"
    return ours and type(error) in (ValueError, LookupError)


def _raised_in(traceback: TracebackType | None) -> str:
    """The name of the module whose line raised."""
    name = ""
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__") or ""
        traceback = traceback.tb_next
    return name


def tell(error: BaseException) -> None:
    """Print the message on stderr, in red where the terminal has colours."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
