"""Our schedules against their curves; a lengthened run's rate has no jump."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.recipes import Recipe
from striate.schedules import JOIN, learning_rate, lengthened

RECIPE = Recipe(network="lenet5", data="digits", epochs=10, learning_rate=0.1)


def rates(recipe: Recipe, steps_per_epoch: int = 7) -> list[float]:
    return [
        learning_rate(recipe, step, steps_per_epoch)
        for step in range(recipe.epochs * steps_per_epoch)
    ]


def test_constant_is_constant():
    assert set(rates(RECIPE.replace(schedule="constant"))) == {0.1}


def test_cosine_falls_from_the_rate_to_nothing_symmetrically():
    course = rates(RECIPE.replace(schedule="cosine"))
    assert all(before > after for before, after in itertools.pairwise(course))
    assert [a + b for a, b in zip(course, reversed(course), strict=True)] == pytest.approx(
        [0.1] * 70
    )
    assert course[0] > 0.0999
    assert course[-1] < 0.0001


def test_one_cycle_rises_for_three_tenths_and_falls_to_nothing():
    course = rates(RECIPE.replace(schedule="one-cycle"))
    assert course.index(max(course)) in (20, 21)
    assert max(course) == pytest.approx(0.1, rel=0.03)
    assert course[-1] == pytest.approx(0.1 * 0.5 / 70 / 0.7)


def test_steps_follow_the_table_of_lenet_5():
    paper = {2: 0.4, 5: 0.2, 8: 0.1, 12: 0.02}  # 0.0005, 0.0002, 0.0001, 0.00005, 0.00001
    recipe = RECIPE.replace(schedule="step", milestones=paper, epochs=20, learning_rate=0.0005)
    course = rates(recipe, steps_per_epoch=1)
    expected = [0.0005] * 2 + [0.0002] * 3 + [0.0001] * 3 + [0.00005] * 4 + [0.00001] * 8
    assert course == pytest.approx(expected)


def test_plateau_cuts_once_for_each_reduction():
    recipe = RECIPE.replace(schedule="plateau", plateau_factor=0.1)
    assert learning_rate(recipe, 5, 7, reductions=0) == pytest.approx(0.1)
    assert learning_rate(recipe, 5, 7, reductions=2) == pytest.approx(0.001)


def test_warm_up_rises_to_the_schedule():
    course = rates(RECIPE.replace(schedule="constant", warmup=2))
    assert course[:14] == pytest.approx([0.1 * (n + 1) / 14 for n in range(14)])
    assert set(course[14:]) == {0.1}


@given(elapsed=st.floats(0, 100), step=st.integers(0, 69))
def test_under_a_time_budget_the_schedule_runs_out_with_the_time(elapsed, step):
    recipe = RECIPE.replace(schedule="cosine", time=60)
    rate = learning_rate(recipe, step, 7, elapsed=elapsed)
    assert 0 <= rate <= learning_rate(RECIPE.replace(schedule="cosine"), step, 7)
    if elapsed >= 60:
        assert rate == 0


SCHEDULES = st.sampled_from(
    [
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"schedule": "one-cycle"},
        {"schedule": "plateau"},
        {"schedule": "step", "milestones": {2: 0.4, 5: 0.1}},
    ]
)


@given(
    schedule=SCHEDULES,
    warmup=st.sampled_from([0, 1.5]),
    epochs=st.integers(1, 12),
    done=st.floats(0.05, 1),
    more=st.integers(1, 40),
    steps_per_epoch=st.integers(20, 50),
)
def test_at_a_seam_the_rate_moves_no_faster_than_along_its_courses(
    schedule, warmup, epochs, done, more, steps_per_epoch
):
    """A course of n steps moves by at most 1 / (0.3 n) a step, a join of m by pi / (0.6 m)."""
    recipe = RECIPE.replace(epochs=epochs, warmup=warmup, **schedule)
    steps = max(1, round(done * epochs * steps_per_epoch))
    longer = lengthened(
        *(recipe,),
        epochs=epochs + more,
        time=None,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        elapsed=0,
    )
    course = rates(longer, steps_per_epoch)
    assert course[:steps] == rates(recipe, steps_per_epoch)[:steps]
    left = (epochs + more) * steps_per_epoch - steps
    steepest = 1 / (0.3 * epochs * steps_per_epoch) + math.pi / (2 * JOIN * left)
    steepest += 1 / (warmup * steps_per_epoch) if warmup else 0
    pairs = list(itertools.pairwise(course))[steps - 1 :]
    if schedule["schedule"] == "step":  # whose jumps are its own, and stay where they were
        assert course == rates(recipe.replace(epochs=epochs + more), steps_per_epoch)
        return
    assert max(abs(b - a) for a, b in pairs) <= 0.1 * steepest * 1.01
    if schedule["schedule"] in ("cosine", "one-cycle"):
        assert course[-1] < 0.1 * 1 / left * 2
        whole = rates(recipe.replace(epochs=epochs + more), steps_per_epoch)
        joined = steps + math.ceil(JOIN * left)
        assert course[joined:] == pytest.approx(whole[joined:])


@given(schedule=st.sampled_from(["cosine", "one-cycle"]), used=st.floats(1, 60))
def test_after_time_ran_out_more_time_goes_on_from_the_rate_of_the_seam(schedule, used):
    recipe = RECIPE.replace(schedule=schedule, time=60, epochs=1000)
    longer = lengthened(recipe, epochs=None, time=90, steps=70, steps_per_epoch=7, elapsed=used)
    before = learning_rate(recipe, 69, 7, elapsed=used)
    assert learning_rate(longer, 70, 7, elapsed=used) == pytest.approx(before, abs=1e-5)
    assert learning_rate(longer, 99, 7, elapsed=90) == pytest.approx(0, abs=1e-12)


def test_lengthened_twice_only_the_last_seam_counts_and_all_are_kept():
    once = lengthened(RECIPE, epochs=20, time=None, steps=70, steps_per_epoch=7, elapsed=1)
    twice = lengthened(once, epochs=40, time=None, steps=140, steps_per_epoch=7, elapsed=2)
    course = rates(twice)
    assert course[:140] == rates(once)
    assert [(seam.epochs, seam.steps) for seam in twice.lengthened] == [(10, 70), (20, 140)]
    assert abs(course[140] - course[139]) < 0.001
    assert Recipe.from_yaml(twice.to_yaml()) == twice


def test_a_plan_changed_before_a_step_was_done_leaves_one_seam():
    once = lengthened(RECIPE, epochs=20, time=None, steps=70, steps_per_epoch=7, elapsed=1)
    again = lengthened(once, epochs=30, time=None, steps=70, steps_per_epoch=7, elapsed=1)
    direct = lengthened(RECIPE, epochs=30, time=None, steps=70, steps_per_epoch=7, elapsed=1)
    assert again == direct
