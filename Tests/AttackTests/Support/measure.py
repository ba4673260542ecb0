"""What a running exporter-proxy takes from its machine, and what another peer notices of it. Linux, standard library alone."""

import os
import re
import signal
import socket
import struct
import threading
import time

MIB = 1 << 20


def address(text):
    """`HOST:PORT` as Python's socket module wants it."""
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def connect(text, timeout=30, source=None):
    """A connection to `HOST:PORT`, from the address `source` if one is given, or to the path of a Unix socket."""
    if "/" in text:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(text)
    else:
        connection = socket.create_connection(address(text), timeout, (source, 0) if source else None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def reset(connection):
    """Ends a connection with a reset."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    connection.close()


def receive_to_end(connection):
    """Everything up to the end of a connection; a reset counts as the end."""
    received = b""
    try:
        while True:
            block = connection.recv(1 << 16)
            if not block:
                return received
            received += block
    except ConnectionError:
        return received


def exchange(connection, path="/-/healthy", method="GET", headers="", body=b""):
    """One request on a kept connection: its status, its head and its body."""
    if body:
        headers += f"Content-Length: {len(body)}\r\n"
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() + body)
    return answer(connection, has_body=method != "HEAD")


def answer(connection, has_body=True):
    """The next answer of a kept connection: its status, its head and its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(1 << 16)
        if not block:
            raise ConnectionError(f"the connection ended before the answer: {received!r}")
        received += block
    head, body = received.split(b"\r\n\r\n", 1)
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:") and has_body:
            length = int(line.split(b":")[1])
    while len(body) < length:
        block = connection.recv(1 << 20)
        if not block:
            raise ConnectionError("the connection ended within the answer")
        body += block
    return int(head.split(b" ")[1]), head.decode(), body


def push(where, text, timeout=60):
    """Pushes bytes and waits until they are applied: the proxy's answer, which is empty when they were taken."""
    with connect(where, timeout) as connection:
        try:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return receive_to_end(connection).decode(errors="replace")


class Process:
    """The running program, as `/proc` shows it."""

    def __init__(self, pid):
        self.pid = pid
        self.folder = f"/proc/{pid}"
        self.loops = [
            f"{self.folder}/task/{task}/schedstat"
            for task in os.listdir(f"{self.folder}/task")
            if self._text(f"task/{task}/comm").startswith("NIO-ELT")
        ]

    def _text(self, name):
        with open(f"{self.folder}/{name}") as file:
            return file.read()

    def status(self, key):
        """A number of `/proc/PID/status`; memory in bytes."""
        number, unit = re.search(rf"^{key}:\s+(\d+)( kB)?", self._text("status"), re.M).groups()
        return int(number) * (1024 if unit else 1)

    @property
    def is_alive(self):
        try:
            return self._text("stat").rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    @property
    def resident(self):
        return self.status("VmRSS")

    @property
    def peak(self):
        return self.status("VmHWM")

    def forget_peak(self):
        """The peak counts from now on (proc(5), clear_refs)."""
        try:
            with open(f"{self.folder}/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass

    @property
    def descriptors(self):
        return len(os.listdir(f"{self.folder}/fd"))

    @property
    def threads(self):
        return self.status("Threads")

    @property
    def cpu(self):
        """Seconds of all threads."""
        fields = self._text("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def loop_cpu(self):
        """Seconds of the event loops' threads."""
        total = 0
        for path in self.loops:
            with open(path) as file:
                total += int(file.read().split()[0])
        return total / 1e9


def quantiles(values):
    """Median, 99th percentile and maximum."""
    if not values:
        return {"count": 0, "p50": 0, "p99": 0, "max": 0}
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "max": ordered[-1],
    }


class Witness(threading.Thread):
    """Asks for `/-/healthy`, or pushes `body`, again and again on one kept connection. Notes how long each answer took, by the clock and by
    the CPU time that the event loops spent meanwhile: the second does not depend on what else the machine does."""

    def __init__(self, process, place, path="/-/healthy", pause=0.002, headers="", body=b""):
        super().__init__(daemon=True)
        self.process, self.place, self.path, self.pause, self.headers, self.body = process, place, path, pause, headers, body
        self.waits, self.cpu, self.failures = [], [], []
        self.ended = threading.Event()

    def run(self):
        connection = None
        while not self.ended.is_set():
            try:
                if connection is None:
                    connection = connect(self.place)
                cpu, start = self.process.loop_cpu, time.monotonic()
                method = "PUT" if self.body else "GET"
                status, _, _ = exchange(connection, self.path, method, self.headers, self.body)
                self.waits.append(time.monotonic() - start)
                self.cpu.append(self.process.loop_cpu - cpu)
                if status not in (200, 204):
                    self.failures.append(f"status {status}")
            except OSError as error:
                self.failures.append(repr(error))
                connection = None
                time.sleep(0.05)
            time.sleep(self.pause)

    def stop(self):
        self.ended.set()
        self.join(60)
        return {"wait": quantiles(self.waits), "cpu": quantiles(self.cpu), "failures": self.failures[:5], "failed": len(self.failures)}


class Sampler(threading.Thread):
    """Notes the most descriptors, threads and held bytes that the program had."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process = process
        self.descriptors = self.threads = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.05):
            try:
                self.descriptors = max(self.descriptors, self.process.descriptors)
                self.threads = max(self.threads, self.process.threads)
            except OSError:
                return

    def stop(self):
        self.ended.set()
        self.join()


def own_metrics(scrape, headers=""):
    """The proxy's own metrics, by series without the prefix."""
    with connect(scrape) as connection:
        _, _, body = exchange(connection, "/metrics", headers=headers)
    values = {}
    for line in body.split(b"\n"):
        if line.startswith(b"exporter_proxy_"):
            series, value = line.decode().rsplit(" ", 1)
            values[series.removeprefix("exporter_proxy_")] = float(value)
    return values


def held(metrics):
    """What is held for peers, by kind."""
    return {key.split('"')[1]: int(value) for key, value in metrics.items() if key.startswith("held_bytes{")}


class Attackers:
    """Processes that attack, so that neither Python's lock nor a crash of theirs touches what measures."""

    def __init__(self, is_nested=False):
        self.children, self.is_nested = [], is_nested

    def start(self, body, *arguments):
        """Runs `body` in a process of its own until it returns or is stopped."""
        child = os.fork()
        if child == 0:
            # A group for each, so that those that a child starts end with it.
            if not self.is_nested:
                os.setpgid(0, 0)
            code = 1
            try:
                body(*arguments)
                code = 0
            except (ConnectionError, TimeoutError, BrokenPipeError):
                code = 0
            except BaseException as error:
                os.write(2, f"attacker: {error!r}\n".encode())
            os._exit(code)
        self.children.append(child)

    def wait(self, seconds):
        """Until all have ended, at most so long; then they are killed, and the kernel resets or ends their connections."""
        deadline = time.monotonic() + seconds
        while self.children and time.monotonic() < deadline:
            self.children = [child for child in self.children if os.waitpid(child, os.WNOHANG)[0] == 0]
            time.sleep(0.02)
        for child in self.children:
            os.kill(child, signal.SIGKILL)
            if not self.is_nested:
                try:
                    os.killpg(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            os.waitpid(child, 0)
        self.children = []
