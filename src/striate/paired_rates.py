"""Two classifiers on the same examples: the difference of their rates, and whether it is chance."""

from math import comb, sqrt

from striate.metrics import wilson_interval


def difference_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Bound the difference of two paired rates, the first's minus the second's, with 95 %.

    Args:
        both: Examples that both have right.
        first: That the first alone has right.
        second: That the second alone has right.
        neither: That neither has right.

    Returns:
        The lower and the upper bound, in [-1, 1].

    Raises:
        ValueError: There are no examples, or a number is negative.

    Source:
        R. G. Newcombe, "Improved confidence intervals for the difference between binomial
        proportions based on paired data", Statistics in Medicine 17, 1998, method 10.

    Example:
        >>> low, high = difference_interval(900, 30, 10, 60)
        >>> f"{low:.4f} to {high:.4f}"
        '0.0075 to 0.0332'
    """
    number = both + first + second + neither
    if min(both, first, second, neither) < 0 or number == 0:
        raise ValueError(
            f"{both}, {first}, {second} and {neither} examples; needed are four numbers from 0 "
            "up, not all 0"
        )
    rate, other = (both + first) / number, (both + second) / number
    low, high = wilson_interval(both + first, number)
    other_low, other_high = wilson_interval(both + second, number)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    tie = 0.0
    if margins:
        cross = both * neither - first * second
        corrected = max(cross - number / 2, 0) if cross > 0 else cross
        tie = corrected / sqrt(margins)
    down, up = rate - low, high - rate
    other_down, other_up = other - other_low, other_high - other
    difference = rate - other
    # Rounding can leave a hair below zero under the roots.
    below = sqrt(max(0.0, down**2 - 2 * tie * down * other_up + other_up**2))
    above = sqrt(max(0.0, up**2 - 2 * tie * up * other_down + other_down**2))
    return max(-1.0, difference - below), min(1.0, difference + above)


def mcnemar(first: int, second: int) -> float:
    """Give the probability of a split at least this uneven if both were equally good.

    Args:
        first: Examples that the first alone has right.
        second: Examples that the second alone has right.

    Returns:
        The two-sided p of the exact binomial test; 1 where they never differ.

    Source:
        Q. McNemar, "Note on the sampling error of the difference between correlated
        proportions or percentages", Psychometrika 12, 1947; the exact form.

    Example:
        >>> round(mcnemar(30, 10), 5)
        0.00222
    """
    number, fewer = first + second, min(first, second)
    tail = sum(comb(number, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << number))
