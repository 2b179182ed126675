"""scikit-learn's digits, and their split by plain arithmetic."""

import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits

from striate.datasets import digits
from striate.datasets.digits import load_digits, split
from striate.errors import DataError

SIZES = {"train": 1_197, "validation": 300, "test": 300}


@pytest.fixture(scope="module")
def theirs():
    return sklearn_digits()


def test_images_and_classes_are_those_that_scikit_learn_gives(theirs):
    ours = load_digits(list(SIZES))
    members = split(torch.from_numpy(theirs.target))
    assert ours.classes == tuple(map(str, theirs.target_names))
    for name, part in ours.parts.items():
        indices = members[name].numpy()
        assert torch.equal(part.images[:, 0], torch.from_numpy(theirs.images[indices]).byte())
        assert torch.equal(part.targets, torch.from_numpy(theirs.target[indices]))


def test_values_are_kept_as_stored():
    part = load_digits(["train"]).parts["train"]
    assert part.images.dtype == torch.uint8
    assert part.images.unique().tolist() == list(range(17))
    assert load_digits(["train"]).value_range == (0, 16)
    assert part.targets.dtype == torch.int64


def test_the_split_has_the_fixed_sizes_and_every_digit_once(theirs):
    members = split(torch.from_numpy(theirs.target))
    assert {name: len(indices) for name, indices in members.items()} == SIZES
    assert torch.cat(list(members.values())).sort().values.tolist() == list(range(1_797))


def test_the_split_follows_the_written_rule(theirs):
    order = [i for label in range(10) for i in range(1_797) if theirs.target[i] == label]
    rule = {"train": [], "validation": [], "test": []}
    for p, image in enumerate(order):
        sixth = 300 * p % 1_797
        rule["test" if sixth < 300 else "validation" if 900 <= sixth < 1_200 else "train"].append(
            image
        )
    members = split(torch.from_numpy(theirs.target))
    assert {name: sorted(images) for name, images in rule.items()} == {
        name: indices.tolist() for name, indices in members.items()
    }


@pytest.mark.parametrize("name", ["validation", "test"])
def test_the_held_out_parts_are_stratified_and_spread_through_each_class(theirs, name):
    targets = torch.from_numpy(theirs.target)
    held_out = split(targets)[name]
    for label in range(10):
        of_class = (targets == label).nonzero().flatten()
        ranks = torch.isin(of_class, held_out).nonzero().flatten()
        assert abs(len(ranks) - len(of_class) * 300 / 1_797) < 1
        steps = ranks.diff(prepend=torch.tensor([-1]), append=torch.tensor([len(of_class)]))
        assert int(steps.max()) <= 6
        assert int(steps[1:-1].min()) >= 5


def test_only_the_parts_that_are_asked_for_come_and_own_their_memory():
    ours = load_digits(["validation"])
    assert list(ours.parts) == ["validation"]
    for values in ours.parts["validation"]:
        assert values.is_contiguous()
        assert values.untyped_storage().nbytes() == values.nbytes


def test_loading_does_not_import_scikit_learn():
    program = (
        "import sys; from striate.datasets import load; load('digits'); "
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_another_file_in_scikit_learn_is_refused(monkeypatch):
    monkeypatch.setattr(digits, "FILE", "datasets/data/iris.csv")
    with pytest.raises(DataError, match=r"iris\.csv is not the known file of 1,797 digits"):
        load_digits(["test"])


def test_an_absent_scikit_learn_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)  # Python's mark for "not importable"
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load_digits(["test"])
