"""Peers that misbehave: slow, cut short, half-closed, in the wrong format, too large. They must not disturb the good ones."""
import gzip
import os
import random
import socket
import ssl
import threading
import time

from bench.servers import HOST
from measure import connect, receive_to_end, reset

# At most so many at one time, so that they cannot reach concurrent_requests.
MOST = 40
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32))
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class BadPeers:
    def __init__(self, run, program, own_port, context):
        self.run, self.program, self.own_port, self.context = run, program, own_port, context
        self.places = threading.Semaphore(MOST)
        self.kinds = [
            self.slow_reader, self.slow_reader_over_tls, self.slow_sender, self.slow_http_sender, self.reset_within_message, self.reset_within_tls,
            self.reset_within_request, self.reset_within_answer, self.half_closed, self.half_closed_request, self.open_handshake, self.cut_handshake,
            self.wrong_format, self.too_large, self.too_large_over_http, self.garbage_request, self.unused_connection, self.crowd, self.pipeline,
            self.bad_http_push]

    def start(self):
        self.run.start("bad peers", self._start_them)

    def _start_them(self):
        while self.run.pause(0.35):
            if self.run.is_active and self.places.acquire(blocking=False):
                kind = random.choice(self.kinds)
                threading.Thread(target=self._one, args=(kind,), daemon=True, name=kind.__name__).start()

    def _one(self, kind):
        moment = self.run.windows.now()
        try:
            kind(moment)
            self.run.count(f"bad peer {kind.__name__}")
        except (OSError, ssl.SSLError):
            # What a bad peer sees of its own connection does not matter.
            self.run.count(f"bad peer {kind.__name__}")
        except Exception as error:
            self.run.violation("the soak itself works", f"{kind.__name__}: {error!r}")
        finally:
            self.places.release()

    # MARK: Places

    @property
    def tcp(self):
        return f"{HOST}:{self.program.settings.tcp.rsplit(':', 1)[1]}"

    @property
    def http(self):
        return f"{HOST}:{self.program.settings.http.rsplit(':', 1)[1]}"

    @property
    def scrape(self):
        return f"{HOST}:{random.choice((self.own_port, self.program.port))}"

    @property
    def receiver(self):
        return random.choice((self.tcp, self.program.settings.unix))

    def calm(self, moment):
        """Whether nothing has changed that a receiver's answer depends on."""
        return not self.run.windows.since(moment) & {"restart", "kill", "receiver", "format"}

    def wait(self, seconds):
        """Within a connection: shorter at the end of the load."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.run.is_active:
            time.sleep(0.2)

    def expect_error(self, moment, what, answer):
        """A refused message gets one line of text, or the same in an answer of HTTP."""
        is_told = answer.startswith(b"error: ") and answer.endswith(b"\n") or answer.startswith(b"HTTP/1.1 4") and b"error: " in answer
        if not is_told and self.calm(moment):
            self.run.violation("a refused push gets its reason", f"{what}: {answer[:200]!r}")

    # MARK: Readers

    def _slow(self, connection):
        connection.sendall(GET * 30)
        for _ in range(random.randrange(5, 60)):
            if not connection.recv(700) or not self.run.is_active:
                break
            time.sleep(0.3)
        reset(connection) if random.random() < 0.5 else connection.close()

    def _narrow(self):
        """A connection with a small window, so that the kernel does not take the whole answer."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        host, port = self.scrape.rsplit(":", 1)
        connection.connect((host, int(port)))
        return connection

    def slow_reader(self, _):
        self._slow(self._narrow())

    def slow_reader_over_tls(self, _):
        self._slow(self.context.wrap_socket(self._narrow(), server_hostname=HOST))

    def reset_within_answer(self, _):
        connection = connect(self.scrape)
        connection.sendall(GET)
        connection.recv(100)
        reset(connection)

    def reset_within_request(self, _):
        connection = connect(random.choice((self.scrape, self.http)))
        connection.sendall(GET[:random.randrange(1, len(GET))])
        time.sleep(random.random())
        reset(connection)

    def pipeline(self, _):
        """Many requests at once; all are answered, or none is wanted."""
        with connect(self.scrape) as connection:
            connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
            if random.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                receive_to_end(connection)

    def garbage_request(self, _):
        with connect(random.choice((self.scrape, self.http))) as connection:
            connection.sendall(random.choice((
                os.urandom(300), b"GET\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n", b"GET /metrics?app=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000, b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")))
            connection.settimeout(12)
            receive_to_end(connection)

    def unused_connection(self, _):
        with connect(random.choice((self.scrape, self.receiver, self.http))):
            self.wait(random.uniform(1, 25))

    def crowd(self, _):
        connections = [connect(random.choice((self.scrape, self.receiver))) for _ in range(50)]
        self.wait(random.random() * 3)
        for connection in connections:
            reset(connection) if random.random() < 0.5 else connection.close()

    def half_closed_request(self, moment):
        """A client that ends its side after its request still gets the whole answer."""
        with connect(self.scrape) as connection:
            connection.sendall(GET)
            connection.shutdown(socket.SHUT_WR)
            answer = receive_to_end(connection)
        is_whole = answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\n")
        if not is_whole and not self.run.windows.since(moment) & {"restart", "kill", "listener"}:
            self.run.violation("a half-closed client gets its answer", f"{answer[:200]!r} … {answer[-50:]!r}")

    # MARK: Handshakes

    def open_handshake(self, _):
        """The beginning of a handshake, and then nothing."""
        with connect(random.choice((self.scrape, self.tcp, self.http))) as connection:
            connection.sendall(HELLO[:random.randrange(1, len(HELLO))])
            self.wait(random.uniform(2, 15))

    def cut_handshake(self, _):
        """A handshake that the client ends after the server's answer."""
        connection = connect(random.choice((self.scrape, self.tcp, self.http)))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = self.context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            pass
        connection.sendall(outgoing.read())
        connection.settimeout(10)
        connection.recv(1000)
        reset(connection) if random.random() < 0.5 else connection.close()

    # MARK: Senders

    def message(self):
        return b'{"bad-peer": "' + b"soak_bad 1\\n" * 400

    def slow_sender(self, _):
        """A byte now and then, until the message takes too long."""
        with connect(self.receiver) as connection:
            for index in range(60):
                connection.sendall(self.message()[index:index + 1])
                if not self.run.is_active:
                    return
                time.sleep(0.3)

    def slow_http_sender(self, _):
        with connect(self.http) as connection:
            connection.sendall(b"PUT /apps/bad-peer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(60):
                connection.sendall(b"s")
                if not self.run.is_active:
                    return
                time.sleep(0.3)

    def reset_within_message(self, _):
        connection = connect(self.receiver)
        connection.sendall(self.message())
        time.sleep(random.random())
        reset(connection)

    def reset_within_tls(self, _):
        secure = self.context.wrap_socket(connect(self.tcp), server_hostname=HOST)
        secure.sendall(self.message())
        time.sleep(random.random())
        reset(secure)

    def half_closed(self, _):
        """Nothing is sent, and the side ends; the proxy ends its own."""
        with connect(random.choice((self.scrape, self.receiver, self.http))) as connection:
            connection.shutdown(socket.SHUT_WR)
            receive_to_end(connection)

    def _refused(self, moment, what, payload):
        with connect(self.receiver) as connection:
            try:
                connection.sendall(payload)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            self.expect_error(moment, what, receive_to_end(connection))

    def wrong_format(self, moment):
        kinds = {
            "text": b"soak_bad 1\n", "gzip": gzip.compress(b"{}"), "HTTP": GET, "binary": b"\xff\xfe\xfd\xfc" * 20,
            "cut short": self.message(), "a NUL": b'{"bad-peer": "soak_bad 1\\u0000"}', "numbers": b'{"bad-peer": 5}',
            "UTF-8": b'{"bad-peer": "\xff"}'}
        what = random.choice(list(kinds))
        self._refused(moment, what, kinds[what])

    def too_large(self, moment):
        self._refused(moment, "too large", b'{"bad-peer": "' + b"x" * (5 << 20) + b'"}')

    def bad_http_push(self, moment):
        requests = [
            (b"PUT /apps/bad-peer HTTP/1.1", b"soak_bad \xff\n", b""), (b"PUT /apps/bad-peer HTTP/1.1", b"not gzip", b"Content-Encoding: gzip\r\n"),
            (b"POST /apps HTTP/1.1", b'{"bad-peer": ', b""), (b"PUT /metrics/job/bad-peer HTTP/1.1", b"soak_bad 1 1000\n", b""),
            (b"PUT /metrics/job/bad-peer HTTP/1.1", b"soak bad\n", b""), (b"PUT /nothing HTTP/1.1", b"", b"")]
        line, body, headers = random.choice(requests)
        with connect(self.http) as connection:
            connection.sendall(line + b"\r\nHost: a\r\nConnection: close\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.expect_error(moment, line.decode(), receive_to_end(connection))

    def too_large_over_http(self, moment):
        with connect(self.http) as connection:
            try:
                head = b"PUT /apps/bad-peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6000000\r\n\r\n"
                connection.sendall(head + b"x" * 6000000)
            except OSError:
                return
            self.expect_error(moment, "too large over HTTP", receive_to_end(connection))
