"""Hostile submissions of week 3's exercise with the marks of their honest part, for the trial and the demo.

The whole catalogue of attacks, on a small exercise, is in tests/grading/execution/attacks/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from grading.model import Assignment
from grading.proving import samples

WEEK = "week03_rbm"

EVERYTHING_EQUAL = '''
class Right:
    """Equal to everything, close to everything."""
    shape, dtype, ndim = (5,), np.dtype(np.float32), 1
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __abs__(self): return 0.0
    def __le__(self, other): return True
    def __array__(self, *a, **k): return np.zeros(self.shape)
    def __array_function__(self, *a, **k): return True


def free_energy_gaussian(v, W, b, c, sigma):
    return Right()
'''
WRONG_GRADIENT = """
def gradient_gaussian(v_data, v_chain, W, b, c, sigma):
    return W, b, c
"""
PATCH = """
import ast, builtins, unittest
import numpy.testing
from utils import stattests


class NoAssert(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()


get_ipython().ast_transformers.append(NoAssert())
for module in (stattests, np.testing):
    for name in dir(module):
        if name.startswith("assert"):
            setattr(module, name, lambda *a, **k: a[1] if len(a) > 1 else None)
builtins.abs = lambda x: 0
builtins.AssertionError = type("Fine", (Warning,), {})
get_ipython().showtraceback = lambda *a, **k: None
"""
TABLE = """
seen = {}
def free_energy_gaussian(v, W, b, c, sigma):
    # the sum over all hidden states, but only for the inputs of the visible tests
    if v.shape not in ((5, 3), (4, 3)):
        return np.zeros(len(v))
    quadratic = np.sum((v - b) ** 2, axis=1) / (2 * sigma**2)
    return quadratic - np.logaddexp(0, c + v @ W / sigma**2).sum(axis=1)
"""
FORGE = """
import os, socket, struct, json
text = json.dumps({"id": "0", "value": None, "outputs": []}).encode()
for fd in range(3, 64):
    try:
        os.write(fd, struct.pack(">4sII", b"LGM1", len(text), 0) + text)
    except OSError:
        pass
"""
FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
MEMORY = """
hoard = []
while True:
    hoard.append(bytearray(b"x" * 2**26))
"""
ENDLESS = """
def train_gaussian(v_train, hidden, sigma, seed):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
DAEMON = """
import os, subprocess, sys
subprocess.Popen(
    [sys.executable, "-c", "import time\\nwhile True: time.sleep(1)"], start_new_session=True, close_fds=True
)
if os.fork() == 0:
    os.setsid()
    while True:
        pass
"""
EXIT = "import os\nos._exit(0)\n"


@dataclass(frozen=True)
class Attack:
    """name; an extra cell after the imports; answers in gaps; what it must lose; is metadata forged?"""

    name: str
    extra: str = ""
    replaced: tuple[tuple[str, str], ...] = ()
    loses: tuple[str, ...] = ()
    forged: bool = False


FREE, GRADIENT, TRAIN = "free_energy_gaussian", "gradient_gaussian", "train_gaussian"
ATTACKS = (
    Attack("objects that equal everything", "", ((FREE, EVERYTHING_EQUAL),), (FREE,)),
    Attack("patched assertions", PATCH, ((GRADIENT, WRONG_GRADIENT),), (GRADIENT,)),
    Attack("forged answers on every file descriptor", FORGE),
    Attack("an endless loop that catches everything", "", ((TRAIN, ENDLESS),), (TRAIN,)),
    Attack("a fork bomb", FORK_BOMB),
    Attack("memory filled", MEMORY),
    Attack("a table of the public answers", "", ((FREE, TABLE),), (FREE,)),
    Attack("points and tags forged", "", ((GRADIENT, WRONG_GRADIENT),), (GRADIENT,), True),
    Attack("processes that outlive their cell", DAEMON),
    Attack("Python ended in a cell", EXIT),
)
HARMLESS = (0, 1, 2, 3, 6, 7, 9)  # these can be tried without a sandbox


def hostile(assignment: Assignment, attack: Attack) -> samples.Sample:
    """The solved exercise with an attack in it."""
    points = samples.full_marks(assignment) | dict.fromkeys(attack.loses, 0.0)
    notebook = json.loads(samples.notebook(WEEK, assignment, dict(attack.replaced)))
    cells = notebook["cells"]
    if attack.extra:
        place = next(i for i, cell in enumerate(cells) if "import numpy" in "".join(cell["source"]))
        extra = {"cell_type": "code", "id": "extra", "metadata": {}, "source": attack.extra}
        cells.insert(place + 1, extra | {"execution_count": None, "outputs": []})
    for cell in cells if attack.forged else ():
        own = cell["metadata"].get("nbgrader", {})
        if own.get("grade"):
            own |= {"points": 1000, "locked": False}
            cell["metadata"]["tags"] = ["skip-execution", "raises-exception"]
            cell["source"] = "pass"
    return samples.Sample(f"hostile: {attack.name}", json.dumps(notebook).encode(), points)


def hostile_class(assignment: Assignment, n: int) -> Iterator[samples.Sample]:
    """n hostile submissions, all attacks in turn."""
    for i in range(n):
        yield hostile(assignment, ATTACKS[i % len(ATTACKS)])
