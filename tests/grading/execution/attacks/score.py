"""Attacks on the score: cheated tests, objects that lie, patched libraries (1, 2, 3, 5, 6, 13, 15, 16, 17)."""

from __future__ import annotations

from tests.grading.execution.attacks.book import ALL, LOOP, NONE, Book, Exercise, attack, hostile

# 1 · tags ------------------------------------------------------------------------------------------


@attack(1, NONE)
def skip_tags(e: Exercise) -> Book:
    """The tests carry the tag with which nbconvert skips a cell."""
    book = e.unsolved()
    for cell in book.of_kind("test"):
        cell["metadata"]["tags"] = ["skip-execution"]
    return book


@attack(1, NONE)
def raises_exception_tags(e: Exercise) -> Book:
    """Every cell may raise exceptions, says its tag; the tests are hidden and collapsed."""
    book = e.unsolved()
    for cell in book.cells:
        cell["metadata"] |= {"tags": ["raises-exception", "remove-cell", "nbval-skip"], "collapsed": True}
    return book


@attack(1, ALL)
def skip_tags_on_a_right_answer(e: Exercise) -> Book:
    """The same tags, on everything, where nothing needs to be hidden."""
    book = e.solved()
    for cell in book.cells:
        cell["metadata"]["tags"] = ["skip-execution", "raises-exception"]
    return book


@attack(1, NONE)
def tests_that_are_no_code(e: Exercise) -> Book:
    """The tests have become Markdown and raw cells, which nobody executes."""
    book = e.unsolved()
    for number, cell in enumerate(book.of_kind("test")):
        cell["cell_type"] = ("markdown", "raw")[number % 2]
        cell.pop("outputs"), cell.pop("execution_count")
    return book


# 2 · IPython rewrites the code -----------------------------------------------------------------------


@attack(2, NONE)
def strip_asserts(e: Exercise) -> Book:
    """An AST transformer takes every `assert` and every call of an assertion out of later cells."""
    return e.unsolved().fill(
        "0.0",
        """
        import ast

        class Strip(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.copy_location(ast.Pass(), node)

            def visit_Call(self, node):
                self.generic_visit(node)
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name.startswith(("assert_", "check_")):
                    return ast.copy_location(ast.Constant(None), node)
                return node

        get_ipython().ast_transformers.append(Strip())
        """,
    )


@attack(2, NONE)
def rewrite_cells(e: Exercise) -> Book:
    """An input transformer replaces each cell with a test by nothing."""
    return e.unsolved().fill(
        "0.0",
        """
        def nothing(lines):
            return ["pass\\n"] if any("stattests" in line or "check_" in line for line in lines) else lines

        get_ipython().input_transformers_cleanup.append(nothing)
        get_ipython().input_transformers_post.append(nothing)
        """,
    )


@attack(2, NONE)
def run_nothing(e: Exercise) -> Book:
    """IPython's own methods are replaced: cells are not run, and every one succeeds."""
    return e.unsolved().fill(
        "0.0",
        """
        from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

        class Fine:
            success, result, error_before_exec, error_in_exec = True, None, None, None

            def raise_error(self):
                pass

        for owner in (InteractiveShell, type(get_ipython())):
            owner.run_cell = owner.run_cell_async = owner.run_ast_nodes = owner.run_code = lambda *a, **k: Fine()
        ExecutionResult.success = True
        ExecutionResult.raise_error = lambda self: None
        """,
    )


@attack(2, NONE)
def optimised_compile(e: Exercise) -> Book:
    """`compile` leaves assertions out, as `python -O` does."""
    return e.unsolved().fill(
        "0.0",
        """
        import builtins
        original = builtins.compile

        def without(source, filename, mode, flags=0, dont_inherit=False, optimize=-1, **more):
            return original(source, filename, mode, flags, dont_inherit, 2, **more)

        builtins.compile = without
        get_ipython().compile.__class__.__call__ = lambda self, *a: without(*a)
        """,
    )


