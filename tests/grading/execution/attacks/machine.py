"""Attacks on the grader's time and machine: early ends, endless ends, floods, what outlives its cell (9, 10, 12)."""

from __future__ import annotations

from tests.grading.execution.attacks.book import ALL, LOOP, NONE, Book, Exercise, attack, hostile

# 9 · early ends --------------------------------------------------------------------------------------


@attack(9, ALL)
def exit_in_a_cell(e: Exercise) -> Book:
    """sys.exit, exit(), quit() and ask_exit in cells between right answers."""
    book = e.solved().middle("import sys\nsys.exit(0)").middle("exit()").middle("quit(keep_kernel=False)")
    return book.middle("get_ipython().ask_exit()\nraise SystemExit(0)").middle("raise KeyboardInterrupt")


@attack(9, ALL)
def process_ends_in_a_cell(e: Exercise) -> Book:
    """os._exit with status 0."""
    return e.solved().middle("import os\nos._exit(0)")


@attack(9, ALL, "log_sum_exp")
def process_ends_in_an_answer(e: Exercise) -> Book:
    """os._exit as soon as a test calls."""
    return e.solved().answer("log_sum_exp", "import os\n\ndef log_sum_exp(x):\n    os._exit(0)")


@attack(9, NONE)
def process_ends_everywhere(e: Exercise) -> Book:
    """Every answer ends the process."""
    return e.unsolved().fill("leave()", "import os\n\ndef leave():\n    os._exit(0)")


@attack(9, ALL, "density", "momentum")
def more_deaths_than_allowed(e: Exercise) -> Book:
    """The process ends before each gap; after the third new start there is no further one."""
    book = e.solved()
    for gap in ("log_sum_exp", "draw", "train", "density", "momentum"):
        book.before(gap, "import os\nos._exit(1)")
    return book


