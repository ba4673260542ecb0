"""Good scrapers. None of their requests may fail, except while the program restarts."""
import collections
import gzip
import http.client
import json
import socket
import ssl
import time
import urllib.parse

from bench.servers import HOST

from .ledger import LABEL

TIMEOUT = 60


class Scraper:
    """Asks one listener again and again, on one kept connection or on a new one for each request."""

    def __init__(self, run, name, port, context=None, keep=False, packed=False, inherited=False):
        self.run, self.name, self.port, self.context = run, name, port, context
        self.keep, self.packed, self.inherited = keep, packed, inherited
        self.connection = None
        # What was changing when the kept connection was last used: it may have ended since.
        self.used = run.windows.now()

    def connect(self):
        if self.context:
            return http.client.HTTPSConnection(HOST, self.port, timeout=TIMEOUT, context=self.context)
        return http.client.HTTPConnection(HOST, self.port, timeout=TIMEOUT)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def get(self, path, accept="*/*"):
        """Status and body, uncompressed; `None` when the request failed as it may."""
        moment = self.run.windows.now()
        for attempt in (1, 2):
            is_kept = self.connection is not None
            try:
                if not is_kept:
                    self.connection = self.connect()
                headers = {"Accept": accept, **({"Accept-Encoding": "gzip"} if self.packed else {})}
                self.connection.request("GET", path, headers=headers)
                response = self.connection.getresponse()
                body = response.read()
                if self.packed and response.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if not self.keep or response.will_close:
                    self.close()
                self.used = self.run.windows.now()
                return response.status, body
            except (OSError, http.client.HTTPException, EOFError, ssl.SSLError) as error:
                self.close()
                if not self.may_fail(error, is_kept, moment, path):
                    return None
                # As every client does, a kept connection that has ended is replaced once.
                if not (is_kept and attempt == 1):
                    return None
        return None

    def may_fail(self, error, is_kept, moment, path):
        """Reports a failure that must not be. Whether the request may be sent once more."""
        windows = self.run.windows.since(self.used if is_kept else moment)
        has_no_answer = isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLError))
        if "kill" in windows:
            return is_kept
        if is_kept and has_no_answer and windows & {"restart", "listener"}:
            self.run.count("kept connections ended by restarts and moved listeners")
            return True
        if "restart" in windows and isinstance(error, ConnectionRefusedError) and not self.inherited:
            self.run.count("scrapes refused while restarting")
            return False
        # A socket that is not inherited is closed with what waits in it.
        if "restart" in windows and isinstance(error, ConnectionResetError) and not self.inherited:
            self.run.count("connections that waited while the listener closed")
            return False
        self.run.violation("no scrape fails", f"{self.name} {path}, {'kept' if is_kept else 'new'} connection: {error!r}")
        return False