@attack(2, ALL)
def magics_on_right_answers(e: Exercise) -> Book:
    """Cell magics around right answers, which is nobody's fault."""
    book = e.solved()
    for magic, gap in zip(
        ["%%capture", "%%time", "%%capture out"], ["log_sum_exp", "draw", "train"], strict=True
    ):
        book.answer(gap, f"{magic}\n{book.cell(gap)['source']}")
    return book.first("%load_ext autoreload\n%autoreload 2").last("%reset -f")


@attack(2, NONE)
def magics_for_answers(e: Exercise) -> Book:
    """Magics that would run tests somewhere else, were they in this process."""
    return e.unsolved().fill(
        "0.0",
        """
        from IPython.core.magic import register_cell_magic, register_line_magic

        @register_cell_magic
        def elsewhere(line, cell):
            return None

        get_ipython().input_transformers_cleanup.append(lambda lines: ["%%elsewhere\\n", *lines])
        """,
    )


# 3 · objects that lie --------------------------------------------------------------------------------

EVERYTHING = """
class Everything:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self
    def __call__(self, *a, **k): return self
    def __eq__(self, other): return True
    def __ne__(self, other): return True
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    __hash__ = None
    def __add__(self, other=None): return self
    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
    __matmul__ = __rmatmul__ = __pow__ = __neg__ = __abs__ = __invert__ = __and__ = __rand__ = __add__
    def __getitem__(self, key): return self
    def __setitem__(self, key, value): pass
    def __bool__(self): return True
    def __len__(self): return 2
    def __iter__(self): return iter((self, self))
    def __float__(self): return 0.0
    def __int__(self): return 0
    __index__ = __int__
    def __round__(self, n=0): return self
"""


@attack(3, NONE)
def equals_everything(e: Exercise) -> Book:
    """Every answer is an object that equals everything, is smaller and larger than everything."""
    return e.unsolved().fill("Everything()", EVERYTHING)


@attack(3, NONE)
def equals_everything_as_array(e: Exercise) -> Book:
    """Arrays of a class of their own, for which every comparison is true."""
    yes = """
        import numpy as np

        class Yes(np.ndarray):
            def __array_ufunc__(self, ufunc, method, *inputs, **options):
                return np.True_
            def __array_function__(self, function, types, args, options):
                return np.True_
            def __array_wrap__(self, *a, **k):
                return np.True_
            def __eq__(self, other):
                return np.True_
            __le__ = __ge__ = __lt__ = __gt__ = __ne__ = __eq__
            def __abs__(self):
                return self
            def all(self, *a, **k):
                return True
            any = all

        def yes(*shape):
            return np.zeros(shape).view(Yes)
        """
    book = e.unsolved().first(yes)
    book.answer("log_sum_exp", "def log_sum_exp(x):\n    return yes(len(x))")
    book.answer("draw", "def draw(p, n, seed):\n    return yes(n, len(p))")
    book.answer("train", "def train(x, seed):\n    return yes(4, 1), yes(1, 4)")
    return book.answer("density", "mean = log_scale = yes(2)")


@attack(3, NONE)
def class_lies(e: Exercise) -> Book:
    """`__class__` says that it is an array, and everything that an array has is there."""
    return e.unsolved().fill(
        "Array()",
        EVERYTHING
        + """
import numpy as np

class Array(Everything):
    __class__ = property(lambda self: np.ndarray)
    shape, ndim, size, dtype = (), 0, 1, np.dtype(float)
    def __array__(self, *a, **k): return Everything()
    def __array_ufunc__(self, *a, **k): return True
    def __array_function__(self, *a, **k): return True
""",
    )


@attack(3, NONE)
def address_for_array(e: Exercise) -> Book:
    """An object whose array interface names an address of the grader's memory, and others of its kind."""
    return e.unsolved().fill(
        "Address()",
        """
        class Address:
            __array_interface__ = {"version": 3, "typestr": "<f8", "shape": (64,), "data": (4096, True)}
            __cuda_array_interface__ = __array_interface__
            __array_priority__ = 1e9
            @property
            def __array_struct__(self):
                return self.__array_interface__
            def __dlpack__(self, *a, **k):
                return None
            def __dlpack_device__(self):
                return (1, 0)
            def __buffer__(self, flags):
                return memoryview(b"x" * 64)
        """,
    )


