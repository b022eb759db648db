"""nbgrader's settings for the Validate button, which reads them where JupyterLab was started."""

c = get_config()  # noqa: F821 (defined by traitlets, which reads this file)

# Slower machines and slower ways get time: seconds for each cell, and for the start of Python.
c.Execute.timeout = 120
c.Execute.startup_timeout = 120
c.Execute.iopub_timeout = 30

# A warning costs nothing: what goes to stderr, which nbgrader would take for a failure, is ordinary output.
c.Execute.extra_arguments = ["--IPKernelApp.exec_lines=import sys; sys.stderr.name = 'stdout'"]
