"""Whether the answers of the workload `host` hold what was pushed and polled: the same series with the same values."""
import re
import zlib

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
APP = re.compile(r"app\d{5}(?=_)")
# What the servers say of themselves.
OWN = re.compile(r"(exporter_proxy|go|process|promhttp|pushgateway|push)_")
# A proxy has read, checked and stored a polled body that long after the target has sent it, also on a busy machine.
TAKEN = 1.0


class Expected:
    """The samples of one app at any version."""

    def __init__(self, metrics):
        self.metrics, self.known = metrics, {}

    def at(self, version):
        if version not in self.known:
            self.known = {kept: self.known[kept] for kept in sorted(self.known)[-3:]}
            self.known[version] = {key(series): value for series, value in samples(self.metrics.text(version))}
        return self.known[version]


def samples(text):
    for line in text.splitlines():
        if line and line[0] != "#":
            series, value = line.rsplit(" ", 1)
            yield series, float(value)


def key(series):
    name, _, labels = series.partition("{")
    return name, frozenset(LABEL.findall(labels))


class Reader:
    """Reads answers. `label` is the label that each sample must have with the app's name, which `names` gives where it is not the prefix
    of the metrics. `grouped` are the apps whose samples have the labels of a Pushgateway's group."""

    def __init__(self, label=None, names=None, grouped=()):
        self.label, self.names, self.grouped = label, names or {}, set(grouped)
        self.parsed = {}

    def read(self, body):
        """By app: {series: value}, without the labels that the server adds."""
        apps = {}
        for series, value in samples(zlib.decompress(body, 31).decode()):
            if series not in self.parsed:
                self.parsed[series] = self.parse(series)
            app, sample = self.parsed[series]
            if app is None:
                continue
            found = apps.setdefault(app, {})
            if sample in found:
                raise SystemExit(f"{series} is exposed twice")
            found[sample] = value
        return apps

    def parse(self, series):
        name, labels = key(series)
        match = APP.match(name)
        if not match:
            if not OWN.match(name):
                raise SystemExit(f"{series} belongs to no app")
            return None, None
        app = match.group()
        if app in self.grouped:
            labels = self.without(series, labels, ("job", app)) - {("instance", "")}
        if self.label:
            labels = self.without(series, labels, (self.label, self.names.get(app, app)))
        return app, (name, labels)

    @staticmethod
    def without(series, labels, added):
        if added not in labels:
            raise SystemExit(f'{series} lacks {added[0]}="{added[1]}"')
        return labels - {added}


def versions(scrape, taken, on_demand=False, settled=0):
    """The versions that an answer may hold. `taken`: (begin, end) of the push or poll of each version. What had ended `settled` seconds
    before the scrape began must be there; what ran during it may be. With `on_demand` the scrape itself has asked for it."""
    started = [version for version, (begin, _) in enumerate(taken) if begin < scrape.end]
    if on_demand:
        return [version for version in started if taken[version][0] >= scrape.begin]
    complete = [version for version in started if taken[version][1] is not None and taken[version][1] <= scrape.begin - settled]
    return range(complete[-1] if complete else 0, started[-1] + 1)


def check(scrape, found, app, expected, allowed):
    """Raises if `found`, the samples of one app in one answer, are not those of an allowed version."""
    if any(found == expected.at(version) for version in allowed):
        return
    wanted = expected.at(allowed[0]) if allowed else {}
    wrong = [f"{name}{dict(labels)} is {found[name, labels]}, not {value}" for (name, labels), value in wanted.items()
             if found.get((name, labels), value) != value]
    raise SystemExit(
        f"the answer for {scrape.path} does not hold what {app} sent last (versions {list(allowed)}): {len(wanted.keys() - found.keys())} "
        f"series are missing, {len(found.keys() - wanted.keys())} are too many, {len(wrong)} have other values{': ' + wrong[0] if wrong else ''}")
