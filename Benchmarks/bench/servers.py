"""The programs that are measured, each in a folder of its own, on ports that are free."""
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import zlib

from . import processes

HOST = "127.0.0.1"


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def fetch(port, path, tls=False, gzip=False, timeout=60):
    """Status and body as they came."""
    if tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(HOST, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"} if gzip else {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


class Server:
    """A process that runs until `stop`; `pid` is the one that does the work."""

    def __init__(self, command, folder, environment=None):
        self.log = open(os.path.join(folder, "log"), "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=folder, env={**os.environ, **(environment or {})})
        self.pid = self.process.pid

    def until(self, ready, what):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"{what} ended with {self.process.returncode}: see {self.log.name}")
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise SystemExit(f"{what} is not ready after a minute: see {self.log.name}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Proxy(Server):
    """exporter-proxy with a Unix, a TCP and an HTTP receiver."""

    def __init__(self, bench, name, tls="off", format="json", targets=(), threads=None, interval="1s", extra="", validate="report", metrics="", wrapper=()):
        folder = bench.folder(name)
        self.port, self.tcp, self.socket = free_port(), free_port(), os.path.join(folder, "push.sock")
        self.http = free_port()
        self.tls = tls != "off"
        certificate = f'''
            [exporter.tls_server_config]
            cert_file = "{bench.certificate}"
            key_file = "{bench.key}"
            ''' if self.tls else ""
        urls = ", ".join(f'"{url}"' for url in targets)
        config = f'''
            [exporter]
            worker_threads = {threads or bench.threads}
            scrape_expose_endpoint = "{HOST}:{self.port}"
            tls = "{tls}"
            {extra}
            {certificate}
            [receiver]
            format = "{format}"
            receive_on_unix_socket = true
            receiver_unix_socket = "{self.socket}"
            receive_on_tcp_socket = true
            receiver_tcp_socket = "{HOST}:{self.tcp}"
            receive_on_http_socket = true
            receiver_http_socket = "{HOST}:{self.http}"
            [metrics]
            validate = "{validate}"
            {metrics}
            [poll_external]
            poll_other_scrape_endpoints = {str(bool(targets)).lower()}
            other_scrape_endpoints = [{urls}]
            poll_interval = "{interval}"
            client_timeout = "{interval}"
            '''
        path = os.path.join(folder, "config.toml")
        with open(path, "w") as file:
            file.write(config)
        self.command = [*wrapper, bench.program, "--config", path, "--log-level", "warning"]
        super().__init__(self.command, folder)
        self.until(lambda: fetch(self.port, "/-/ready", self.tls)[0] == 200, name)

    def fill(self, bench, corpus):
        bench.push("once", f"unix:{self.socket}", os.path.join(corpus, "json"))


class Nginx(Server):
    """nginx from the same folder of files: as they are, gzipped beforehand, gzipped on the fly; plain and over TLS."""

    def __init__(self, bench, threads=None, origins=0):
        """With `origins`, the plain server listens at so many addresses more: targets of one origin share a connection."""
        folder = bench.folder("nginx")
        self.port, self.tls_port = free_port(), free_port()
        self.root = os.path.join(folder, "root")
        os.makedirs(self.root, exist_ok=True)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.getuid() == 0 else ""
        locations = f'''
            location /plain/ {{ alias {self.root}/; }}
            location /ready/ {{ alias {self.root}/; gzip_static always; }}
            location /fly/ {{ alias {self.root}/; gzip on; gzip_types *; gzip_min_length 0; gzip_comp_level 1; }}
            location /-/ {{ return 200 "ok\\n"; }}
            location /status {{ stub_status; }}
            '''
        more = " ".join(f"listen {self.origin(index)};" for index in range(origins))
        with open(os.path.join(folder, "nginx.conf"), "w") as file:
            file.write(f'''
            {user} worker_processes {threads or bench.threads}; daemon off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ worker_connections 8192; }}
            http {{
                {temporary}
                access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=10000;
                types {{ }} default_type "text/plain; version=0.0.4; charset=utf-8";
                server {{ listen {HOST}:{self.port} reuseport; {more} {locations} }}
                server {{
                    listen {HOST}:{self.tls_port} ssl reuseport; {locations}
                    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {bench.certificate}; ssl_certificate_key {bench.key};
                }}
            }}''')
        super().__init__([bench.nginx, "-p", folder, "-c", os.path.join(folder, "nginx.conf")], folder)
        self.until(lambda: fetch(self.port, "/-/")[0] == 200, "nginx")
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            self.workers = [int(pid) for pid in file.read().split()]
        self.pid = self.workers[0]

    def origin(self, index):
        return f"127.0.1.{index + 1}:{self.port}"

    def requests(self):
        """How many it has answered, this one not counted."""
        return int(fetch(self.port, "/status")[1].split(b"\n")[2].split()[2]) - 1

    def serve(self, name, body):
        """The file and, beside it, what zlib makes of it at level 1."""
        with open(os.path.join(self.root, name), "wb") as file:
            file.write(body)
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        compressed = compressor.compress(body) + compressor.flush()
        with open(os.path.join(self.root, name + ".gz"), "wb") as file:
            file.write(compressed)
        return len(compressed)


class Pushgateway(Server):
    """The figure that everyone knows, over TLS unless that is off."""

    def __init__(self, bench, tls=True):
        folder = bench.folder("pushgateway" if tls else "pushgateway-plain")
        self.port = free_port()
        web = os.path.join(folder, "web.yml")
        with open(web, "w") as file:
            if tls:
                file.write(f"tls_server_config:\n  cert_file: {bench.certificate}\n  key_file: {bench.key}\n")
        super().__init__(
            [bench.pushgateway, f"--web.listen-address={HOST}:{self.port}", f"--web.config.file={web}", "--persistence.file=",
             "--log.level=error"],
            folder, {"GOMAXPROCS": str(bench.threads)} if bench.threads > 1 else None)
        self.until(lambda: fetch(self.port, "/-/ready", tls=tls)[0] == 200, "prometheus-pushgateway")

    def fill(self, corpus):
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=60, context=ssl._create_unverified_context())
        folder = os.path.join(corpus, "apps")
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                connection.request("PUT", f"/metrics/job/{name}", file.read())
            response = connection.getresponse()
            response.read()
            if response.status not in (200, 202):
                raise SystemExit(f"prometheus-pushgateway answered {response.status}")
        connection.close()


class ExporterExporter(Server):
    """A reverse proxy for exporters. It asks one when it is scraped, and reads and writes anew what that answers, its default."""

    def __init__(self, bench, targets):
        """`targets`: {module: port}."""
        folder = bench.folder("exporter-exporter")
        self.port = free_port()
        config = os.path.join(folder, "config.yml")
        with open(config, "w") as file:
            file.write("modules:\n" + "".join(
                f"  {name}: {{method: http, timeout: 10s, http: {{address: {HOST}, port: {port}, path: /metrics}}}}\n"
                for name, port in targets.items()))
        super().__init__([bench.exporter_exporter, f"-web.listen-address={HOST}:{self.port}", f"-config.file={config}"], folder)
        self.until(lambda: fetch(self.port, "/metrics")[0] == 200, "prometheus-exporter-exporter")


class Front(Server):
    """nginx with TLS and gzip before a Pushgateway and exporter_exporter. It compresses, because the other two would take longer for it
    (Go, level 6); it keeps connections to them and writes no temporary files, which is less than its defaults do."""

    def __init__(self, bench, gateway, exporter):
        folder = bench.folder("front")
        self.port = free_port()
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.getuid() == 0 else ""
        with open(os.path.join(folder, "nginx.conf"), "w") as file:
            file.write(f'''
            {user} worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ }}
            http {{
                {temporary}
                access_log off; tcp_nopush on; keepalive_requests 1000000000;
                upstream gateway {{ server {HOST}:{gateway}; keepalive 4; }}
                upstream exporters {{ server {HOST}:{exporter}; keepalive 4; }}
                proxy_http_version 1.1; proxy_max_temp_file_size 0;
                proxy_set_header Connection ""; proxy_set_header Accept-Encoding "";
                gzip on; gzip_proxied any; gzip_types *; gzip_comp_level 1;
                server {{
                    listen {HOST}:{self.port} ssl;
                    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {bench.certificate}; ssl_certificate_key {bench.key};
                    location /metrics {{ proxy_pass http://gateway; }}
                    location /proxy {{ proxy_pass http://exporters; }}
                }}
            }}''')
        super().__init__([bench.nginx, "-p", folder, "-c", os.path.join(folder, "nginx.conf")], folder)
        self.until(lambda: fetch(self.port, "/metrics", tls=True)[0] == 200, "nginx")


class Sink(Server):
    """Takes pushes and throws them away: what no receiver can go below."""

    def __init__(self, bench, kind):
        folder = bench.folder(f"sink-{kind}")
        self.address = f"unix:{folder}/sink.sock" if kind == "unix" else f"tcp:{HOST}:{free_port()}"
        super().__init__([bench.driver("push_load"), "sink", self.address], folder)
        self.until(self.is_up, "the sink")

    def is_up(self):
        kind, rest = self.address.split(":", 1)
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(rest)
        else:
            with socket.create_connection((HOST, int(rest.rsplit(":", 1)[1]))):
                pass
        return True


def cpu_ns(servers):
    return sum(processes.cpu_ns(pid) for server in servers for pid in getattr(server, "workers", [server.pid]))


def find(name, unpacked):
    """The benchmark's own copy, or the one in PATH."""
    return unpacked if os.path.exists(unpacked) else shutil.which(name)
