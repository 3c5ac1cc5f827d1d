"""What the tests of the checks share: sentences that every check says, and what a wrong answer is told."""

from medallion.lesson import checks

NOT_DONE = "Not done yet: replace each ... above with your answer, run that cell, then this one."
NO_RETURN = "Your function returned nothing. Does it end with return? It should return a DataFrame."


def wrong(verdict: checks.Verdict) -> str:
    """Return what a wrong answer is told; another verdict fails the test."""
    assert verdict.state == "wrong", verdict
    return verdict.message
