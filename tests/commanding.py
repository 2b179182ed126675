"""Commands in process: one that must go well, one that must be refused in a line."""

from striate.cli import run_command


def said(capsys, *arguments: str) -> str:
    """Run a command that must go well, and give what it printed on stdout."""
    capsys.readouterr()
    assert run_command(arguments) == 0
    return capsys.readouterr().out


def refused(capsys, code: int, *arguments: str) -> str:
    """Run a command that must be refused with this code, in one line, and give the line."""
    capsys.readouterr()
    assert run_command(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("striate: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err
