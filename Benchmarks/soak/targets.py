"""Targets that the proxy polls: steady ones, and ones that die, hang, answer garbage and come back."""
import collections
import gzip
import socket
import ssl
import struct
import threading
import time

from bench.servers import HOST
from measure import reset

from .ledger import TARGET_MARKER

# The proxy may need so long to apply a poll's answer, and to poll a target that has come back.
APPLIED = 3
COMES_BACK = 6

TEXT = "text/plain; version=0.0.4"
GARBAGE = ["binary", "nul", "not-http", "truncated", "bad-chunk", "status", "openmetrics", "bad-gzip", "too-large"]
FAULTS = ["die", "hang", "reset", "slow", *GARBAGE]


class Page:
    """One path of an origin, with a new version of its metrics for each poll."""

    def __init__(self, name, size):
        self.name, self.size = name, size
        self.number = 0
        self.begun = collections.deque(maxlen=400)
        self.finished = collections.deque(maxlen=400)
        self.texts = collections.OrderedDict()
        # When the configuration began to name it, or stopped to do so.
        self.expected_since = None
        self.removed = 0.0

    def render(self):
        self.number += 1
        lines = [f'soak_target{{target="{self.name}"}} {self.number}\n']
        lines += [f'soak_target_value{{target="{self.name}",index="{i}"}} {self.number * 1000 + i}\n' for i in range(self.size // 60)]
        text = "".join(lines).encode()
        self.texts[self.number] = text
        while len(self.texts) > 60:
            self.texts.popitem(last=False)
        return self.number, text


class Origin:
    """A server of HTTP or HTTPS on a port of its own, with a thread for each connection."""

    def __init__(self, run, name, port, pages, context=None, packed=False):
        self.run, self.name, self.port, self.context, self.packed = run, name, port, context, packed
        self.pages = {f"/{page.name}": page for page in pages}
        self.mode = "good"
        self.changed = time.monotonic()
        self.polls = 0
        self.connections = set()
        self.listening = None
        self.listen()

    @property
    def scheme(self):
        return "https" if self.context else "http"

    def urls(self):
        return [f"{self.scheme}://{HOST}:{self.port}{path}" for path in self.pages]

    def listen(self):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, self.port))
        listening.listen(64)
        self.listening = listening
        self.run.start(f"origin {self.name}", self.accept, listening)

    def accept(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def set(self, mode):
        """Changes what the origin does from now on; its connections end."""
        self.mode = mode
        self.changed = time.monotonic()
        if mode == "die" and self.listening:
            # A thread in accept() keeps the socket open after close().
            self.listening.shutdown(socket.SHUT_RDWR)
            self.listening.close()
            self.listening = None
        elif mode != "die" and not self.listening:
            self.listen()
        for connection in list(self.connections):
            # Its own thread closes it. Until then the descriptor is not used for another connection, whose bytes that thread would read.
            interrupt(connection) if mode == "reset" else shut(connection)

    def serve(self, connection):
        connection.settimeout(120)
        self.connections.add(connection)
        try:
            if self.context:
                plain, connection = connection, self.context.wrap_socket(connection, server_side=True)
                self.connections.discard(plain)
                self.connections.add(connection)
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    block = connection.recv(8192)
                    if not block:
                        return
                    received += block
                head, received = received.split(b"\r\n\r\n", 1)
                if not self.answer(connection, head.split(b" ")[1].decode()):
                    return
        except (OSError, ssl.SSLError, ValueError):
            pass
        finally:
            self.connections.discard(connection)
            if self.mode != "reset":
                shut(connection)
            connection.close()

    def answer(self, connection, path):
        """Answers one request as the mode says; whether the connection goes on."""
        page = self.pages.get(path.split("?")[0])
        if page is None:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        self.polls += 1
        mode = self.mode
        if mode == "hang":
            self.run.is_ended.wait(30)
            return False
        if mode == "reset":
            reset(connection)
            return False
        if mode == "slow":
            connection.sendall(head(1000))
            for _ in range(40):
                connection.sendall(b"a")
                if self.run.is_ended.wait(0.25):
                    break
            return False
        if mode != "good":
            connection.sendall(garbage(mode))
            return mode in ("binary", "nul", "status")
        number, text = page.render()
        page.begun.append((number, time.monotonic()))
        body = gzip.compress(text, 1) if self.packed else text
        connection.sendall(head(len(body), "Content-Encoding: gzip\r\n" if self.packed else "") + body)
        page.finished.append((number, time.monotonic()))
        return True


def shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def interrupt(connection):
    """Ends a read of this connection in another thread, and lets `close` reset it."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        pass


def head(length, more="", status="200 OK", type=TEXT):
    return f"HTTP/1.1 {status}\r\nContent-Type: {type}\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def garbage(mode):
    """An answer that no configuration may take for metrics."""
    match mode:
        case "binary":
            return head(5) + b"a \xff\xfe\n"
        case "nul":
            return head(6) + b"a 1\n\0\n"
        case "not-http":
            return b"SSH-2.0-garbage\r\n" * 3
        case "truncated":
            return head(1000) + b"soak_truncated 1\n"
        case "bad-chunk":
            return head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"zz\r\nsoak_chunk 1\n\r\n"
        case "status":
            return head(5, status="500 Internal Server Error") + b"error"
        case "openmetrics":
            return head(11, type="application/openmetrics-text; version=1.0.0") + b"a_total 1.0"
        case "bad-gzip":
            return head(20, "Content-Encoding: gzip\r\n") + b"\x1f\x8b\x08" + b"\0" * 17
        case "too-large":
            return head(1 << 30)
    raise ValueError(mode)


class Targets:
    """All origins, and what scrapes must show of them."""

    def __init__(self, run, ports, context):
        self.run = run

        def origin(name, *pages, **options):
            return Origin(run, name, ports(), [Page(page, 4000) for page in pages], **options)

        self.steady = [
            origin("plain", "plain-a", "plain-b"), origin("secure", "secure-a", "secure-b", "secure-c", "secure-d", context=context)]
        self.failing = [
            origin("failing", "failing-a", "failing-b"), origin("packed", "packed-a", packed=True),
            origin("secure-failing", "secure-failing-a", "secure-failing-b", context=context)]
        self.optional = origin("optional", "optional-a", "optional-b", "optional-c")
        self.origins = [*self.steady, *self.failing, self.optional]

    def expect(self, urls):
        """The targets of the configuration in force. Those that are new have a moment for their first poll."""
        wanted = {url.split("/", 3)[3] for url in urls}
        for origin in self.origins:
            for page in origin.pages.values():
                if page.name not in wanted:
                    if page.expected_since is not None:
                        page.removed = time.monotonic()
                    page.expected_since = None
                elif page.expected_since is None:
                    page.expected_since = time.monotonic()

    def forget(self, since):
        """A new process knows no target's metrics: only answers after `since` count."""
        for origin in self.origins:
            for page in origin.pages.values():
                if page.expected_since is not None:
                    page.expected_since = since

    def problems(self, body, asked, answered):
        found = []
        # Asked before `expected_since`, which changes within the window.
        is_changing = "targets" in self.run.windows.open_names()
        shown = collections.defaultdict(list)
        for match in TARGET_MARKER.finditer(body):
            shown[match[1].decode()].append((int(match[2]), match.start()))
        for origin in self.origins:
            for page in origin.pages.values():
                found += self._problems_of_page(origin, page, shown.get(page.name, []), body, asked, answered, is_changing)
        return found

    def _problems_of_page(self, origin, page, shown, body, asked, answered, is_changing):
        since = page.expected_since
        if since is None:
            if shown and asked > page.removed and not is_changing:
                return [("a removed target leaves /metrics", f"{page.name} has {shown}")]
            return []
        applied = [number for number, at in list(page.finished) if since < at < asked - APPLIED]
        # On a busy machine an answer may come after the poll's timeout, which the origin does not see: one may be missing.
        applied = applied[:-1]
        if not shown:
            # Between the moment at which a reload takes effect and the one at which it is noticed here, a removed target is still expected.
            if applied and not (is_changing and origin is self.optional):
                return [("a target keeps its latest value", f"{page.name} is missing, answer {applied[-1]} was sent {APPLIED} s before")]
            return []
        number, position = shown[0]
        if len(shown) > 1:
            return [("a series is exposed once", f"target {page.name}: {shown}")]
        if applied and number < applied[-1]:
            return [("a target keeps its latest value", f"{page.name} has answer {number}, answer {applied[-1]} was sent {APPLIED} s before")]
        text = page.texts.get(number)
        if text is not None and not body.startswith(text, position):
            return [("a target's metrics are exposed byte for byte", f"{page.name}, answer {number}: {body[position:position + 200]!r}")]
        return []

    def break_and_mend(self):
        """One thread for each failing origin: a fault for a while, then good again; the proxy must notice both."""
        for origin in [*self.failing, self.optional]:
            self.run.start(f"faults of {origin.name}", self._faults, origin)

    def _faults(self, origin):
        while self.run.pause(self.run.random.uniform(4, 10)):
            if not self.run.is_active:
                continue
            fault = self.run.random.choice(FAULTS)
            origin.set(fault)
            self.run.count(f"target fault {fault}")
            self.run.is_ended.wait(self.run.random.uniform(2, 12))
            origin.set("good")
            self._await_return(origin, fault)
        origin.set("good")

    def _await_return(self, origin, fault):
        """After its return each page is polled again, unless the configuration or the process changes in the meantime."""
        moment, since = self.run.windows.now(), time.monotonic()
        while time.monotonic() < since + COMES_BACK:
            if self.run.windows.since(moment) & {"restart", "targets", "poll"} or self.run.is_ended.wait(0.2):
                return
            pages = [page for page in origin.pages.values() if page.expected_since is not None]
            if all(page.finished and page.finished[-1][1] > since for page in pages):
                return
        self.run.violation("a target that comes back is polled", f"{origin.name} after {fault}: no answer asked for in {COMES_BACK} s")
