"""States on disk: the newest whole one is read, whatever its checksum happens to begin with."""

import pytest

from striate.errors import RunError
from striate.run_states import read_state, write_state


def state(epoch: int, step: int = 0, lengthenings: int = 0, mark: int = 0) -> dict:
    return {"epoch": epoch, "step": step, "lengthenings": lengthenings, "mark": mark}


@pytest.mark.parametrize("mark", range(8))
def test_of_states_at_the_same_step_the_one_with_more_lengthenings_is_newer(tmp_path, mark):
    (tmp_path / "state").mkdir()
    for lengthenings in (0, 1, 2, 10):
        write_state(tmp_path, state(3, lengthenings=lengthenings, mark=mark))
    assert read_state(tmp_path)[0]["lengthenings"] == 10
    assert len(list((tmp_path / "state").iterdir())) == 2
    write_state(tmp_path, state(4))
    assert read_state(tmp_path)[0]["epoch"] == 4


def test_a_damaged_state_is_kept_aside_and_the_one_before_is_read(tmp_path):
    (tmp_path / "state").mkdir()
    write_state(tmp_path, state(1))
    write_state(tmp_path, state(1, step=7))
    (newest,) = (tmp_path / "state").glob("*-00000007-*")
    newest.write_bytes(b"half")
    found, notes = read_state(tmp_path)
    assert found["step"] == 0
    assert "its checksum differs" in notes[0]
    assert newest.with_suffix(".damaged").exists()
    next((tmp_path / "state").glob("*.pt")).write_bytes(b"half")
    with pytest.raises(RunError, match=r"no state in .* is whole; train again with --overwrite"):
        read_state(tmp_path)
