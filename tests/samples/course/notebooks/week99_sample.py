# %% [markdown]
# # Week 99 · Sample
# {{colab}}

# %% setup
import numpy as np

# %% parameters tags=["parameters"]
n = 4  # how many numbers

# %%
x = np.arange(n)

# %%
x = np.arange(n)
