"""Newton-Schulz against the polynomial of the singular values."""

import pytest
import torch

from striate.orthogonalization import orthogonalize


@pytest.mark.parametrize("shape", [(5, 5), (3, 11), (13, 4), (2, 3, 7, 5)])
def test_singular_values_go_through_the_quintic_and_the_directions_stay(shape):
    generator = torch.Generator().manual_seed(1)
    matrices = torch.randn(shape, generator=generator, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    values = values / matrices.norm(dim=(-2, -1))[..., None]
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    expected = left @ torch.diag_embed(values) @ right
    assert torch.allclose(orthogonalize(matrices), expected, atol=1e-5)


def test_values_from_a_hundredth_on_come_near_one_and_zeros_stay():
    spread = torch.diag(torch.tensor([1.0, 0.3, 0.1, 0.05, 0.02]))
    values = torch.linalg.svdvals(orthogonalize(spread))
    assert values.min() > 0.68
    assert values.max() < 1.14
    assert torch.equal(orthogonalize(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_a_stack_is_its_matrices_one_by_one():
    stack = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(2))
    for matrix, direction in zip(stack, orthogonalize(stack), strict=True):
        assert torch.allclose(orthogonalize(matrix), direction, atol=1e-5)
