"""N4: its sizes and counts, the preparation of windows, and what follows the network."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.optimize import minimize
from torch.nn import functional as F

from striate.models import NETWORKS, build, outline
from striate.models.ciresan2012 import (
    fit_calibration,
    foveate,
    median_filter,
    sample_nonuniformly,
)
from striate.tracing import trace


@pytest.mark.parametrize(
    ("name", "sides"),
    [("n4", [92, 46, 42, 21, 18, 9, 6, 3]), ("ciresan65", [62, 31, 28, 14, 10, 5])],
)
def test_maps_have_the_sizes_of_the_table(name, sides):
    layers = trace(outline(name), NETWORKS[name].input_shape).layers
    kinds = ("Conv2d", "MaxPool2d")
    assert [layer.output_shape for layer in layers if layer.kind in kinds] == [
        (48, side, side) for side in sides
    ]


def test_a_window_costs_121_million_multiply_adds():
    # 48 × 16 × 92² + 48² × 25 × 42² + 48² × 16 × 18² + 48² × 16 × 6² + 432 × 200 + 200 × 2
    assert trace(outline("n4"), (1, 95, 95)).multiply_adds == 121_464_592


def test_relu_behind_pooling_is_relu_before_it():
    torch.manual_seed(2)
    network, windows = build("ciresan65"), torch.randn(3, 1, 65, 65)
    x = windows
    for number in (1, 2, 3):
        x = F.max_pool2d(F.relu(network.layers.get_submodule(f"c{number}")(x)), 2)
    x = F.relu(network.layers.f5(x.flatten(1)))
    torch.testing.assert_close(network(windows), network.layers.output(x))


def test_a_window_of_another_side_is_refused():
    with pytest.raises(ValueError, match=r"windows of 95x95, not \(1, 1, 96, 95\); striate\.dense"):
        build("n4")(torch.zeros(1, 1, 96, 95))


# ---------------------------------------------------------------- windows prepared


def test_foveation_leaves_the_middle_and_blurs_the_edge_as_a_gaussian():
    torch.manual_seed(0)
    windows = torch.randn(2, 3, 41, 41, dtype=torch.float64)
    foveated = foveate(windows, sharp=0.25, blur=4.0)
    assert foveated.shape == windows.shape
    assert torch.equal(foveated[:, :, 17:24, 17:24], windows[:, :, 17:24, 17:24])
    blurred = ndimage.gaussian_filter(windows.numpy(), 4.0, mode="mirror", radius=12, axes=(2, 3))
    for edge in ((20, 0), (0, 20), (40, 20), (3, 2)):
        np.testing.assert_allclose(foveated[:, :, *edge], blurred[:, :, *edge], rtol=1e-9)
    spread = [foveated[:, :, 20, r].var() for r in (20, 29, 40)]
    assert spread == sorted(spread, reverse=True)


def test_foveation_keeps_an_even_window_and_does_not_mix_windows():
    even = torch.tensor([2.0, -3.0]).view(2, 1, 1, 1).expand(2, 1, 25, 25)
    torch.testing.assert_close(foveate(even, blur=2.0), even)


def test_sampling_is_by_the_pixel_in_the_middle_and_reaches_the_border():
    ramp = torch.arange(95.0, dtype=torch.float64).expand(1, 1, 95, 95)
    rows = sample_nonuniformly(ramp.transpose(2, 3), 45)[0, 0, :, 3]
    places = sample_nonuniformly(ramp, 45)[0, 0, 7]
    torch.testing.assert_close(rows, places)
    t = torch.arange(-22.0, 23.0, dtype=torch.float64)
    torch.testing.assert_close(places, 47 + t + (47 / 22 - 1) * t**3 / 22**2)
    steps = places.diff()
    assert (places[0], places[22], places[-1]) == (0, 47, 94)
    assert 1 <= steps[22] < 1.01
    assert (steps[22:].diff() > 0).all()


def test_a_grid_of_the_window_s_side_is_the_window():
    windows = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(sample_nonuniformly(windows, 9), windows)
    with pytest.raises(ValueError, match="side is 10; windows of 9x9 take a grid of 2 to 9"):
        sample_nonuniformly(windows, 10)


# ---------------------------------------------------------------- behind the network


def steepness(calibration):
    return np.polynomial.Polynomial(calibration.coefficients).deriv()(np.linspace(0, 1, 1001))


@pytest.mark.parametrize("seed", range(6))
def test_the_calibration_is_the_best_of_all_that_never_fall(seed):
    random = np.random.default_rng(seed)
    x = random.beta(0.6, 0.5, 400)
    bent = (0.3 * x, x > 0.4, 1 - x, 0.5 + 0.5 * np.sin(9 * x), x**3, (x > 0.3) * 0.8)[seed]
    labels = random.random(400) < bent
    calibration = fit_calibration(x, labels)
    assert steepness(calibration).min() > -1e-9

    def error(coefficients):
        return ((np.polynomial.polynomial.polyval(x, coefficients) - labels) ** 2).mean()

    grid = np.linspace(0, 1, 401)
    slopes = np.stack([0 * grid, 0 * grid + 1, 2 * grid, 3 * grid**2], axis=1)
    best = minimize(
        error, [0.5, 0.1, 0, 0], method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        constraints={"type": "ineq", "fun": lambda c: slopes @ c, "jac": lambda c: slopes},
    )  # fmt: skip
    assert error(calibration.coefficients) == pytest.approx(error(best.x), rel=1e-4)


def test_a_cubic_that_never_falls_is_found_again():
    x = np.linspace(0, 1, 101)
    truth = 0.1 + 0.2 * x - 0.3 * x**2 + 0.6 * x**3  # its slope is least, 0.15, at 1/6
    calibration = fit_calibration(x, truth)
    np.testing.assert_allclose(calibration.coefficients, [0.1, 0.2, -0.3, 0.6], atol=1e-3)
    np.testing.assert_allclose(calibration(x), truth, atol=1e-5)


def test_calibrated_values_stay_probabilities_and_odd_input_is_refused():
    calibration = fit_calibration(np.array([0.4, 0.6]), np.array([0, 1]))
    values = calibration(np.linspace(0, 1, 7).reshape(1, 7))
    assert values.shape == (1, 7)
    assert (values.min(), values.max()) == (0, 1)
    assert fit_calibration(np.array([0.5, 0.5]), np.array([1, 1]))(0.5) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"probabilities are \(2,\) and labels \(3,\); the same"):
        fit_calibration(np.zeros(2), np.zeros(3, int))


def test_the_median_is_that_of_a_disk_of_thirteen_pixels_with_mirrored_borders():
    random = np.random.default_rng(3)
    stack = random.random((2, 9, 7))
    filtered = median_filter(stack)
    padded = np.pad(stack, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    disk = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if i * i + j * j <= 4]
    assert len(disk) == 13
    for n, y, x in np.ndindex(stack.shape):
        around = [padded[n, y + 2 + i, x + 2 + j] for i, j in disk]
        assert filtered[n, y, x] == np.median(around)
    assert np.array_equal(median_filter(stack[1]), filtered[1])
