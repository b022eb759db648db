"""IPython runs this when a session starts in the course's environment: it is put in etc/ipython/startup.

Until a notebook's setup cell has run, a name that is missing is followed by what to do. And the kernel says
of its language what stands in the notebooks: JupyterLab writes it into each notebook that it opens, and a
version such as 3.12.4 would make that notebook an unsaved one, which git takes for changed.
"""

from typing import Any

from IPython import get_ipython


def remind(result: Any) -> None:
    """After a cell has run: `result` is IPython's, with the exception if it failed."""
    if isinstance(result.error_in_exec, NameError) and "run_the_setup_cell_first" not in shell.user_ns:
        print("In a notebook of the course: run its first code cell, then those below it, down to this one.")


shell = get_ipython()
shell.events.register("post_run_cell", remind)
if kernel := getattr(shell, "kernel", None):
    kernel.language_info = {**kernel.language_info, "version": "3"}
