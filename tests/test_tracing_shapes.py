"""Reshapes, parts and joins: shapes against running, dependence against gradients."""

import pytest
import torch
from torch.nn import functional as F

from following import Calling, follow
from striate.errors import UsageError
from striate.tracing import trace

SHAPE = (2, 5, 7)

EXACT = {
    "flatten channels": lambda x: torch.flatten(x, 0, 1),
    "flatten a number": lambda x: x.sum().flatten(),
    "view of the same": lambda x: x.view(1, 2, 5, 7),
    "reshape": lambda x: x.reshape(-1, 5, 7),
    "like another": lambda x: x.view_as(x.clone()) + x.unsqueeze(0).reshape_as(x),
    "ones added and taken": lambda x: x.reshape(2, 1, 5, 1, 7, 1).reshape(2, 5, 7),
    "unflatten channels": lambda x: x.unflatten(1, (2, 1)),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "squeeze all": lambda x: x[:, :1].squeeze(),
    "squeeze what is not 1": lambda x: x.squeeze(1).squeeze((0, 2)),
    "unsqueeze": lambda x: x.unsqueeze(2).unsqueeze(-1),
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "permute by a tuple": lambda x: torch.permute(x, (2, 0, 3, 1)),
    "transpose": lambda x: x.transpose(1, -1),
    "swapaxes": lambda x: x.swapaxes(2, 3),
    "movedim": lambda x: x.movedim(1, -1),
    "movedim of two": lambda x: torch.movedim(x, (2, 3), (0, 1)),
    "movedim out of order": lambda x: x.movedim((1, 2, 3), (2, 0, 1)),
    "mT": lambda x: x.mT,
    "T": lambda x: x[0, 0].T,
    "data": lambda x: x + x.detach(),
    "expand": lambda x: x[:, :1].expand(-1, 3, 5, 7),
    "expand rank": lambda x: x.expand(3, 1, 2, 5, 7),
    "expand a mean": lambda x: x.mean(3, keepdim=True).expand(1, 2, 5, 4),
    "flip": lambda x: x.flip(2),
    "flip twice": lambda x: torch.flip(x, (-1, 1, 2)),
    "flip, then a window": lambda x: F.avg_pool2d(x.flip(2), 2, 1, 1),
    "slices": lambda x: x[:, :, 1:-1, ::2],
    "slices of more": lambda x: x[..., 3:99],
    "index": lambda x: x[:, 0, -2],
    "new axis": lambda x: x[:, None, ..., None, 1:3],
    "select": lambda x: x.select(2, -1),
    "narrow": lambda x: x.narrow(3, 2, 4),
    "narrow from the end": lambda x: x.narrow(3, -3, 2),
    "cat of channels": lambda x: torch.cat([x, x[:, :1].flip(3)], 1),
    "cat along space": lambda x: torch.cat([x, x.flip(2), torch.zeros(1, 2, 1, 7)], dim=2),
    "cat before a window": lambda x: F.avg_pool2d(torch.cat((x[:, :, 3:], x), 2), 3, 1),
    "cat with a summary": lambda x: torch.cat([x, x.mean(2, keepdim=True)], 2),
    "stack": lambda x: torch.stack([x, x * 2], 2),
    "stack at the end": lambda x: torch.stack([x, x * 2], -1),
    "chunk": lambda x: torch.cat(x.chunk(2, 3)[1:], 1),
    "chunk of one": lambda x: x.chunk(1)[0],
    "split": lambda x: torch.stack(x.split(3, dim=2)[:1]),
    "split by sizes": lambda x: torch.split(x, [1, 4], 2)[1],
    "unbind": lambda x: x.unbind(2)[3],
    "loop": lambda x: sum(row for row in x[0]),
}


# These mix axes that carry the input: the whole extent is taken.
MIXED = {
    "flatten": lambda x: x.flatten(1),
    "view": lambda x: x.view(x.size(0), -1),
    "reshape by a tuple": lambda x: torch.reshape(x, (1, 5, 14)),
    "unflatten": lambda x: x.flatten(1, 2).unflatten(1, (5, 2)),
}