@attack(3, NONE)
def reduce_runs_code(e: Exercise) -> Book:
    """An object that runs a command where it is unpickled or copied."""
    return e.unsolved().fill(
        "Bomb()",
        """
        import os

        class Bomb:
            def __reduce_ex__(self, protocol):
                return os.system, ("touch /tmp/lgm-hostile-reduce",)
            __reduce__ = lambda self: self.__reduce_ex__(2)
            def __getstate__(self): return {"x": self}
            def __copy__(self): return self
            def __deepcopy__(self, memory): return self
        """,
    )


@attack(3, NONE)
def lengths_lie(e: Exercise) -> Book:
    """Sequences that are two long, endless, or of negative length, as it suits."""
    return e.unsolved().fill(
        "answer()",
        """
        import itertools

        class Huge(tuple):
            def __len__(self): return 2**62

        class Negative(dict):
            def __len__(self): return -1
            def __bool__(self): return True

        class Raising(list):
            def __len__(self): raise KeyboardInterrupt
            def __iter__(self): raise GeneratorExit

        kinds = itertools.cycle([Huge((1, 2)), Negative(), Raising([1])])
        answer = lambda: next(kinds)
        """,
    )


@attack(3, ALL, "train", limits=LOOP, ends=("time", "memory"))
def endless_list(e: Exercise) -> Book:
    """A list whose iteration never ends."""
    return e.solved().answer(
        "train",
        """
        class Endless(list):
            def __iter__(self):
                while True:
                    yield 0

        def train(x, seed):
            return Endless([1])
        """,
    )


@attack(3, NONE)
def nested_without_end(e: Exercise) -> Book:
    """A list in a list in a list …, a list that holds itself, a dictionary that is its own value."""
    return e.unsolved().fill(
        "answer()",
        """
        import itertools

        deep = []
        for _ in range(100_000):
            deep = [deep]
        own = []
        own.append(own)
        loop = {}
        loop["x"] = (loop, own)
        kinds = itertools.cycle([deep, own, loop])
        answer = lambda: next(kinds)
        """,
    )


@attack(3, ALL, "train", limits={"cell_seconds": 3.0})
def array_of_terabytes(e: Exercise) -> Book:
    """Arrays of a million by a million numbers that need no memory here, since all strides are 0."""
    return e.solved().answer(
        "train",
        """
        def train(x, seed):
            return np.broadcast_to(0.0, (10**6, 10**6)), np.broadcast_to(0.0, (10**6, 10**6))
        """,
    )


@attack(3, NONE)
def odd_types(e: Exercise) -> Book:
    """Arrays of objects, records, dates, text, nothing; masked arrays; numbers of classes of their own."""
    return e.unsolved().fill(
        "answer()",
        EVERYTHING
        + """
import itertools, datetime, decimal, fractions
import numpy as np

class Float(float):
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda self, other: True
    __hash__ = float.__hash__
    __abs__ = __sub__ = __rsub__ = lambda self, *other: self

class Int(int):
    __eq__ = __le__ = __ge__ = lambda self, other: True
    __hash__ = int.__hash__

class Text(str):
    __eq__ = lambda self, other: True
    __hash__ = str.__hash__

record = np.zeros(2, [("a", "f8"), ("b", "O")])
odd = [
    np.array([None], object), record, np.zeros(2, "M8[s]"), np.zeros(2, "V8"), np.zeros(0), np.zeros((2, 0)),
    np.array(["x"]), np.array([b"x"]), np.zeros(2, complex), np.longdouble(1), np.float16(1), Float(0), Int(0),
    Text("x"), np.ma.masked_all(3), np.matrix([[1]]), decimal.Decimal(0), fractions.Fraction(1, 2), 10**5000,
    -(2**4000), datetime.datetime.now(), range(3), iter([1]), (x for x in [1]), memoryview(b"x"), bytearray(b"x"),
    lambda *a, **k: True, type, type(None), Ellipsis, NotImplemented, np, {1: {2: {3}}}, {(1, 2): [3]}, frozenset([1]),
]
kinds = itertools.cycle(odd)
answer = lambda: next(kinds)
""",
    )


