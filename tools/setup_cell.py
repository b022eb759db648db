"""The one setup cell: `make notebooks` puts what follows into every notebook, with the address filled in."""

import importlib.metadata
import importlib.util
import os
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
    if pip.returncode != 0:
        reason = (pip.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
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
    raise ImportError(
        f"Another module called utils stands in front of the course's: {found and found.origin}. "
        "Rename or move it, restart the kernel and run this cell again."
    )

import utils.notebook

utils.notebook.start()
