"""Regions, axes, slabs and units: what all formats share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from striate.errors import DataError
from striate.volumes.sources import METERS, Geometry, arrange, extra, slabs


@given(hnp.arrays("u1", hnp.array_shapes(min_dims=1, max_dims=4, max_side=7)), st.integers(1, 400))
def test_slabs_put_together_are_the_whole_and_none_is_too_large(array, limit):
    pieces = list(slabs(array, limit))
    assert b"".join(piece.tobytes() for piece in pieces) == array.tobytes()
    assert all(piece.nbytes <= limit or (piece.ndim == 1 and len(piece) == 1) for piece in pieces)


@pytest.mark.parametrize("unit", METERS)
def test_spacing_is_the_same_length_in_every_unit(unit):
    steps = Geometry((0.25, 3.0), "mm").spacing_in(unit)
    assert np.allclose(np.multiply(steps, METERS[unit]), (0.25e-3, 3e-3), rtol=1e-12, atol=0)
    assert Geometry(steps, unit).spacing_in("mm") == (0.25, 3.0)


def test_spacing_without_unit_is_left_as_it_is():
    assert Geometry((2.0, 1.0)).spacing_in("nm") == (2.0, 1.0)
    assert Geometry(None, "mm").spacing_in("nm") is None


@pytest.mark.parametrize(
    ("axes", "stored", "shape"),
    [
        ("YX", (5, 7), (1, 5, 7)),
        ("XY", (7, 5), (1, 5, 7)),
        ("XYZC", (7, 5, 3, 2), (2, 3, 5, 7)),
        ("TCZYX", (1, 2, 1, 5, 7), (2, 5, 7)),
        ("TCZYX", (3, 1, 1, 5, 7), (1, 3, 5, 7)),
        ("ZYXS", (3, 5, 7, 4), (4, 3, 5, 7)),
    ],
)
def test_the_names_of_axes_tell_channels_depth_height_and_width(tmp_path, axes, stored, shape):
    arrangement, _ = arrange(tmp_path, axes, stored)
    assert arrangement.shape(stored) == shape
    array = np.arange(np.prod(stored)).reshape(stored)
    whole = arrangement.select(array, (slice(None),) * (len(shape) - 1))
    present = [axes.index(name) for name in axes if stored[axes.index(name)] > 1]
    squeezed = array.squeeze()
    names = "".join(axes[axis] for axis in present)
    order = [names.index(name) for name in ("CSTZYX") if name in names]
    assert np.array_equal(whole.squeeze(), squeezed.transpose(order))


@pytest.mark.parametrize("axes", ["TZYX", "CSYX", "ZCX", "YYX"])
def test_axes_that_leave_a_choice_are_refused(tmp_path, axes):
    with pytest.raises(DataError, match="which can be read in several ways; needed are height"):
        arrange(tmp_path, axes, (2, 3, 5, 7)[: len(axes)])


def test_a_missing_package_is_one_line_with_its_remedy():
    words = r"reading a\.nii needs absent_package, .* pip install 'striate\[volumes\]'"
    with pytest.raises(DataError, match=words):
        extra("absent_package", "reading a.nii")