class Scraping:
    """All good scrapers, their latencies, and the checks of what they get."""

    def __init__(self, run, program, ledger, targets, own_port, context):
        self.run, self.program, self.ledger, self.targets = run, program, ledger, targets
        self.latencies = collections.deque(maxlen=100000)
        port = program.port
        inherited = {"inherited": True}
        self.scrapers = [
            Scraper(run, "plain, kept", port, keep=True, **inherited),
            Scraper(run, "plain, new", own_port),
            Scraper(run, "TLS, new", port, context, **inherited),
            Scraper(run, "TLS and gzip, kept", port, context, keep=True, packed=True, **inherited),
            Scraper(run, "TLS and gzip, new", own_port, context, packed=True),
            Scraper(run, "gzip, kept", own_port, keep=True, packed=True),
        ]
        self.others = Scraper(run, "other pages, kept", port, keep=True, **inherited)

    def start(self):
        for scraper in self.scrapers:
            self.run.start(f"scraper {scraper.name}", self._scrape, scraper)
        self.run.start("scraper of other pages", self._other_pages)

    def _scrape(self, scraper):
        while self.run.pause(1.2 if self.run.is_active else 3):
            self.scrape(scraper)
        scraper.close()

    def scrape(self, scraper):
        phase, asked = self.run.phase, time.monotonic()
        answer = scraper.get("/metrics")
        answered = time.monotonic()
        if answer is None:
            return False
        status, body = answer
        self.run.count("scrapes")
        self.latencies.append((phase, answered - asked))
        if status != 200:
            self.run.violation("no scrape fails", f"{scraper.name}: status {status}, {body[:200]!r}")
            return False
        self.run.count("bytes scraped", len(body))
        return self.ledger.check(body, asked, answered, scraper.name, self.targets)

    # MARK: Other pages

    def _other_pages(self):
        checks = [self._one_app, self._apps, self._discovery, self._own, self._pages]
        index = 0
        while self.run.pause(0.8 if self.run.is_active else 3):
            checks[index % len(checks)]()
            index += 1
        self.others.close()

    def _get(self, path, accept="*/*"):
        answer = self.others.get(path, accept)
        if answer is not None:
            self.run.count("other requests")
        return answer

    def _one_app(self):
        """`?app=` of one good app has its latest version alone."""
        apps = list(self.ledger.apps.values())
        if not apps:
            return
        app = self.run.random.choice(apps)
        asked = time.monotonic()
        answer = self._get("/metrics?app=" + urllib.parse.quote(app.name))
        answered = time.monotonic()
        if answer is None:
            return
        allowed, may_be_absent = app.acceptable(asked, answered, list(self.run.losses))
        status, body = answer
        if status == 404 and may_be_absent:
            return
        if status != 200 or strip(body) not in [v.text for v in allowed if v.text is not None]:
            self.run.violation("?app= has the latest version alone", f"{app.name}: status {status}, {body[:200]!r}")

    def _apps(self):
        asked = time.monotonic()
        answer = self._get("/apps?format=json")
        answered = time.monotonic()
        if answer is None:
            return
        status, body = answer
        try:
            names = {app["name"] for app in json.loads(body)["apps"]}
        except (ValueError, KeyError) as error:
            self.run.violation("/apps can be read", f"status {status}: {error}, {body[:200]!r}")
            return
        for app in list(self.ledger.apps.values()):
            _, may_be_absent = app.acceptable(asked, answered, list(self.run.losses))
            if app.name not in names and not may_be_absent:
                self.run.violation("/apps lists every app", f"{app.name} is missing")

    def _discovery(self):
        answer = self._get("/sd")
        if answer is None:
            return
        try:
            groups = json.loads(answer[1])
            is_whole = answer[0] == 200 and all(group["targets"] and group["labels"]["app"] for group in groups)
        except (ValueError, KeyError):
            is_whole = False
        if not is_whole:
            self.run.violation("/sd can be read", f"{answer[0]}: {answer[1][:200]!r}")

    def _own(self):
        self._expect_page("/metrics/self", b"exporter_proxy_build_info", b"\n")

    def _pages(self):
        self._expect_page("/apps", b"| App Name", b"+\n")
        self._expect_page("/apps", b"<html", b"</html>", accept="text/html")
        self._expect_page("/collisions", b"", b"")
        self._expect_page("/", b"<html", b"</html>", accept="text/html")

    def _expect_page(self, path, holds, ends, accept="*/*"):
        answer = self._get(path, accept)
        if answer is None:
            return
        status, body = answer
        # With `validate = "off"` nothing is compared.
        if path == "/collisions" and status == 404:
            return
        if status != 200 or holds not in body or not body.rstrip(b"\n").endswith(ends.rstrip(b"\n")):
            self.run.violation("a page is whole", f"{path} for {accept}: status {status}, {len(body)} bytes, {body[:100]!r} … {body[-100:]!r}")

    # MARK: Measures

    def take_latencies(self):
        """Of the scrapes since the last call: the phase in which each began, and seconds."""
        taken = []
        while self.latencies:
            taken.append(self.latencies.popleft())
        return taken


def strip(body):
    """The body without the label that some configurations add."""
    return LABEL.sub(b"", body) if b'soak_app="' in body else body


def peer_certificate(port, context):
    """The certificate that a listener shows to a new connection, as bytes."""
    with socket.create_connection((HOST, port), TIMEOUT) as plain, context.wrap_socket(plain, server_hostname=HOST) as secure:
        return secure.getpeercert(binary_form=True)
