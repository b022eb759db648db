"""What students sent in becomes clean notebooks.

In: an archive of a learning management system, or a folder. Out: `Submission`s below `submitted/`, and for
each a `Repaired`: the instructor's notebook with the student's work in it.
"""
