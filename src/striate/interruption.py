"""Ctrl-C without loss: a signal becomes a flag that work can look at between two steps."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from striate.launching import speaks

# What the last line of an interrupted program ends with.
_hints = [""]


@contextmanager
def hint_at_ctrl_c(words: str) -> Iterator[None]:
    """Let a Ctrl-C that ends the program meanwhile say how to go on."""
    _hints.append(f"; {words}")
    try:
        yield
    finally:
        _hints.pop()


def quit_at_ctrl_c() -> None:
    """End the program at Ctrl-C with exit code 130, wherever it is, until training takes over.

    An exception would not do: libraries that are being imported swallow it and stay half made.
    Nothing is lost, because files are whole or absent.
    """

    def leave(number: int, frame: object) -> None:
        if speaks():
            os.write(2, f"striate: interrupted{_hints[-1]}\n".encode())
        os._exit(130)

    signal.signal(signal.SIGINT, leave)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into a flag; a second one interrupts at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