@attack(9, ALL)
def kill_itself(e: Exercise) -> Book:
    """SIGKILL, then a fault of memory, then an abort."""
    book = e.solved().middle("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    return book.middle("import ctypes\nctypes.string_at(0)").last("import os\nos.abort()")


@attack(9, ALL)
def kill_the_parents(e: Exercise) -> Book:
    """SIGKILL to the parent, to its parents, to the process group, to every process that there is."""
    return e.solved().middle(
        """
        import os, signal

        for pid in [os.getppid(), 1, *range(2, 200)]:
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        for kill in (lambda: os.killpg(os.getpgrp(), 9), lambda: os.kill(-1, 9)):
            try:
                kill()
            except OSError:
                pass
        """
    )


@attack(9, ALL)
def kill_the_grader(e: Exercise) -> Book:
    """Signals to every process in /proc, stops and ends, and a request that the parent's death kill this one."""
    return e.solved().middle(
        hostile(
            """
            import os, signal

            others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
            for pid in others:
                for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
                    try:
                        os.kill(pid, number)
                    except OSError:
                        pass
                try:
                    os.setpriority(os.PRIO_PROCESS, pid, 19)
                    os.sched_setaffinity(pid, {0})
                except OSError:
                    pass
            """
        )
    )


@attack(9, ALL)
def close_everything(e: Exercise) -> Book:
    """All file descriptors are closed, the grader's connection too."""
    return e.solved().middle("import os\nos.closerange(0, 4096)")


@attack(9, ALL, "draw")
def close_everything_in_an_answer(e: Exercise) -> Book:
    """The same, as soon as a test calls."""
    return e.solved().answer("draw", "import os\n\ndef draw(p, n, seed):\n    os.closerange(0, 4096)")


@attack(9, ALL, limits=LOOP)
def replace_descriptors(e: Exercise) -> Book:
    """Every file descriptor becomes a pipe that nobody reads."""
    return e.solved().middle(
        """
        import os
        reading, writing = os.pipe()
        for fd in range(3, 64):
            if fd not in (reading, writing):
                try:
                    os.fstat(fd)
                    os.dup2(writing, fd)
                except OSError:
                    pass
        """
    )


@attack(9, ALL)
def stop_the_loop(e: Exercise) -> Book:
    """The event loop is stopped, closed and replaced; top-level await of something that never comes is cancelled."""
    book = e.solved().middle(
        """
        import asyncio
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            loop = asyncio.new_event_loop()
        loop.stop()
        loop.close()
        asyncio.set_event_loop(None)
        asyncio.set_event_loop_policy(None)
        asyncio.run = asyncio.new_event_loop = None
        """
    )
    return book.first(
        "import asyncio\nawait asyncio.sleep(0)\nasyncio.current_task().cancel()\nawait asyncio.sleep(0)"
    )


@attack(9, ALL, limits=LOOP)
def become_another_program(e: Exercise) -> Book:
    """The process becomes `sleep`."""
    return e.solved().middle("import os\nos.execv('/bin/sleep', ['lgm-hostile', '3600'])")


@attack(9, ALL, limits=LOOP)
def two_of_a_kind(e: Exercise) -> Book:
    """The process is forked, and both halves go on answering the grader."""
    return e.solved().middle(hostile("import os\nos.fork()"))


@attack(9, ALL, limits=LOOP, ends=("time",))
def stop_itself(e: Exercise) -> Book:
    """SIGSTOP: alive, and never heard of again."""
    return e.solved().middle("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")


@attack(9, ALL, limits=LOOP, ends=("time",))
def deaf_to_signals(e: Exercise) -> Book:
    """All signals are blocked and ignored, timers are off, and then a loop."""
    return e.solved().middle(
        """
        import signal
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            pass
        """
    )


# 10 · endless, and too much --------------------------------------------------------------------------


@attack(10, ALL, limits=LOOP, ends=("time",))
def endless_loop(e: Exercise) -> Book:
    """A loop without end."""
    return e.solved().middle("while True:\n    pass")


@attack(10, ALL, "draw", limits=LOOP, ends=("time",))
def endless_answer(e: Exercise) -> Book:
    """A loop without end in an answer."""
    return e.solved().answer("draw", "def draw(p, n, seed):\n    while True:\n        pass")


@attack(10, ALL, "draw", limits=LOOP, ends=("time",))
def endless_answer_that_catches_everything(e: Exercise) -> Book:
    """… in an answer, which catches BaseException."""
    return e.solved().answer(
        "draw",
        """
        def draw(p, n, seed):
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass
        """,
    )


@attack(10, ALL, "draw", limits=LOOP, ends=("time",))
def slow_answers(e: Exercise) -> Book:
    """Each call takes less than the limit; all seven take more."""
    busy = "end = time.process_time() + 0.7\n    while time.process_time() < end: pass\n    return ("
    right = e.solved().cell("draw")["source"].replace("return (", busy)
    return e.solved().answer("draw", "import time\n\n" + right)


@attack(10, ALL, limits={"clock": 1.0}, ends=("time",))
def sleep_for_ever(e: Exercise) -> Book:
    """A sleep of an hour."""
    return e.solved().middle("import time\ntime.sleep(3600)")


@attack(10, ALL, "train", "density", "momentum", limits={"cell_seconds": 3.0, "notebook_seconds": 5.0})
def many_slow_cells(e: Exercise) -> Book:
    """Cells that stay within their limit, but not within that of the notebook."""
    book = e.solved()
    for _ in range(6):
        book.before(
            "train", "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass"
        )
    return book


@attack(10, ALL, limits=LOOP, ends=("time",))
def loop_in_c(e: Exercise) -> Book:
    """A sum without end, during which Python looks at no signal and lets no other thread run."""
    return e.solved().middle("import itertools\nsum(itertools.repeat(0))")


@attack(10, ALL, "log_sum_exp", limits=LOOP, ends=("time",))
def regular_expression(e: Exercise) -> Book:
    """A regular expression that needs longer than the age of the universe."""
    return e.solved().answer(
        "log_sum_exp", "import re\n\ndef log_sum_exp(x):\n    return re.match('(a+)+$', 'a' * 64 + 'b')"
    )


@attack(10, ALL, limits={"cell_seconds": 3.0}, ends=("processes", "time", "memory"))
def fork_bomb(e: Exercise) -> Book:
    """Processes that start processes."""
    return e.solved().middle(
        hostile(
            """
            import os
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
            """
        )
    )


@attack(10, ALL, limits={"cell_seconds": 3.0}, ends=("processes", "time", "memory"))
def thread_bomb(e: Exercise) -> Book:
    """Threads without end."""
    return e.solved().middle(
        hostile(
            """
            import threading, time
            while True:
                try:
                    threading.Thread(target=time.sleep, args=(3600,)).start()
                except RuntimeError:
                    pass
            """
        )
    )


@attack(10, ALL, limits={"cell_seconds": 10.0}, ends=("memory",))
def fill_the_memory(e: Exercise) -> Book:
    """Lists that grow; MemoryError is caught."""
    return e.solved().middle(
        """
        kept = []
        while True:
            try:
                kept.append(b"x" * 2**24)
            except MemoryError:
                pass
        """
    )


@attack(10, ALL, "draw", limits={"cell_seconds": 10.0}, ends=("memory",))
def fill_the_memory_in_an_answer(e: Exercise) -> Book:
    """The same as soon as a test calls."""
    return e.solved().answer(
        "draw",
        """
        def draw(p, n, seed):
            kept = []
            while True:
                kept.append(np.ones(2**21))
        """,
    )


@attack(10, ALL, limits={"cell_seconds": 10.0}, ends=("memory",))
def fill_the_memory_together(e: Exercise) -> Book:
    """Ten processes, each with a share that would be allowed to one."""
    return e.solved().middle(
        hostile(
            """
            import os, time
            for _ in range(10):
                if os.fork() == 0:
                    block = bytearray(b"x" * (100 * 2**20))
                    time.sleep(3600)
            time.sleep(3600)
            """
        )
    )


@attack(10, ALL, limits={"cell_seconds": 10.0})
def fill_shared_memory(e: Exercise) -> Book:
    """Memory that belongs to no process: /dev/shm, memfd, System V segments, pipes."""
    return e.solved().middle(
        hostile(
            """
            import ctypes, os
            block = b"x" * 2**20
            try:
                with open("/dev/shm/lgm-hostile", "wb") as file:
                    for _ in range(4000):
                        file.write(block)
                breach("4 GB in /dev/shm")
            except OSError:
                pass
            libc = ctypes.CDLL(None)
            for key in range(64):
                number = libc.shmget(0x6C676D00 + key, 2**24, 0o1666)
            try:
                for _ in range(64):
                    fd = os.memfd_create("lgm-hostile")
                    for _ in range(64):
                        os.write(fd, block)
                breach("4 GB in memfd")
            except OSError:
                pass
            """
        )
    )


@attack(10, ALL, limits={"cell_seconds": 10.0})
def fill_the_disk(e: Exercise) -> Book:
    """A file that grows wherever a file can be made; then files without content."""
    return e.solved().middle(
        hostile(
            """
            import os
            block = b"x" * 2**20
            for folder in (".", "/tmp", "/var/tmp", "/dev", "/run", "/"):
                written = 0
                try:
                    with open(os.path.join(folder, "lgm-hostile"), "wb") as file:
                        for _ in range(300):
                            written += file.write(block)
                except OSError:
                    pass
                if written > 128 * 2**20:
                    breach(folder, written)
                try:
                    for number in range(20_000):
                        open(os.path.join(folder, f"lgm-hostile-{number}"), "w").close()
                except OSError:
                    pass
            """
        )
    )


@attack(10, ALL, limits=LOOP, ends=("time", "output"))
def endless_printing(e: Exercise) -> Book:
    """Printing without end."""
    return e.solved().middle("while True:\n    print('x' * 1000)")


@attack(10, ALL, limits={"cell_seconds": 4.0})
def output_past_python(e: Exercise) -> Book:
    """500 MB on file descriptor 1, then on 2, past Python."""
    return e.solved().middle(
        """
        import os
        for fd in (1, 2):
            try:
                for _ in range(250):
                    os.write(fd, b"x" * 2**20)
            except OSError:
                pass
        """
    )


@attack(10, ALL, limits={"cell_seconds": 2.0})
def output_of_another_program(e: Exercise) -> Book:
    """`yes` prints until something stops it."""
    return e.solved().middle("!yes lgm-hostile").middle("import os\nos.system('yes lgm-hostile >&2')")


@attack(10, ALL, limits={"cell_seconds": 10.0})
def half_a_gigabyte_at_once(e: Exercise) -> Book:
    """One print and one result of 500 MB each."""
    book = e.solved().middle("print('x' * 500_000_000)")
    return book.middle("'x' * 500_000_000").middle("raise ValueError('x' * 100_000_000)")


@attack(10, ALL, limits={"cell_seconds": 3.0})
def figures_without_end(e: Exercise) -> Book:
    """Figures, one after another."""
    return e.solved().middle(
        """
        import matplotlib.pyplot as plt
        for number in range(10**6):
            plt.figure(figsize=(2, 2))
            plt.plot([1, 2])
            plt.show()
        """
    )


@attack(10, ALL)
def displays_by_the_thousand(e: Exercise) -> Book:
    """10,000 displays, and one of 20 MB, and a result with as many kinds of content."""
    return e.solved().middle(
        """
        from IPython.display import display
        for number in range(10_000):
            display({"text/html": f"<b>{number}</b>", "text/plain": "x"}, raw=True)
        display({"text/html": "<i>" * 7_000_000}, raw=True)
        display({f"text/x-{number}": "x" * 1000 for number in range(10_000)}, raw=True)
        """
    )


@attack(10, ALL, "log_sum_exp")
def large_answer(e: Exercise) -> Book:
    """An answer of a million numbers in lists."""
    return e.solved().answer(
        "log_sum_exp", "def log_sum_exp(x):\n    return [[float(i)] for i in range(1_000_000)]"
    )


@attack(10, ALL, "train", limits={"message": 2**20}, ends=("message",))
def large_arrays(e: Exercise) -> Book:
    """An answer of 80 MB."""
    return e.solved().answer("train", "def train(x, seed):\n    return np.ones(10**7), np.ones(10**7)")


@attack(10, ALL, "train")
def text_that_grows(e: Exercise) -> Book:
    """A list of one long and many short texts, of which NumPy makes an array of 3 GB in whoever converts it."""
    return e.solved().answer(
        "train", "def train(x, seed):\n    return ['x' * 40_000] + ['y'] * 20_000, [0.0]"
    )


@attack(10, ALL, "train")
def numbers_that_collide(e: Exercise) -> Book:
    """A set of integers with one and the same hash, which takes whoever builds it long."""
    return e.solved().answer(
        "train",
        """
        class Answer:
            pass

        def train(x, seed):
            return {"W": frozenset(), "V": Colliding(i * (2**61 - 1) for i in range(1, 100_000))}

        class Colliding(set):
            def __init__(self, items):
                self.items = list(items)
            def __iter__(self):
                return iter(self.items)
            def __len__(self):
                return len(self.items)
        """,
    )


@attack(10, ALL, limits={"cell_seconds": 3.0})
def deep_recursion(e: Exercise) -> Book:
    """A function that calls itself, and the long traceback that comes of it; one that shows itself."""
    book = e.solved().middle("def again(n):\n    return again(n + 1)\n\nagain(0)")
    return book.middle("class Me:\n    def __repr__(self):\n        return repr(self)\n\nMe()")


@attack(10, ALL)
def one_long_line(e: Exercise) -> Book:
    """Source code that is heavy to parse, colour and show: a line of 2 MB, brackets, 10,000 nested minus signs."""
    book = e.solved().middle("x = '" + "y" * 2_000_000 + "'\nraise ValueError(x)")
    return book.middle("(" * 5000 + ")" * 5000).middle("-" * 100_000 + "1")


# 12 · what outlives its cell -------------------------------------------------------------------------


@attack(12, ALL)
def threads_that_stay(e: Exercise) -> Book:
    """Threads that never end, daemons and others, one of them busy, one of them printing into later cells."""
    return e.solved().first(
        hostile(
            """
            import threading, time

            def busy():
                while True:
                    sum(range(1000))

            def chat():
                while True:
                    print("still here " * 100)
                    time.sleep(0.001)

            threading.Thread(target=busy, daemon=True).start()
            threading.Thread(target=chat, daemon=False).start()
            threading.Timer(3600, print).start()
            """
        )
    )


@attack(12, ALL)
def processes_that_stay(e: Exercise) -> Book:
    """Children, children of children in sessions of their own, shells in the background."""
    return e.solved().first(
        hostile(
            """
            import os, signal, subprocess, time

            subprocess.Popen(["sleep", "3601.125"], start_new_session=True)
            os.system("nohup sh -c 'trap \\"\\" TERM HUP INT; while :; do sleep 0.625; done' >/dev/null 2>&1 &")
            for _ in range(2):
                if os.fork() == 0:
                    os.setsid()
                    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
                        signal.signal(number, signal.SIG_IGN)
                    if os.fork() == 0:
                        os.closerange(0, 256)
                        time.sleep(3600)
                    os._exit(0)
            """
        )
    )


@attack(12, ALL)
def pools_that_stay(e: Exercise) -> Book:
    """Executors and pools that nobody shuts down."""
    return e.solved().first(
        hostile(
            """
            import time
            from concurrent.futures import ThreadPoolExecutor
            from multiprocessing import get_context
            pool = get_context("fork").Pool(2)
            pool.map_async(time.sleep, [3600, 3600])
            executor = ThreadPoolExecutor(2)
            futures = [executor.submit(time.sleep, 3600) for _ in range(2)]
            """
        )
    )


@attack(12, ALL)
def last_words(e: Exercise) -> Book:
    """What runs when a process ends: atexit, finalizers, threads that wait for it, none of which ever returns."""
    return e.solved().first(
        hostile(
            """
            import atexit, threading, time, weakref

            def never():
                while True:
                    try:
                        time.sleep(3600)
                    except BaseException:
                        pass

            class Kept:
                def __del__(self):
                    never()

            kept = Kept()
            weakref.finalize(kept, never)
            atexit.register(never)
            threading._register_atexit(never)
            """
        )
    )


@attack(12, NONE)
def answers_from_a_child(e: Exercise) -> Book:
    """A child keeps the connection and writes to the grader when nothing is asked."""
    return e.unsolved().first(
        hostile(
            """
            import json, os, socket, stat, struct, time

            def frame(tree):
                text = json.dumps(tree).encode()
                return struct.pack(">4sII", b"LGM1", len(text), 0) + text

            if os.fork() == 0:
                for turn in range(2000):
                    for fd in range(3, 64):
                        try:
                            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                                os.write(fd, frame({"id": turn, "value": 0.0, "changed": [], "outputs": []}))
                        except OSError:
                            pass
                    time.sleep(0.01)
                os._exit(0)
            """
        )
    )
