"""The one setup cell: `make notebooks` puts what follows into every notebook, with the address filled in."""

# @title Run this cell first. It finds the course (Colab: installs it), sets the seed and names the device.
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys

repository = "{{students_repository}}"


def install_on_colab(address):
    """Install the course from its repository; Colab's TensorFlow, Keras and NumPy stay as they are."""
    stay = ["tensorflow", "keras", "tf-keras", "tensorflow-probability", "numpy"]
    found = {d.name.lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    pins = [f"{name}=={found[name]}" for name in stay if name in found]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *pins, f"git+{address}"]
    pip = subprocess.run(command, capture_output=True, text=True)
    if pip.returncode != 0:  # the cause is git's or pip's first complaint; what comes last is only advice
        reasons = re.findall(r"^\s*((?:fatal|ERROR): .+)", pip.stderr, re.MULTILINE)
        reason = (reasons or pip.stderr.strip().splitlines()[-1:] or ["pip gave no reason"])[0]
        raise ImportError(f"The course could not be installed from {address}. Is there a network? {reason}")
    importlib.invalidate_caches()


found = importlib.util.find_spec("utils")
if found is None or found.origin is None:  # the course is not installed here
    if "google.colab" not in sys.modules:
        raise ImportError(
            f"The course is not installed in {sys.executable}. Open this notebook by `make lab` in the "
            "course's folder, or in an editor with the Python of its .venv, or by the Colab badge above."
        )
    install_on_colab(os.environ.get("LGM_REPOSITORY", repository))
    found = importlib.util.find_spec("utils")

try:
    import utils

    ours = utils.COURSE == "Learning Generative Models"
except Exception:
    ours = False
if not ours:
    origin, cure = str(found and found.origin), "Rename or move it"
    owners = set(importlib.metadata.packages_distributions().get("utils", []))
    if "-packages" in origin and (names := sorted(owners - {"learning-generative-models"})):
        cure = f"Uninstall it (%pip uninstall -y {' '.join(names)})"
    raise ImportError(
        f"Another module called utils stands in front of the course's: {origin}. "
        f"{cure}, restart the kernel and run this cell again."
    )

import utils.notebook

utils.notebook.start()
run_the_setup_cell_first = "done"  # without it the cells below fail, and say so
