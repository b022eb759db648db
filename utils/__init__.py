"""What the course's notebooks share: data sets, figures, evaluation, the scoreboard, statistical tests.

The models themselves are in the notebooks. ``import utils`` loads nothing heavy; TensorFlow is imported
by ``utils.notebook.start`` only.
"""

COURSE = "Learning Generative Models"
__version__ = "0.1.0"
