"""Good pushers. Each pushes apps of its own; what is acknowledged must be in the next scrape."""
import gzip
import http.client
import json
import random
import socket
import ssl
import time

from bench.corpus import capnp_message
from bench.servers import HOST
from measure import connect

from .ledger import ABSENT, app_text

TIMEOUT = 60


class Refused(Exception):
    """The proxy's answer to a push that it did not take."""


def encode(format, apps):
    """The messages for these apps, `{name: text}`: one object of JSON, or one message of Cap'n Proto for each."""
    if format == "json":
        return json.dumps(apps).encode()
    return b"".join(capnp_message(name, text) for name, text in apps.items())


def read_to_end(connection):
    received = b""
    while block := connection.recv(1 << 16):
        received += block
    return received


class Attempt:
    """A push from its begin to its acknowledgement, and what it may meet on the way."""

    def __init__(self, run, moment=None):
        self.run, self.moment = run, moment or run.windows.now()

    def met(self, *names):
        return bool(self.run.windows.since(self.moment) & set(names))

    def acknowledge(self, *versions):
        # A process that was killed ends its connections as one that has applied everything.
        if self.met("kill"):
            return
        now = time.monotonic()
        for version in versions:
            version.acknowledged = now
        self.run.count("pushes acknowledged", len(versions))

    def failed(self, what, error, *excuses):
        if not self.met("restart", "kill", "receiver", *excuses):
            self.run.violation("no good push fails", f"{what}: {error!r}")
        else:
            self.run.count("pushes that met a change")


