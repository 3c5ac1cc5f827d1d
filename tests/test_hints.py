"""The hints of every exercise: three of them, each another one, and an end."""

import pytest

from medallion import contract
from medallion.errors import MedallionError
from medallion.lesson import checks

EXERCISES = [exercise for number in contract.chapters() for exercise in checks.exercises(number)]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.number)
def test_three_hints_and_no_fourth(exercise: checks.Exercise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_PROGRESS", "off")
    assert len({exercise.hint(level).message for level in (1, 2, 3)}) == 3
    for level in (0, 4):
        with pytest.raises(MedallionError) as refused:
            exercise.hint(level)
        assert str(refused.value) == f"There is no hint {level}. Ask for hint 1, 2 or 3."
