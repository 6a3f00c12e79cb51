"""How a job tells its steps, and ends when it is asked to."""

import threading

import pytest

from stedalign.errors import JobError
from stedalign.progress import SILENT, Cancelled, Progress, Step


def test_items_are_told_when_they_are_done():
    steps = []
    assert list(Progress(steps.append).over("ab", "reading")) == ["a", "b"]
    assert steps == [Step("reading", 0, 2), Step("reading", 1, 2), Step("reading", 2, 2)]
    assert steps[1].to_json() == {"title": "reading", "done": 1, "total": 2}


def test_a_canceled_job_ends_between_two_items_as_a_job_that_failed():
    cancel, seen = threading.Event(), []
    with pytest.raises(Cancelled, match=r"stopped at 'reading' \(1 of 3\)") as caught:  # noqa: PT012
        for item in Progress(cancel=cancel).over("abc", "reading"):
            seen.append(item)
            cancel.set()
    assert seen == ["a"]
    assert isinstance(caught.value, JobError)


def test_nobody_need_watch():
    SILENT("reading")
    assert list(SILENT.over([1], "reading")) == [1]
