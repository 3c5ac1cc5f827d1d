"""Arrivals as files: the order of arrival is the order of the files, whatever was given first."""

from pathlib import Path

import pandas as pd
import pytest

from medallion.lesson import arrivals

TIMES = ["2025-11-28 11:59:59", "2025-11-28 00:00:00", "2025-11-28 12:00:00", "2025-11-28 11:59:59"]


def test_a_file_for_each_period_in_the_order_of_arrival(tmp_path: Path) -> None:
    files = arrivals.write(["b", "a", "d", "c"], pd.to_datetime(TIMES), tmp_path / "new", hours=12)
    assert [file.read_text(encoding="utf-8") for file in files] == ["a\nb\nc\n", "d\n"]
    assert [file.name for file in files] == ["2025-11-28T120000.json", "2025-11-29T000000.json"]
    ends = [pd.Timestamp(file.stat().st_mtime, unit="s") for file in files]
    assert ends == [pd.Timestamp("2025-11-28 12:00"), pd.Timestamp("2025-11-29")]
    assert sorted((tmp_path / "new").iterdir()) == files, "nothing hidden is left behind"


def test_later_lines_are_added(tmp_path: Path) -> None:
    arrivals.write(["a"], pd.to_datetime(TIMES[:1]), tmp_path, hours=24)
    arrivals.write(["b"], pd.to_datetime(["2025-11-29 10:00"]), tmp_path, hours=24)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^There are 2 lines and 1 moments\.$"):
        arrivals.write(["a", "b"], pd.to_datetime(TIMES[:1]), tmp_path, hours=1)
    with pytest.raises(ValueError, match=r"^A line has no moment of arrival\.$"):
        arrivals.write(["a"], pd.DatetimeIndex([pd.NaT]), tmp_path, hours=1)
    assert list(tmp_path.iterdir()) == []
