"""Shows that the exercises and the engine do what they promise.

In: an exercise, and the engine. Out: verdicts: the bank with its mutants, the authoring check, damaged and
hostile sample classes, a trial with kills, a benchmark.
"""
