"""Histograms matched: against scikit-image, and by what a monotone change keeps."""

import numpy as np
import pytest

from striate.intensities import match_histogram


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_values_are_scikit_image_s(dtype):
    exposure = pytest.importorskip("skimage.exposure")
    random = np.random.default_rng(5)
    image = (random.random((2, 5, 7, 11)) ** 2 * 200).astype(dtype)
    reference = (random.random((2, 9, 4, 3)) * 90 + 10).astype(dtype)
    theirs = [exposure.match_histograms(*both) for both in zip(image, reference, strict=True)]
    np.testing.assert_allclose(match_histogram(image, reference), theirs, rtol=1e-6)


def test_order_stays_and_a_reference_s_own_copy_comes_back():
    random = np.random.default_rng(6)
    image, reference = random.random((1, 13, 17)), random.random((1, 13, 17)) * 40 - 3
    matched = match_histogram(image, reference)
    assert np.array_equal(np.argsort(image, axis=None), np.argsort(matched, axis=None))
    np.testing.assert_allclose(np.sort(matched, axis=None), np.sort(reference, axis=None))
    assert np.array_equal(match_histogram(reference, reference), reference)


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"image is \(2, 3\) and the reference \(1, 3\); both nee"):
        match_histogram(np.zeros((2, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="both need pixels"):
        match_histogram(np.zeros((1, 0)), np.zeros((1, 3)))