@attack(3, NONE)
def not_a_number(e: Exercise) -> Book:
    """NaN, for which no comparison is true and none is false."""
    return e.unsolved().fill("float('nan')")


@attack(3, NONE)
def half_characters(e: Exercise) -> Book:
    """Text that no file can hold: half of a surrogate pair, zero bytes, escapes; as value, output and message."""
    return e.unsolved().fill(
        "odd()",
        r"""
        import itertools
        text = "\ud800 \x00 \x1b[2J \u202e \udfff" * 3
        print(text)

        class Odd(Exception):
            pass

        Odd.__name__ = Odd.__qualname__ = text
        turns = itertools.count()

        def odd():
            print(text)
            if next(turns) % 2:
                raise Odd(text)
            return [text, {text: text}]
        """,
    )


@attack(3, ALL)
def half_characters_in_outputs(e: Exercise) -> Book:
    """The same, printed, displayed and raised beside right answers."""
    return e.solved().middle(
        r"""
        from IPython.display import display
        text = "\ud800 \x00 \x1b[2J \u202e \udfff" * 3
        print(text)
        display({"text/html": text, "text/plain": text, text: text}, raw=True)
        raise type(text, (Exception,), {})(text)
        """
    )


def _raising(kinds: str) -> str:
    return f"""
import itertools, sys

class Quiet(BaseException):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__

class Passed(AssertionError):
    def __str__(self): return 5
    __traceback__ = property(lambda self: None)

kinds = itertools.cycle([{kinds}])

def leave():
    raise next(kinds)
"""


@attack(3, NONE)
def exceptions_that_leave(e: Exercise) -> Book:
    """Exceptions that end a program, or that a test runner takes for "skipped"."""
    kinds = "SystemExit(0), KeyboardInterrupt(), GeneratorExit(), StopIteration(1), Quiet(), sys.exit"
    return e.unsolved().fill("leave()", _raising(kinds))


@attack(3, NONE)
def exceptions_that_lie(e: Exercise) -> Book:
    """Exceptions whose message is none, is endless, or whose type needs other arguments."""
    kinds = (
        "Passed(), UnicodeDecodeError('x', b'x', 0, 1, 'x'), ExceptionGroup('x', [ValueError()]), "
        "ImportError('x', name='x', path='/'), OSError(2, 'x', '/etc/passwd'), SyntaxError('x', ('f', 1, 1, 'x')), "
        "KeyError(KeyError), type('x' * 10_000, (Exception,), {})('y' * 1_000_000), Warning(), StopAsyncIteration()"
    )
    return e.unsolved().fill("leave()", _raising(kinds))


# 5 · patched libraries -------------------------------------------------------------------------------


@attack(5, NONE)
def patched_assertions(e: Exercise) -> Book:
    """The assertions of utils and of numpy.testing do nothing."""
    return e.unsolved().fill(
        "np.zeros(2)",
        """
        import numpy as np
        import numpy.testing, sys, unittest
        from utils import stattests

        for module in (stattests, np.testing, unittest.TestCase):
            for name in dir(module):
                if name.startswith(("assert", "_numeric", "_finite")):
                    setattr(module, name, lambda *a, **k: np.zeros(2))
        """,
    )


@attack(5, NONE)
def patched_builtins(e: Exercise) -> Book:
    """abs, all, any, isinstance and others say what pleases; AssertionError is something else."""
    return e.unsolved().fill(
        "0.0",
        """
        import builtins

        builtins.all = builtins.any = lambda *a, **k: True
        builtins.abs = lambda value: 0
        builtins.AssertionError = type("Nothing", (), {})
        __builtins__ = {"isinstance": lambda *a: True}
        isinstance = len = abs = float = zip = enumerate = lambda *a, **k: True
        """,
    )


@attack(5, NONE)
def patched_numpy(e: Exercise) -> Book:
    """NumPy's comparisons are true, its generators start from 0, its files hold something else."""
    return e.unsolved().fill(
        "0.0",
        """
        import numpy as np

        yes = lambda *a, **k: np.True_
        for name in "allclose array_equal isclose isin isfinite all any less_equal greater_equal".split():
            setattr(np, name, yes)
        np.abs = np.mean = lambda *a, **k: np.zeros(1)
        np.random.default_rng = lambda *a, **k: np.random.Generator(np.random.PCG64(0))
        np.save = np.lib.format.write_array = lambda file, *a, **k: file.write(b"x" * 100)
        """,
    )


