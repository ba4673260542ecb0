"""What all workloads share: where things are, how long to measure, the load drivers, the samples so far."""
import os
import re
import shutil
import statistics
import subprocess
import tempfile

from . import corpus, servers


class Bench:
    def __init__(self, root, program, rounds, seconds, threads, only):
        self.program = os.path.abspath(program)
        self.rounds, self.seconds, self.threads, self.only = rounds, seconds, threads, only
        self.build = os.path.join(root, ".build", "bench")
        self.corpora = os.path.join(self.build, "corpora")
        # Not in /tmp: the proxy watches each folder on the way to its configuration, and other programs keep that one busy. But the path
        # of a Unix socket has at most 107 bytes.
        self.work = tempfile.mkdtemp(prefix="run.", dir=self.build if len(self.build) < 60 else None)
        self.certificate, self.key = (os.path.join(root, "certs", name) for name in ("server.pem", "server-key.pem"))
        peers = os.path.join(root, ".build", "peers", "usr")
        self.nginx = servers.find("nginx", os.path.join(peers, "sbin", "nginx"))
        self.pushgateway = servers.find("prometheus-pushgateway", os.path.join(peers, "bin", "prometheus-pushgateway"))
        self.exporter_exporter = servers.find(
            "prometheus-exporter-exporter", os.path.join(peers, "bin", "prometheus-exporter-exporter"))
        self.results = []
        self.running = []

    def close(self):
        for server in reversed(self.running):
            server.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def folder(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, server):
        """Keeps it to be stopped at the end."""
        self.running.append(server)
        return server

    def finish(self, *ended):
        for server in ended:
            server.stop()
            self.running.remove(server)

    def corpus(self, name):
        return corpus.need(self.corpora, name)

    def driver(self, name):
        return os.path.join(self.build, name)

    def wants(self, name):
        return not self.only or any(re.search(pattern, name) for pattern in self.only)

    def wants_any(self, names):
        return any(self.wants(name) for name in names)

    # MARK: Load drivers: each returns {count, seconds, p50_us, p99_us, bytes}.

    def push(self, mode, address, folder, connections=4, seconds=None, count=None):
        command = [self.driver("push_load"), mode, address, folder, "-c", str(connections), "-S", "16"]
        command += ["-n", str(count)] if count else ["-d", str(seconds or self.seconds)]
        return self.drive(command)

    def spawn_push(self, mode, address, folder, connections, seconds):
        command = [self.driver("push_load"), mode, address, folder, "-c", str(connections), "-d", str(seconds), "-S", "16"]
        return subprocess.Popen(["nice", "-n", "19", *command], stdout=subprocess.DEVNULL)

    def get(self, port, path, tls="off", kind="keep", gzip=False, connections=4, count=None, seconds=None, pause_us=0):
        command = [self.driver("http_load"), str(port), path, "-t", tls, "-k", kind, "-c", str(connections), "-p", str(pause_us)]
        command += ["-n", str(count)] if count else ["-d", str(seconds or self.seconds)]
        command += ["-z", "1"] if gzip else []
        return self.drive(command)

    def drive(self, command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}{done.stdout}")
        return key_values(done.stdout)

    # MARK: Samples

    def measure(self, on, load):
        """Runs `load` and adds the CPU time that the servers spent on each unit of it."""
        before = servers.cpu_ns(on)
        result = load()
        spent = servers.cpu_ns(on) - before
        count = max(result["count"], 1)
        return {**result, "cpu_us": spent / 1000 / count, "per_second": result["count"] / result["seconds"]}

    def compare(self, name, contenders, goal=None, unit="request", per_byte=False):
        """Measures the contenders in turn, several rounds; the first is ours, and its ratio to each other one is taken
        within a round, so that what disturbs the machine disturbs both. `goal`: {peer: ratio}."""
        if not self.wants(name):
            return None
        samples = {contender: [] for contender in contenders}
        for load in contenders.values():
            load()
        for _ in range(self.rounds):
            for contender, load in contenders.items():
                samples[contender].append(load())
        ours, *peers = contenders

        def cost(sample):
            return sample["cpu_us"] / sample["bytes"] if per_byte else sample["cpu_us"]

        ratios = {
            peer: spread([cost(a) / cost(b) for a, b in zip(samples[ours], samples[peer]) if cost(b) > 0]) for peer in peers}
        result = {
            "name": name, "unit": unit, "per_byte": per_byte, "goal": goal or {}, "ratios": ratios,
            "contenders": {
                contender: {key: spread([sample[key] for sample in taken]) for key in taken[0] if key in KEYS}
                for contender, taken in samples.items()}}
        self.add(result)
        return result

    def note(self, name, value, unit, limit=None, detail=""):
        """A figure that is no ratio: memory, time to start."""
        self.add({"name": name, "value": value, "unit": unit, "limit": limit, "detail": detail})

    def curve(self, name, axis, unit, samples):
        """A cost at several points of an axis: {point: [values]}."""
        self.add({"name": name, "axis": axis, "unit": unit, "points": [[point, spread(values)] for point, values in samples.items()]})

    def add(self, result):
        from . import report
        self.results.append(result)
        print(report.lines(result), flush=True)


KEYS = ("cpu_us", "per_second", "p50_us", "p99_us", "bytes")


def spread(values):
    """Median, and the smallest and the largest."""
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def key_values(text):
    return {key: float(value) for key, value in re.findall(r"(\w+)=([\d.]+)", text)}
