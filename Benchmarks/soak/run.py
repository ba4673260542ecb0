"""What all parts of the soak share: phases, pace, what is changing right now, and violations."""
import collections
import contextlib
import json
import random
import threading
import time
import traceback

# A long run writes each violation down, but a fault that repeats fills no disk.
KEPT_VIOLATIONS = 1000


class Run:
    """The shared state of one run. `phase` is "before", "load", "restarts" or "after"; peers are active in the two in the middle."""

    def __init__(self, output, seed):
        self.output = output
        self.random = random.Random(seed)
        self.started = time.monotonic()
        self.phase = "before"
        self.is_ended = threading.Event()
        self.pace = 1.0
        self.life = 0
        self.marks = []
        self.violations = []
        self.counts = collections.Counter()
        self.losses = []
        self.windows = Windows()
        self._lock = threading.Lock()

    @property
    def is_active(self):
        return self.phase in ("load", "restarts") and not self.is_ended.is_set()

    @property
    def elapsed(self):
        return time.monotonic() - self.started

    def pause(self, seconds):
        """Waits for `seconds` at full pace, longer when the machine has less time for the soak. False when the run has ended."""
        return not self.is_ended.wait(seconds * self.pace * random.uniform(0.7, 1.3))

    def count(self, name, number=1):
        with self._lock:
            self.counts[name] += number

    def mark(self, kind, text=""):
        """A moment for the plot and the list of events."""
        entry = {"seconds": round(self.elapsed, 1), "kind": kind, "text": text}
        with self._lock:
            self.marks.append(entry)
            with open(f"{self.output}/events.jsonl", "a") as file:
                file.write(json.dumps(entry) + "\n")

    def violation(self, rule, evidence):
        """A rule that did not hold, with what was seen."""
        entry = {
            "seconds": round(self.elapsed, 2), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "phase": self.phase,
            "life": self.life, "changing": self.windows.open_names(), "rule": rule, "evidence": str(evidence)[:4000]}
        with self._lock:
            self.counts["violations"] += 1
            if len(self.violations) >= KEPT_VIOLATIONS:
                return
            self.violations.append(entry)
            with open(f"{self.output}/violations.jsonl", "a") as file:
                file.write(json.dumps(entry) + "\n")
        print(f"{entry['time']} VIOLATION {rule}: {entry['evidence'][:600]}", flush=True)

    def start(self, name, body, *arguments):
        """Runs `body` on a thread. An error that it does not expect is a fault of the soak, which makes the run fail too."""
        def guarded():
            while not self.is_ended.is_set():
                try:
                    body(*arguments)
                    return
                except Exception:
                    self.violation("the soak itself works", f"{name}: {traceback.format_exc()}")
                    self.is_ended.wait(5)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def lost(self, floor):
        """From now on, what was acknowledged after `floor` may be missing until it is pushed again."""
        self.losses.append((time.monotonic(), floor))


class Windows:
    """Times in which something changes on purpose: "restart", "kill", "receiver", "format", "listener", "targets", "refused".

    Whether an exchange met one is known by the number of windows opened so far, so that no exchange falls between two looks."""

    def __init__(self):
        self._lock = threading.Lock()
        self._open = collections.Counter()
        self._opened = collections.Counter()

    @contextlib.contextmanager
    def opened(self, *names):
        with self._lock:
            self._open.update(names)
            self._opened.update(names)
        try:
            yield
        finally:
            with self._lock:
                self._open.subtract(names)

    def open_names(self):
        with self._lock:
            return sorted(name for name, number in self._open.items() if number > 0)

    def now(self):
        with self._lock:
            return dict(self._opened), {name for name, number in self._open.items() if number > 0}

    def since(self, moment):
        """The names of all windows that were open at `moment` (of `now`) or have been opened since."""
        opened, was_open = moment
        with self._lock:
            return was_open | {name for name, number in self._opened.items() if number != opened.get(name, 0)}
