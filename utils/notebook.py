"""The first call of every notebook: quiet start-up, seeds, style sheet and one line about the machine."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # C++: errors only
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "2",
}
_MODULES = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "tf_keras": "tf_keras",
    "tensorflow_probability": "tensorflow-probability",
    "matplotlib": "matplotlib",
}


def start(seed: int = 0) -> None:
    """Silence TensorFlow's start-up, seed everything, apply the style sheet, print one line.

    ``seed`` goes to Python's ``random``, NumPy and TensorFlow (``keras.utils.set_random_seed``): the same
    seed gives the same numbers on the same machine, versions and number of threads.
    Raises ImportError, naming the package and the command that installs it, if one is missing.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = {name: _import(name, package) for name, package in _MODULES.items()}
        gpus = modules["tensorflow"].config.list_physical_devices("GPU")
    tf = modules["tensorflow"]
    tf.get_logger().setLevel("ERROR")

    modules["keras"].utils.set_random_seed(seed)
    from utils import plotting

    plotting.use_style()

    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    device = ", ".join(names) if names else f"CPU, {_cores()} cores"
    versions = {
        "Python": platform.python_version(),
        "TensorFlow": tf.__version__,
        "Keras": modules["keras"].__version__,
        "TFP": modules["tensorflow_probability"].__version__,
    }
    print(" · ".join([*(f"{name} {version}" for name, version in versions.items()), device, f"seed {seed}"]))


def _import(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = package if error.name == name else f"{error.name} (needed by {package})"
        raise ImportError(
            f"The package {missing} is not installed in {sys.executable}. Run `make setup` in the course's "
            "folder, or on Colab choose Runtime → Disconnect and delete runtime; then restart the kernel and "
            "run this cell again."
        ) from None


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))  # what this process may use
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what C++ libraries write to file descriptor 2; show it after all if the block fails."""
    try:
        saved = os.dup(2)
    except OSError:  # no such descriptor, nothing to silence
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException as error:
            os.dup2(saved, 2)
            if not isinstance(error, ImportError):
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
