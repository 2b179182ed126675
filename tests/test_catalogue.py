"""The table of named sets: complete, and true of the real files."""

import hashlib
import subprocess
import sys

import pytest

from conftest import real_data
from striate.datasets.catalogue import DATASETS, PARTS

FETCHED = [named for named in DATASETS.values() if named.name != "digits"]


@pytest.mark.parametrize("named", DATASETS.values(), ids=list(DATASETS))
def test_each_set_stands_under_its_name_with_source_and_licence(named):
    assert DATASETS[named.name] is named
    assert all((named.title, named.source, named.licence))
    assert set(named.parts) <= set(PARTS)
    assert len(set(named.classes)) == len(named.classes) == 10
    assert named.value_range[0] < named.value_range[1]


@pytest.mark.parametrize("named", FETCHED, ids=lambda named: named.name)
def test_each_fetched_set_states_addresses_and_hashes(named):
    files = [*named.files, *(member for file in named.files for member in file.members)]
    assert named.layout
    assert all(
        address.startswith(("https://", "http://")) and address.endswith("/")
        for address in named.addresses
    )
    assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 for file in files)
    assert len({file.sha256 for file in files}) == len(files)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "usps"])
def test_the_real_files_have_the_stated_hashes(name):
    folder = real_data(name)
    for file in DATASETS[name].files:
        content = (folder / file.name).read_bytes()
        assert len(content) == file.size
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_names_need_neither_torch_nor_numpy_nor_scikit_learn():
    program = (
        "import sys; from striate.datasets import DATASETS, load; "
        "print(sorted({'torch', 'numpy', 'sklearn', 'rich', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
