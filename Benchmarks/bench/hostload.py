"""The load of the workload `host`: apps that push, targets that are polled, Prometheus replicas that scrape. All of it runs in the
benchmark's own process, whose CPU time is not measured."""
import dataclasses
import gzip
import http.server
import json
import random
import socket
import ssl
import sys
import threading
import time

from . import corpus, servers

ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Metrics:
    """The metrics of one app. The series stay, the values change with each version as those of a program at work do."""

    def __init__(self, index, size, seed):
        self.name = f"app{index:05d}"
        r = random.Random(seed * 7919 + index)
        self.lines = [self.moving(line, r) for line in corpus.app_text(index, size, seed).splitlines()]

    @staticmethod
    def moving(line, r):
        """What does not change, the first value, and what each version adds."""
        if line.startswith("#"):
            return line, None, None
        series, value = line.rsplit(" ", 1)
        if "_bucket{" in series:
            # Higher buckets grow faster, so that they stay cumulative.
            le = series.rsplit('le="', 1)[1].split('"')[0]
            return series, int(value), 3 * (corpus.LE.index(le) + 1)
        if series.split("{")[0].endswith("_count"):
            return series, int(value), 3 * len(corpus.LE)
        if series.split("{")[0].endswith("_total"):
            # Two of five counters are for something that does not happen.
            return series, float(value) if "." in value or "e" in value else int(value), r.choice((0, 0, 1, 7, 40))
        return series, float(value), r.random() * 10

    def text(self, version):
        return "".join(
            f"{series}\n" if value is None else f"{series} {repr(value + step * version)}\n" for series, value, step in self.lines)


class Target:
    """A scrape endpoint: each request gets a new version of its metrics, compressed when the client asks for it, as client libraries do."""

    def __init__(self, metrics):
        self.metrics, self.lock = metrics, threading.Lock()
        # (begin, end) of each answer; the index is the version.
        self.answers = []
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = 1 << 18

            def do_GET(self):
                version = target.begin()
                body = target.metrics.text(version).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                if "gzip" in self.headers.get("Accept-Encoding", ""):
                    body = gzip.compress(body, 6)
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
                target.answers[version][1] = time.monotonic()

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                # A client that is stopped resets its kept connections.
                if not isinstance(sys.exception(), ConnectionError):
                    super().handle_error(request, client_address)

        self.server = Server((servers.HOST, 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def begin(self):
        with self.lock:
            self.answers.append([time.monotonic(), None])
            return len(self.answers) - 1

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class App:
    """An app that pushes; `push` sends one text and returns when the receiver has taken it."""

    def __init__(self, metrics, push):
        self.metrics, self.push = metrics, push
        # (begin, end) of each push; the index is the version.
        self.pushes = []

    def once(self):
        text = self.metrics.text(len(self.pushes)).encode()
        begin = time.monotonic()
        self.push(self.metrics.name, text)
        self.pushes.append((begin, time.monotonic()))


@dataclasses.dataclass
class Scrape:
    begin: float
    end: float
    path: str
    body: bytes


class Job:
    """One scrape job of one Prometheus: a kept TLS connection and `paths`, one for each target: {path: apps in its answer}."""

    def __init__(self, port, paths):
        self.paths, self.scrapes = paths, []
        context = ssl._create_unverified_context()
        self.socket = context.wrap_socket(socket.create_connection((servers.HOST, port)))
        self.file = self.socket.makefile("rb", 1 << 18)

    def spread(self, phase):
        """When within the interval, from 0 to 1, each path is scraped."""
        return sorted(
            (((phase + index / len(self.paths)) % 1, lambda path=path: self.once(path)) for index, path in enumerate(self.paths)),
            key=lambda pair: pair[0])

    def once(self, path):
        begin = time.monotonic()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Prometheus/2.42.0\r\nAccept: {ACCEPT}\r\nAccept-Encoding: gzip\r\n"
            "X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n".encode())
        status = self.file.readline()
        length, compressed = None, False
        while (line := self.file.readline().lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            compressed = compressed or line.startswith(b"content-encoding: gzip")
        body = self.file.read(length) if length is not None else self.chunks()
        if b" 200 " not in status or not compressed:
            raise SystemExit(f"{path} was answered {status.decode().strip()}, {'' if compressed else 'not '}compressed")
        self.scrapes.append(Scrape(begin, time.monotonic(), path, body))

    def chunks(self):
        parts = []
        while size := int(self.file.readline(), 16):
            parts.append(self.file.read(size))
            self.file.readline()
        self.file.readline()
        return b"".join(parts)

    def mean_size(self):
        """Bytes of the answers of all paths together."""
        return sum(len(scrape.body) for scrape in self.scrapes) / len(self.scrapes) * len(self.paths)

    def stop(self):
        self.socket.close()


class Timetable:
    """Repeats actions for so many seconds, each at its time within an interval, and keeps the first failure."""

    def __init__(self, seconds):
        self.seconds, self.threads, self.failures = seconds, [], []
        self.begin = self.end = None

    def add(self, interval, actions):
        """A thread for actions of one connection: pairs of when within the interval, from 0 to 1, and what."""
        self.threads.append(threading.Thread(target=self.repeat, args=(interval, actions), daemon=True))

    def repeat(self, interval, actions):
        try:
            for count in range(round(self.seconds / interval)):
                for when, action in actions:
                    # A tenth of the interval is left over at its end, so that the last action ends in time.
                    time.sleep(max(0, self.begin + (count + 0.9 * when) * interval - time.monotonic()))
                    action()
        except (Exception, SystemExit) as failure:
            self.failures.append(failure)

    def start(self):
        self.begin = time.monotonic() + 0.05
        self.end = self.begin + self.seconds
        for thread in self.threads:
            thread.start()

    def is_running(self):
        return time.monotonic() < self.end or any(thread.is_alive() for thread in self.threads)

    def join(self):
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise SystemExit(f"host: {self.failures[0]!r}")
        if (late := time.monotonic() - self.end) > 0.5:
            print(f"host: the machine was busy: the last action ended {late:.1f} s late", file=sys.stderr)

    def run(self):
        self.start()
        while self.is_running():
            time.sleep(max(0.01, self.end - time.monotonic()))
        self.join()


# MARK: Pushes

def push_json(path):
    """Over the Unix socket, a connection each: the end of the receiver's side says that all was applied."""
    def push(name, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(json.dumps({name: text.decode()}).encode())
            s.shutdown(socket.SHUT_WR)
            if refusal := s.recv(256):
                raise SystemExit(f"a push of {name} was refused: {refusal.decode()}")
    return push


def push_http(port, prefix):
    """As a client library does it that keeps no connection, Python's for example."""
    def push(name, text):
        with socket.create_connection((servers.HOST, port)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(
                f"PUT {prefix}{name} HTTP/1.1\r\nHost: {servers.HOST}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
            answer = b""
            while received := s.recv(4096):
                answer += received
        if not answer.startswith(b"HTTP/1.1 20"):
            raise SystemExit(f"a push of {name} was answered {answer.decode(errors='replace')}")
    return push