@attack(5, NONE)
def replaced_modules(e: Exercise) -> Book:
    """`utils` and NumPy's testing are other modules from now on, by sys.modules and by an import hook."""
    return e.unsolved().fill(
        "0.0",
        """
        import sys, types

        class Yes(types.ModuleType):
            def __getattr__(self, name):
                return lambda *a, **k: self

        fake = Yes("stattests")

        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name.startswith(("utils", "numpy.testing")):
                    sys.modules[name] = fake

        sys.meta_path.insert(0, Finder())
        for name in [name for name in sys.modules if name.startswith(("utils", "numpy.testing"))]:
            sys.modules[name] = fake
        stattests = fake
        """,
    )


@attack(5, NONE)
def edited_given_cells(e: Exercise) -> Book:
    """The instructor's own cells are edited: they now patch the assertions."""
    book = e.unsolved().fill("np.zeros(2)")
    for cell in book.of_kind("given"):
        cell["source"] += (
            "\nimport numpy as np\nfrom utils import stattests\n"
            "stattests.assert_close = stattests.assert_array = stattests.assert_mean = lambda *a, **k: np.zeros(2)\n"
            "stattests.grading_rng = lambda name: np.random.default_rng(0)\n"
        )
    return book


@attack(5, NONE)
def names_of_the_tests(e: Exercise) -> Book:
    """All names that the tests read or set are the student's: modules, helpers, data, even built-in names."""
    return (
        e.unsolved()
        .first(
            EVERYTHING
            + """
stattests = np = check_log_sum_exp = check_draw = check_train = check_density = check_momentum = Everything()
x_train = heights_train = centred_line = heights = half = rng = first = again = other = Everything()
isinstance = len = float = range = int = any = all = assert_close = AssertionError = Everything()
__builtins__ = Everything()
"""
        )
        .fill("Everything()")
    )


# 6 · hooks -------------------------------------------------------------------------------------------


@attack(6, NONE)
def no_tracebacks(e: Exercise) -> Book:
    """Exceptions are neither shown nor reported."""
    return e.unsolved().fill(
        "0.0",
        """
        import sys
        shell = get_ipython()
        shell.showtraceback = shell._showtraceback = shell.showsyntaxerror = lambda *a, **k: None
        type(shell).showtraceback = type(shell)._showtraceback = lambda *a, **k: None
        shell.set_custom_exc((BaseException,), lambda *a, **k: None)
        sys.excepthook = sys.unraisablehook = lambda *a: None

        def forget(result):
            result.error_in_exec = result.error_before_exec = None

        shell.events.register("post_run_cell", forget)
        """,
    )


@attack(6, NONE)
def cell_hooks(e: Exercise) -> Book:
    """Hooks before and after each cell patch, restore, and end the process in time."""
    return e.unsolved().fill(
        "0.0",
        """
        import os
        shell = get_ipython()

        def before(*info):
            shell.user_ns["AssertionError"] = type("Fine", (Exception,), {})
            for name in list(shell.user_ns):
                if name.startswith("check_"):
                    shell.user_ns[name] = lambda *a, **k: None

        for event in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell"):
            shell.events.register(event, before)
        """,
    )


@attack(6, NONE)
def tracing(e: Exercise) -> Book:
    """A tracing function that changes what the grader's half of this process returns."""
    return e.unsolved().fill(
        "0.0",
        """
        import sys, threading

        def trace(frame, event, argument):
            for name in ("error", "expected", "exact", "answer"):
                if name in frame.f_locals and isinstance(frame.f_locals[name], dict):
                    frame.f_locals[name].pop("error", None)
                    frame.f_locals[name]["value"] = True
            return trace

        sys.settrace(trace)
        sys.setprofile(lambda *a: None)
        threading.settrace(trace)
        """,
    )


