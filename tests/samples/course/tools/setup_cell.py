"""The sample course's setup cell; this docstring is not part of it."""

# Sample of {{students_repository}}
import numpy as np

print("NumPy", np.__version__)
run_the_setup_cell_first = "done"
