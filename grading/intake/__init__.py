"""What students sent in becomes clean notebooks.

In: an archive of a learning management system, or a folder. Out: `Submission`s below `submitted/`, and for
each a `Repaired`: the instructor's notebook with the student's work in it. A student's bytes are read in
processes of their own, with a budget of time and memory.
"""