@pytest.mark.parametrize("name", EXACT)
def test_intervals_end_where_the_gradients_end(name):
    assert follow(EXACT[name], SHAPE, exact=True).unknown == ()


@pytest.mark.parametrize("name", MIXED)
def test_where_axes_are_mixed_the_whole_extent_contains_the_gradients(name):
    result = follow(MIXED[name], SHAPE, exact=False)
    assert result.unknown == ()
    assert None in [axis for axis, _ in result.dependence]


def test_mixed_axes_depend_on_the_whole_and_the_others_keep_their_intervals():
    rows, columns = trace(Calling(lambda x: x.reshape(1, 10, 7)), SHAPE).dependence
    assert (rows.axis, rows.intervals.first.tolist(), rows.intervals.last.tolist()) == (
        None,
        [0],
        [4],
    )
    assert (columns.axis, columns.intervals.last.tolist()) == (2, [0, 1, 2, 3, 4, 5, 6])


def test_halves_that_are_joined_again_go_on_beyond_the_border_as_the_whole():
    def window(x):
        return F.avg_pool2d(x, 3, stride=2, padding=1)

    joined = trace(Calling(lambda x: window(torch.cat([x[:, :, :2], x[:, :, 2:]], 2))), SHAPE)
    for one, other in zip(joined.dependence, trace(Calling(window), SHAPE).dependence, strict=True):
        assert one.axis == other.axis
        assert one.intervals.first.tolist() == other.intervals.first.tolist()
        assert one.intervals.last.tolist() == other.intervals.last.tolist()


def test_a_flat_input_is_followed_along_its_features():
    (features,) = trace(Calling(lambda x: x[:, 3:20:2]), (28,)).dependence
    assert (features.axis, features.intervals.first.tolist()) == (1, [*range(3, 20, 2)])
    (features,) = trace(Calling(lambda x: x.view(-1, 1, 4, 7)), (28,)).dependence
    assert (features.axis, features.intervals.last.tolist()) == (None, [27])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:, :, torch.tensor([0, 2])],
        lambda x: x[:, :, [1, 2]],
        lambda x: x.roll(1, 2),
        lambda x: x.view(torch.int32).float(),
    ],
)
def test_indices_that_are_not_numbers_or_slices_are_named(function):
    result = trace(Calling(function), SHAPE)
    assert len(result.unknown) == 1
    assert [axis for axis, _ in result.dependence] == [None, None]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.view(1, 71), r"^view: .*\(1, 2, 5, 7\) cannot take the shape \(1, 71"),
        (lambda x: x.reshape(-1, 0), "cannot take the shape"),
        (lambda x: x.expand(1, 2, 6, 7), r"fit together|does not expand to \(1, 2, 6, 7\)"),
        (lambda x: x.expand(5, 7), r"does not expand to \(5, 7\)"),
        (lambda x: x[:, 2], r"a map of shape \(1, 2, 5, 7\) has no index 2"),
        (lambda x: x[0, 0, 0, 0, 0], "has no 5 axes to take parts of"),
        (lambda x: x[:, :, 5:], r"nothing would be left of a map of shape \(1, 2, 5, 7\)"),
        (lambda x: x.narrow(2, 3, 4), r"axis 2 of \(1, 2, 5, 7\) ends before 7"),
        (lambda x: x.split([2, 2], 2), r"parts of \[2, 2\] do not make up axis 2"),
        (lambda x: torch.cat([x, x[..., 1:]], 2), "cannot be joined along axis 2"),
        (lambda x: x.permute(0, 1, 2, 4), r"has no axis 4"),
    ],
)
def test_what_does_not_fit_is_refused_by_function_and_shape(function, message):
    with pytest.raises(UsageError, match=message):
        trace(Calling(function), SHAPE)