@attack(6, NONE)
def audit_hook(e: Exercise) -> Book:
    """An audit hook, which nobody can remove, stops everything that opens, compiles or connects."""
    return (
        e.unsolved()
        .last("print('still here')")
        .first(
            """
        import sys

        def hook(event, arguments):
            if event.startswith(("socket", "open", "compile", "exec", "import", "os.", "signal")):
                raise SystemExit(0)

        sys.addaudithook(hook)
        """
        )
    )


@attack(6, NONE)
def namespace_lies(e: Exercise) -> Book:
    """The namespace of the cells has every name, and each is an object that equals everything."""
    return e.unsolved().first(
        EVERYTHING
        + """
class Names(dict):
    def __contains__(self, name): return True
    def __missing__(self, name): return Everything()
    def get(self, name, default=None): return Everything()

shell = get_ipython()
shell.user_ns = Names(shell.user_ns)
type(shell).user_global_ns = property(lambda self: self.user_ns)
"""
    )


@attack(6, ALL)
def displays_that_raise(e: Exercise) -> Book:
    """Objects that raise, exit or lie where they are displayed; a question to the keyboard; a debugger."""
    return e.solved().middle(
        """
        from IPython.display import display

        class Bad:
            def __repr__(self): raise SystemExit(3)
            def _repr_html_(self): raise KeyboardInterrupt
            def _repr_png_(self): return 5
            def _repr_mimebundle_(self, *a, **k): return {5: {6}, None: b"x"}, 7
            def _ipython_display_(self): raise GeneratorExit

        try:
            display(Bad())
        except BaseException:
            pass
        try:
            input("password? ")
        except BaseException:
            pass
        breakpoint()
        Bad()
        """
    )


# 13 · recognising the tests --------------------------------------------------------------------------


@attack(13, NONE)
def look_at_the_caller(e: Exercise) -> Book:
    """The answer is looked up in the frames of whoever calls."""
    return e.unsolved().answer(
        "log_sum_exp",
        """
        import sys

        def log_sum_exp(x):
            frame = sys._getframe(1)
            while frame is not None:
                for names in (frame.f_locals, frame.f_globals):
                    for name in ("exact", "expected", "right", "target"):
                        if name in names:
                            return names[name]
                frame = frame.f_back
            return np.zeros(len(x))
        """,
    )


@attack(13, NONE)
def look_everywhere(e: Exercise) -> Book:
    """Every array in this process's memory that has the right shape is a candidate; so is every file of a frame."""
    return e.unsolved().answer(
        "log_sum_exp",
        """
        import gc, inspect, sys

        def log_sum_exp(x):
            files = {info.filename for info in inspect.stack()}
            print(sorted(files))
            for thing in gc.get_objects():
                for value in gc.get_referents(thing):
                    if type(value) is np.ndarray and value.shape == (len(x),) and value.dtype == float:
                        return value
            return np.zeros(len(x))
        """,
    )


@attack(13, NONE)
def count_the_calls(e: Exercise) -> Book:
    """Right for the two calls of the visible test, guessed from then on."""
    right = e.solved().cell("log_sum_exp")["source"].replace("def log_sum_exp", "def right")
    return e.unsolved().answer(
        "log_sum_exp",
        right
        + """
calls = 0

def log_sum_exp(x):
    global calls
    calls += 1
    return right(x) if calls <= 2 else x.max(axis=1)
""",
    )


@attack(13, NONE)
def leave_the_hidden_test(e: Exercise) -> Book:
    """Right for the visible test; the hidden one is left by ending the process with status 0."""
    right = e.solved().cell("log_sum_exp")["source"].replace("def log_sum_exp", "def right")
    return e.unsolved().answer(
        "log_sum_exp",
        right
        + """
import os
calls = 0

def log_sum_exp(x):
    global calls
    calls += 1
    return right(x) if calls <= 2 else os._exit(0)
""",
    )


@attack(13, NONE, limits=LOOP, ends=("time",))
def sleep_through_the_hidden_test(e: Exercise) -> Book:
    """Right for the visible test; the hidden one shall run out of time and be forgotten."""
    right = e.solved().cell("log_sum_exp")["source"].replace("def log_sum_exp", "def right")
    return e.unsolved().answer(
        "log_sum_exp",
        right
        + """
import time
calls = 0

def log_sum_exp(x):
    global calls
    calls += 1
    return right(x) if calls <= 2 else time.sleep(3600)
""",
    )


