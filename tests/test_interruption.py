"""Ctrl-C: the first is a flag, the second interrupts, and afterwards all is as it was."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from striate.interruption import stop_signals

# The handlers of this process are changed, so a failing test must not leave them so.
pytestmark = pytest.mark.usefixtures("_handlers_restored")


@pytest.fixture
def _handlers_restored():
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_a_flag_and_nothing_else(number):
    with stop_signals() as stopped:
        assert not stopped.is_set()
        os.kill(os.getpid(), number)
        assert stopped.wait(5)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_interrupts_at_once(first):
    with stop_signals() as stopped:
        os.kill(os.getpid(), first)
        assert stopped.wait(5)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_is_taken_quietly():
    with stop_signals() as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.is_set()


@pytest.mark.parametrize("signals", [0, 1])
def test_the_handlers_of_before_are_put_back(signals):
    def own(number: int, frame: object) -> None:
        raise AssertionError("not to be called here")

    signal.signal(signal.SIGINT, own)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with stop_signals():
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is own
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_the_handlers_are_put_back_also_when_the_work_fails():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="the work failed"), stop_signals():
        raise RuntimeError("the work failed")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_another_thread_the_flag_is_there_and_the_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with stop_signals() as stopped:
            seen.append((stopped.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_a_program_without_it_dies_of_the_same_signal():
    body = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print('alive')"
    wrapped = (
        "import os, signal\nfrom striate.interruption import stop_signals\n"
        "with stop_signals():\n    os.kill(os.getpid(), signal.SIGTERM)\nprint('alive')"
    )
    codes = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        for code in (body, wrapped)
    ]
    assert [(done.returncode, done.stdout) for done in codes] == [
        (-signal.SIGTERM, b""),
        (0, b"alive\n"),
    ]
