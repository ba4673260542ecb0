"""What was pushed and acknowledged, and so what each scrape must contain."""
import collections
import re
import threading
import time

# One line of text format, as the good apps, the targets and the proxy itself write it; and what the invalid app pushes.
LINE = rb'(?:[a-zA-Z_:][a-zA-Z0-9_:]*+(?:\{[^{}\n]*+\})?+ [^ \n]++(?: -?[0-9]++)?+|#[^\n]*+|12invalid[^\n]*+)\n'
BODY = re.compile(rb"(?:" + LINE + rb")*+")
APP_MARKER = re.compile(rb'^soak_version\{app="([^"]+)"\} (\d+)\n', re.M)
GROUP_MARKER = re.compile(rb'^soak_group_([ab])\{([^}\n]*)\} (\d+)\n', re.M)
TARGET_MARKER = re.compile(rb'^soak_target\{target="([^"]+)"\} (\d+)\n', re.M)
JOB = re.compile(rb'job="([^"]+)"')
LABEL = re.compile(rb'(?:,soak_app="[^"]*"|(?<=\{)soak_app="[^"]*")')
# How long versions are remembered, above all times that a lost state can reach back.
REMEMBERED = 240
ABSENT = None


def app_text(name, version, size):
    """The metrics of one version of an app: about `size` bytes, each line different in each version."""
    lines = [f'soak_version{{app="{name}"}} {version}\n']
    length = len(lines[0])
    index = 0
    while length < size:
        line = f'soak_value{{app="{name}",index="{index}"}} {version * 1000 + index}\n'
        lines.append(line)
        length += len(line)
        index += 1
    return "".join(lines)


class Version:
    def __init__(self, value, text, begun):
        self.value, self.text, self.begun, self.acknowledged = value, text, begun, None


class App:
    """One app that a single pusher pushes, one version after another. The value of a version is its number, for a group the
    numbers of its families, and `ABSENT` when the version is a deletion."""

    def __init__(self, name):
        self.name = name
        self.number = 0
        self.versions = collections.deque()
        self._lock = threading.Lock()

    def begin(self, value, text=None):
        version = Version(value, text, time.monotonic())
        with self._lock:
            self.versions.append(version)
            horizon = version.begun - REMEMBERED
            acknowledged = [v for v in self.versions if v.acknowledged and v.acknowledged < horizon]
            while acknowledged and self.versions[0] is not acknowledged[-1]:
                self.versions.popleft()
        return version

    def acceptable(self, asked, answered, losses):
        """The versions that a scrape may show that was asked for and answered at these times; and whether the app may be absent."""
        with self._lock:
            versions = list(self.versions)
        bound, lowest = asked, None
        for at, floor in [(float("inf"), asked), *reversed(losses)]:
            if at < float("inf") and lowest is not None and lowest.acknowledged >= at:
                break
            bound = min(bound, floor)
            lowest = next((v for v in reversed(versions) if v.acknowledged and v.acknowledged <= bound), None)
        first = versions.index(lowest) if lowest else 0
        allowed = [v for v in versions[first:] if v.begun <= answered]
        return allowed, lowest is None or any(v.value is ABSENT for v in allowed)


class Ledger:
    def __init__(self, run):
        self.run = run
        self.apps = {}
        self.groups = {}
        self.pairs = []

    def app(self, name):
        return self.apps.setdefault(name, App(name))

    def group(self, job):
        return self.groups.setdefault(job, App(job))

    def check(self, body, asked, answered, what, targets=None):
        """Checks the body of `/metrics`, and reports what is wrong with it."""
        problems = self.problems(body, asked, answered, targets)
        for rule, evidence in problems[:5]:
            self.run.violation(rule, f"{what}: {evidence}")
        return not problems

    def problems(self, body, asked, answered, targets):
        found = []
        if not body.endswith(b"\n"):
            found.append(("a scrape ends in a newline", f"{len(body)} bytes, ending in {body[-80:]!r}"))
        end = BODY.match(body).end()
        if end != len(body):
            found.append(("a scrape can be parsed", f"at byte {end} of {len(body)}: {body[max(0, end - 80):end + 120]!r}"))
        if b'soak_app="' in body:
            body = LABEL.sub(b"", body)
        losses = list(self.run.losses)
        shown = collections.defaultdict(list)
        for match in APP_MARKER.finditer(body):
            shown[match[1].decode()].append((int(match[2]), match.start()))
        numbers = {}
        for name, app in list(self.apps.items()):
            numbers[name] = self._check_app(found, app, shown.get(name, []), body, asked, answered, losses)
        for one, other in self.pairs:
            if numbers.get(one) != numbers.get(other):
                found.append(("apps of one message are applied together", f"{one} has version {numbers.get(one)}, {other} {numbers.get(other)}"))
        groups = collections.defaultdict(dict)
        for match in GROUP_MARKER.finditer(body):
            job = JOB.search(match[2])
            families = groups[job[1].decode() if job else "?"]
            if match[1] in families:
                found.append(("a series is exposed once", match[0].decode()))
            families[match[1]] = int(match[3])
        for job, app in list(self.groups.items()):
            families = groups.get(job)
            value = ABSENT if families is None else (families.get(b"a"), families.get(b"b"))
            allowed, may_be_absent = app.acceptable(asked, answered, losses)
            if value not in [v.value for v in allowed] and not (value is ABSENT and may_be_absent):
                found.append(("a group has its latest value", f"job {job} has {value}, not one of {describe(allowed, asked)}"))
        if targets is not None:
            found += targets.problems(body, asked, answered)
        return found

    def _check_app(self, found, app, shown, body, asked, answered, losses):
        allowed, may_be_absent = app.acceptable(asked, answered, losses)
        if not shown:
            if not may_be_absent:
                found.append(("an acknowledged push is in the next scrape", f"app {app.name} is missing, not one of {describe(allowed, asked)}"))
            return None
        if len(shown) > 1:
            found.append(("a series is exposed once", f"app {app.name}: {shown}"))
        number, position = shown[0]
        version = next((v for v in allowed if v.value == number), None)
        if version is None:
            found.append(("an app has its latest value", f"app {app.name} has version {number}, not one of {describe(allowed, asked)}"))
        elif not body.startswith(version.text, position):
            found.append(("an app's metrics are exposed byte for byte", f"app {app.name}, version {number}: {body[position:position + 200]!r}"))
        return number


def describe(versions, asked):
    def moment(time):
        return "never" if time is None else f"{time - asked:+.3f} s"

    return [f"{v.value} (begun {moment(v.begun)}, acknowledged {moment(v.acknowledged)})" for v in versions[:6]]
