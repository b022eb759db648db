"""Answers that set their arguments to 0 in place: a test must notice. `check` puts this after a gap.

Before the answer is computed, they are right about zeros; after it, right, but they leave nothing of what the
test handed over. A test that goes on with its own arrays after the call lets the first pass, one that never
looks at them again the second. An answer that takes long, since it trains, is computed once and given again.
"""

import functools
import inspect
import signal

import numpy as np

SPOILT = "the arguments were spoilt"

SECONDS = 5.0  # of processor time for a test whose answer spoils: with zeros a loop may never end


def _never_ends(*_):
    raise TimeoutError(f"took longer than {SECONDS:.0f} s of processor time")


class Untouched(Exception):
    """The test hands no array to one of these arguments."""


class Spoiler:
    """Wraps the functions `names` of a namespace.

    keep: the n-th call of a function after a start gets the answer of its n-th call ever.
    """

    def __init__(self, names, namespace, keep=False):
        self.arrays, self.chosen, self.late, self.undo = set(), (), False, []
        self.keep, self.calls = keep, {}
        for name in names:
            thing = namespace.get(name)
            if isinstance(thing, type):
                for method, function in list(vars(thing).items()):
                    if inspect.isfunction(function):
                        setattr(thing, method, self.wrap(function))
            elif callable(thing):
                namespace[name] = self.wrap(thing)

    def start(self, chosen, late=False):
        """From now on these arguments are spoilt; what was spoilt before is put back."""
        for thing, value in self.undo[::-1]:
            _put(thing, value)
        self.undo, self.chosen, self.late, self.calls = [], chosen, late, {}
        signal.signal(signal.SIGPROF, _never_ends)
        signal.setitimer(signal.ITIMER_PROF, 0 if self.keep else SECONDS)
        if not self.arrays.issuperset(chosen):
            raise Untouched

    def wrap(self, function):
        signature = inspect.signature(function)
        answers: list = []

        @functools.wraps(function)
        def spoilt(*arguments, **options):
            given = signature.bind(*arguments, **options).arguments
            found = {name: list(_arrays(value, self.late)) for name, value in given.items()}
            self.arrays |= {name for name, arrays in found.items() if arrays}
            if not self.late:
                self.spoil(found)
            call = self.calls[spoilt] = self.calls.get(spoilt, -1) + 1
            result = answers[call] if call < len(answers) else function(*arguments, **options)
            if self.keep and call == len(answers):
                answers.append(_apart(result))
            if self.late:
                result = _apart(result)
                self.spoil(found)
            return result

        return spoilt

    def spoil(self, found):
        for name, arrays in found.items():
            for thing in arrays if name in self.chosen or self.chosen == "all" else ():
                self.undo.append((thing, np.array(thing)))
                _put(thing, np.zeros_like(thing))
                print(SPOILT)


def _arrays(value, only_numpy):
    """Arrays and variables in an argument that are not 0 already."""
    if isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _arrays(part, only_numpy)
    elif isinstance(value, np.ndarray):
        if value.flags.writeable and value.any():
            yield value
    elif hasattr(value, "assign") and not only_numpy and np.any(value):
        yield value


def _put(thing, value):
    if isinstance(thing, np.ndarray):
        thing[...] = value
    else:
        thing.assign(value)


def _apart(result):
    """The result, sharing no memory with an argument."""
    if isinstance(result, list | tuple):
        return type(result)(_apart(part) for part in result)
    return result.copy() if isinstance(result, np.ndarray) else result