class Pushers:
    def __init__(self, run, program, ledger, context):
        self.run, self.program, self.ledger, self.context = run, program, ledger, context
        self.small = (200, 2000, 8000, 20000)

    def start(self):
        start = self.run.start
        start("pusher over TCP", self._each_connection, "tcp", 5, 0.7)
        start("pusher over Unix socket", self._each_connection, "unix", 5, 0.5)
        start("pusher over TLS", self._each_connection, "tls", 4, 1.0)
        start("pusher of a stream over TCP", self._stream, "stream-tcp", 3)
        start("pusher of a stream over Unix socket", self._stream, "stream-unix", 3)
        start("pusher of a large app", self._large)
        start("pusher of pairs", self._pairs)
        start("pusher over HTTP", self._http, "http", 4, 0.6, None)
        start("pusher over HTTPS", self._http, "https", 3, 1.0, self.context)
        start("pusher of groups", self._groups)
        start("pusher of short-lived apps", self._short_lived)
        start("pusher of invalid metrics", self._invalid)

    def wait(self, seconds):
        """A pause, and then until peers are active. False at the end."""
        is_going = self.run.pause(seconds)
        while is_going and not self.run.is_active:
            is_going = self.run.pause(0.3)
        return is_going

    def next_version(self, name, size):
        app = self.ledger.app(name)
        app.number += 1
        text = app_text(name, app.number, size)
        return app, text, app.begin(app.number, text.encode())

    # MARK: TCP and Unix sockets

    def open(self, kind):
        settings = self.program.settings
        if kind.endswith("unix"):
            return connect(settings.unix, TIMEOUT)
        connection = connect(f"{HOST}:{settings.tcp.rsplit(':', 1)[1]}", TIMEOUT)
        if kind == "tls":
            return self.context.wrap_socket(connection, server_hostname=HOST)
        return connection

    def finish(self, connection):
        """Ends this side and waits for the other: raises when the push was refused."""
        if isinstance(connection, ssl.SSLSocket):
            try:
                connection.unwrap().close()
            except ssl.SSLError as error:
                if "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" in str(error):
                    raise Refused("an error line over TLS") from error
                raise
            return
        connection.shutdown(socket.SHUT_WR)
        answer = read_to_end(connection)
        connection.close()
        if answer:
            raise Refused(answer.decode(errors="replace"))

    def push(self, kind, versions, apps):
        """One connection with one message."""
        attempt = Attempt(self.run)
        try:
            payload = encode(self.program.settings.format, apps)
            connection = self.open(kind)
            connection.sendall(payload)
            self.finish(connection)
        except (OSError, Refused) as error:
            attempt.failed(f"{kind}, {', '.join(apps)}", error, "format")
            return False
        attempt.acknowledge(*versions)
        return True

    def _each_connection(self, kind, number, seconds):
        index = 0
        while True:
            name = f"{kind}-{index % number}"
            _, text, version = self.next_version(name, random.choice(self.small))
            self.push(kind, [version], {name: text})
            index += 1
            # The first round is before the load: so the store is filled when the quiet program is measured.
            if index >= number and not self.wait(seconds):
                return

    def _large(self):
        """An app whose size changes between nothing and 300 KB; large messages are decoded on other threads."""
        while True:
            _, text, version = self.next_version("large", random.choice((100, 30000, 100000, 300000)))
            self.push("unix", [version], {"large": text})
            if not self.wait(4):
                return

    def _stream(self, kind, number):
        """A connection that is kept for many messages, in the format that it began with."""
        while True:
            attempt = Attempt(self.run)
            format = self.program.settings.format
            sent = {}
            try:
                connection = self.open(kind)
                if attempt.met("format", "receiver"):
                    connection.close()
                else:
                    for index in range(12 if self.run.is_active else number):
                        name = f"{kind}-{index % number}"
                        _, text, version = self.next_version(name, random.choice(self.small))
                        connection.sendall(encode(format, {name: text}))
                        sent[name] = version
                        if self.run.is_active and not self.run.pause(0.8):
                            return
                    self.finish(connection)
                    attempt.acknowledge(*sent.values())
            except (OSError, Refused) as error:
                attempt.failed(kind, error)
            if not self.wait(0.5):
                return

    # MARK: HTTP

    def http_connection(self, context=None):
        port = int(self.program.settings.http.rsplit(":", 1)[1])
        if context:
            return http.client.HTTPSConnection(HOST, port, timeout=TIMEOUT, context=context)
        return http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)

    def request(self, connection, method, path, body, expected, headers=None, chunked=False):
        connection.request(method, path, body, headers or {}, encode_chunked=chunked)
        response = connection.getresponse()
        answer = response.read()
        if response.status not in expected:
            raise Refused(f"{method} {path}: {response.status} {answer[:300]!r}")
        return response.status

    def _http(self, kind, number, seconds, context):
        """`PUT /apps/NAME` on a kept connection; now and then compressed, chunked, or on a new one."""
        connection, index, used = None, 0, None
        while True:
            name = f"{kind}-{index % number}"
            _, text, version = self.next_version(name, random.choice(self.small))
            # What has changed since a kept connection was last used may have ended it.
            attempt = Attempt(self.run, used if connection else None)
            used = self.run.windows.now()
            body, headers = text.encode(), {}
            if index % 4 == 1:
                body, headers = gzip.compress(body, 1), {"Content-Encoding": "gzip"}
            try:
                connection = connection or self.http_connection(context)
                if index % 5 == 2:
                    pieces = [body[at:at + 3000] for at in range(0, len(body), 3000)]
                    self.request(connection, "PUT", f"/apps/{name}", iter(pieces), (204,), {**headers, "Transfer-Encoding": "chunked"}, True)
                else:
                    self.request(connection, "PUT", f"/apps/{name}", body, (204,), headers)
                attempt.acknowledge(version)
            except (OSError, http.client.HTTPException, Refused) as error:
                attempt.failed(f"{kind}, {name}", error)
                connection = None
            if connection and (index % 20 == 19 or not self.run.is_active):
                connection.close()
                connection = None
            index += 1
            if index >= number and not self.wait(seconds):
                return

    def _pairs(self):
        """Two apps in one object: a scrape shows both old or both new."""
        names = ["pair-one", "pair-two"]
        self.ledger.pairs.append(names)
        while True:
            made = [self.next_version(name, random.choice(self.small)) for name in names]
            apps = {name: text for name, (_, text, _) in zip(names, made)}
            versions = [version for _, _, version in made]
            attempt = Attempt(self.run)
            connection = self.http_connection()
            try:
                self.request(connection, "POST", "/apps", json.dumps(apps), (204,))
                attempt.acknowledge(*versions)
            except (OSError, http.client.HTTPException, Refused) as error:
                attempt.failed("a pair over HTTP", error)
            connection.close()
            if not self.wait(1.0):
                return

    def _groups(self):
        """The API of the Pushgateway: PUT replaces both families, POST one of them, DELETE the group."""
        jobs = ["group-one", "group-two", "group-three"]
        state = {job: ABSENT for job in jobs}
        losses = {job: 0 for job in jobs}
        index = 0
        while True:
            job = jobs[index % len(jobs)]
            app = self.ledger.group(job)
            app.number += 1
            number, path = app.number, f"/metrics/job/{job}/instance/soak"
            before = state[job]
            # After a loss it is not known which version POST would merge with.
            is_known = index >= len(jobs) and losses[job] == len(self.run.losses)
            losses[job] = len(self.run.losses)
            method = random.choice(("PUT", "POST", "POST", "DELETE")) if is_known else "PUT"
            if method == "DELETE":
                after, body = ABSENT, None
            elif method == "PUT":
                after, body = (number, number), f"soak_group_a {number}\nsoak_group_b {number}\n"
            else:
                after, body = (number, before[1] if before else None), f"soak_group_a {number}\n"
            version = app.begin(after)
            attempt = Attempt(self.run)
            connection = self.http_connection()
            try:
                self.request(connection, method, path, body, (200, 202))
                attempt.acknowledge(version)
                state[job] = after
            except (OSError, http.client.HTTPException, Refused) as error:
                attempt.failed(f"group {job}", error)
            connection.close()
            # Whether it was applied, or lost later, is not known: the next one replaces the whole group.
            if attempt.met("restart", "kill", "receiver") or version.acknowledged is None:
                self._replace_group(app, path, state, job)
            index += 1
            if index >= len(jobs) and not self.wait(0.8):
                return

    def _replace_group(self, app, path, state, job):
        while self.run.pause(0.3):
            app.number += 1
            number = app.number
            version = app.begin((number, number))
            attempt = Attempt(self.run)
            connection = self.http_connection()
            try:
                self.request(connection, "PUT", path, f"soak_group_a {number}\nsoak_group_b {number}\n", (200,))
                attempt.acknowledge(version)
            except (OSError, http.client.HTTPException, Refused) as error:
                attempt.failed(f"group {job}", error)
            connection.close()
            if version.acknowledged and not attempt.met("restart", "kill"):
                state[job] = (number, number)
                return

    # MARK: Apps that come and go

    def _short_lived(self):
        """Apps that are pushed once, and deleted by the receiver or the scrape side."""
        index = 0
        while self.wait(1.5):
            name = f"short-{index % 7}"
            text = app_text(name, index, 500).replace("soak_version", "soak_short_version").replace("soak_value", "soak_short_value")
            attempt = Attempt(self.run)
            connection = self.http_connection()
            try:
                self.request(connection, "PUT", f"/apps/{name}", text, (204,))
                if index % 2:
                    self.request(connection, "DELETE", f"/apps/{name}", None, (204,) if not attempt.met("restart") else (204, 404))
                else:
                    status = self.program.get(f"/apps/{name}", "DELETE")[0]
                    if status not in ((204, 404) if attempt.met("restart") else (204,)):
                        raise Refused(f"DELETE /apps/{name} on the scrape side: {status}")
            except (OSError, http.client.HTTPException, Refused) as error:
                attempt.failed(name, error)
            connection.close()
            index += 1

    def _invalid(self):
        """Metrics that Prometheus would not read: taken, or refused with 400 where `validate` says so."""
        number = 0
        while self.wait(3):
            number += 1
            attempt = Attempt(self.run)
            connection = self.http_connection()
            try:
                self.request(connection, "PUT", "/apps/zz-invalid", f"12invalid {number}\n", (204, 400))
            except (OSError, http.client.HTTPException, Refused) as error:
                attempt.failed("zz-invalid", error)
            connection.close()
