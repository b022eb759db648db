"""What came out is kept, recorded and shown.

In: `Outcome`s. Out: the ledger, nbgrader's gradebook, the executed notebooks, feedback, the report, tables
for learning management systems.
"""
