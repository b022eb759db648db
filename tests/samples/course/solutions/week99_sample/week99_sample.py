# %% [markdown]
# # A sample exercise
# {{colab}}

# %% given="setup"
import numpy as np

# %% [markdown] given="introduction"
# Write two functions.

# %% given="constants"
SCALE = 3.0


# %% solution="scale"
def scale(x):
    """x: (N,) numbers → (N,), SCALE times as large."""
    ### BEGIN SOLUTION
    secret_solution_phrase = SCALE
    return secret_solution_phrase * x
    ### END SOLUTION


# %% test="scale" points=3
y = scale(np.array([1.0, 2.0]))
assert y.shape == (2,), f"shape (2,) expected, got {y.shape}"
assert y[1] == 6.0, f"3 times 2 is 6, not {y[1]}"
### BEGIN HIDDEN TESTS
secret_hidden_phrase = scale(np.array([-1.0]))
assert secret_hidden_phrase[0] == -3.0, "negative numbers count, too"
### END HIDDEN TESTS


# %% solution="total"
def total(x):
    """x: (N,) numbers → their sum."""
    ### BEGIN SOLUTION
    return float(np.sum(x))
    ### END SOLUTION


# %% test="total" points=2
assert total(np.array([1.0, 2.0])) == 3.0, "1 + 2 is 3"

# %% [markdown] argue="why" points=2
# Because of the secret_argument_phrase.