@attack(13, NONE)
def recognise_by_time(e: Exercise) -> Book:
    """The hidden test's calls come late after the others, or with another stack: then something else is returned."""
    return e.unsolved().answer(
        "draw",
        """
        import inspect, time
        last = time.monotonic()

        def draw(p, n, seed):
            global last
            gap, last = time.monotonic() - last, time.monotonic()
            if gap > 0.01 or len(inspect.stack()) > 12 or seed > 1000:
                raise KeyboardInterrupt
            return (np.random.default_rng(seed).random((n, len(p))) < 0.5).astype(float)
        """,
    )


@attack(13, NONE)
def change_the_question(e: Exercise) -> Book:
    """The arguments are changed in place to a question with an easy answer, and earlier answers after the fact."""
    book = e.unsolved()
    book.answer(
        "log_sum_exp",
        """
        given = []

        def log_sum_exp(x):
            for old in given:
                old[...] = 0
            x[...] = 0
            given.append(np.full(len(x), np.log(x.shape[1])))
            return given[-1]
        """,
    )
    return book.answer(
        "draw",
        """
        def draw(p, n, seed):
            p[...] = 0
            return np.zeros((n, len(p)))
        """,
    )


# 15 · models that lie --------------------------------------------------------------------------------


@attack(15, NONE)
def colluding_pair(e: Exercise) -> Book:
    """The encoder hands the points to the decoder behind everybody's back."""
    return e.unsolved().answer(
        "train",
        """
        class Encoder(np.ndarray):
            def __rmatmul__(self, x):
                Encoder.seen = np.asarray(x)
                return np.zeros((len(x), 1)).view(Code)
            __array_ufunc__ = None

        class Code(np.ndarray):
            __array_ufunc__ = None
            def __matmul__(self, other):
                return Encoder.seen

        class Decoder(Encoder):
            def __rmatmul__(self, z):
                return Encoder.seen

        def train(x, seed):
            return np.zeros((4, 1)).view(Encoder), np.zeros((1, 4)).view(Decoder)
        """,
    )


@attack(15, NONE)
def code_as_large_as_the_data(e: Exercise) -> Book:
    """No bottleneck: the identity for encoder and decoder."""
    return e.unsolved().answer("train", "def train(x, seed):\n    return np.eye(4), np.eye(4)")


@attack(15, NONE)
def functions_for_parameters(e: Exercise) -> Book:
    """An object with the methods of an array whose product is always what it should be."""
    return e.unsolved().answer(
        "train",
        EVERYTHING
        + """
class Model(Everything):
    shape, ndim, dtype = (4, 1), 2, np.dtype(float)
    def log_prob(self, x): return 0.0
    def numpy(self): return np.zeros((4, 1)).view(np.ndarray)
    def __array__(self, *a, **k): return np.zeros((4, 1))

def train(x, seed):
    return Model(), Model()
""",
    )


@attack(15, NONE)
def constant_log_prob(e: Exercise) -> Book:
    """A density whose logarithm is 0 everywhere, as object and as parameters."""
    return e.unsolved().answer(
        "density",
        EVERYTHING
        + """
class Density(Everything):
    def log_prob(self, x): return np.zeros(len(x))
    def __array_ufunc__(self, *a, **k): return np.zeros(())

mean = log_scale = Density()
""",
    )


@attack(15, NONE)
def infinite_likelihood(e: Exercise) -> Book:
    """A scale of 0 on the mean: the likelihood of a point is infinite, of others not a number."""
    return e.unsolved().answer(
        "density", "mean = heights_train.mean(axis=0)\nlog_scale = np.array([-1e308, -1e308])"
    )


@attack(15, NONE)
def parameters_for_the_training_points(e: Exercise) -> Book:
    """Parameters for each training point instead of one set for all."""
    return e.unsolved().answer(
        "density", "mean = heights_train.copy()\nlog_scale = np.full((2000, 2), -20.0)"
    )


# 16 · tables of answers ------------------------------------------------------------------------------


