"""Runs students' code against the tests, and believes nothing that it says.

In: `Job`s (an exercise, a clean notebook, a pseudonym, limits). Out: an `Outcome` for each. Nothing else
enters: no gradebook, no name, no other submission.
"""