@attack(16, NONE)
def table_of_visible_answers(e: Exercise) -> Book:
    """The answers to the visible tests, looked up by the question; nothing else is answered."""
    book = e.unsolved()
    book.answer(
        "log_sum_exp",
        """
        table = {}
        for seed, B, n in [(0, 3, 5), (1, 1, 2)]:
            x = np.random.default_rng(seed).normal(size=(B, n))
            table[x.tobytes()] = np.log(np.exp(x).sum(axis=1))

        def log_sum_exp(x):
            return table.get(x.tobytes(), np.zeros(len(x)))
        """,
    )
    return book.answer(
        "draw",
        """
        def draw(p, n, seed):
            known = {1: [0.5, 0.1, 0.8], 5: [0.5] * 64, 6: [0.5] * 64}
            return (np.random.default_rng(seed).random((n, len(p))) < known.get(seed, [0.5] * len(p))) * 1.0
        """,
    )


@attack(16, NONE)
def table_for_the_default_seed(e: Exercise) -> Book:
    """The hidden inputs as they are drawn where no secret seed is set, which everybody can read in `utils`."""
    return e.unsolved().answer(
        "log_sum_exp",
        """
        import os
        os.environ["LGM_GRADING_SEED"] = "0"
        table = {}
        for rng, questions in [
            (np.random.default_rng(0), [(3, 5, 0)]),
            (np.random.default_rng(1), [(1, 2, 0)]),
            (stattests.grading_rng("log_sum_exp"), [(7, 2, 0), (2, 9, 0), (4, 3, 1000)]),
        ]:
            for B, n, shift in questions:
                x = shift + rng.normal(size=(B, n))
                table[x.tobytes()] = shift + np.log(np.exp(x - shift).sum(axis=1))

        def log_sum_exp(x):
            return table[x.tobytes()]
        """,
    )


# 17 · after the test ---------------------------------------------------------------------------------


@attack(17, ALL, "log_sum_exp", "density")
def right_after_the_test(e: Exercise) -> Book:
    """Wrong when the test runs, right later."""
    book = e.solved()
    right = {gap: book.cell(gap)["source"] for gap in ("log_sum_exp", "density")}
    book.answer("log_sum_exp", "def log_sum_exp(x):\n    return x.max(axis=1)")
    book.answer("density", "mean = log_scale = np.zeros(2)")
    for gap, source in right.items():
        book.after(f"test_{gap}", source)
    return book


@attack(17, ALL)
def wrong_after_the_test(e: Exercise) -> Book:
    """Right when the test runs, broken later: names, modules, the instructor's helpers."""
    book = e.solved()
    book.after("test_log_sum_exp", "def log_sum_exp(x):\n    return None")
    book.after("test_draw", "del draw\ndel log_sum_exp")
    book.after("test_density", "mean = log_scale = None")
    return book.last("np = stattests = x_train = heights = centred_line = train = Momentum = None")


@attack(17, NONE)
def answers_of_the_future(e: Exercise) -> Book:
    """The gap waits for a later cell, through a global name, an object and a thread that sets it."""
    right = e.solved().cell("log_sum_exp")["source"].replace("def log_sum_exp", "def later")
    book = e.unsolved().answer(
        "log_sum_exp",
        """
        import threading, time

        def log_sum_exp(x):
            return later(x)

        def wait():
            while "later" not in globals():
                time.sleep(0.001)
            globals()["log_sum_exp"] = later

        threading.Thread(target=wait, daemon=True).start()
        """,
    )
    return book.after("test_log_sum_exp", right)


@attack(17, NONE)
def a_thread_corrects_values(e: Exercise) -> Book:
    """Wrong values are handed over; a thread puts right ones in their place once the test has asked."""
    return e.unsolved().answer(
        "density",
        hostile(
            """
            import sys, threading, time
            mean, log_scale = np.zeros(2), np.zeros(2)

            def correct():
                main = threading.main_thread().ident
                while "npy" not in (frame := sys._current_frames()[main]).f_code.co_name:
                    time.sleep(0.0005)
                log_scale[...] = np.log([0.5, 2.0])

            threading.Thread(target=correct, daemon=True).start()
            """
        ),
    )
