"""Targets that redirect elsewhere: python redirecting_targets.py CERTIFICATES_FOLDER

`home` speaks HTTPS and insists on a client certificate; its paths redirect to `away` (HTTPS, asks for a certificate), to `plain` (HTTP),
and to what cannot be followed; `plain` leads to `home` and `away`. Prints the ports, then a line of JSON for each request: which server,
path, whether there was a client certificate, and the fields that must stay at home.
"""

import http.server
import json
import ssl
import sys
import threading

FOLDER = sys.argv[1]
SECRET = ["authorization", "x-api-key", "cookie"]
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        certificate = bool(self.connection.getpeercert()) if isinstance(self.connection, ssl.SSLSocket) else False
        seen = {name: self.headers[name] for name in SECRET if self.headers[name]}
        with lock:
            print(json.dumps({"server": self.server.name, "path": self.path, "certificate": certificate, "secrets": seen}), flush=True)
        location = self.server.redirects.get(self.path)
        body = b"away 1\n"
        self.send_response(302 if location else 200)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def serve(name, verify=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.name, server.redirects = name, {}
    if verify is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{FOLDER}/server.pem", f"{FOLDER}/server-key.pem")
        context.load_verify_locations(f"{FOLDER}/ca.pem")
        context.verify_mode = verify
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


home, away, plain = serve("home", ssl.CERT_REQUIRED), serve("away", ssl.CERT_OPTIONAL), serve("plain")
home.redirects = {
    "/port": f"https://localhost:{away.server_port}/port",
    "/host": f"https://127.0.0.1:{home.server_port}/host-again",
    "/downgrade": f"http://localhost:{plain.server_port}/downgrade",
    "/userinfo": f"https://mallory:location-s3cret@localhost:{away.server_port}/userinfo",
    "/back": f"http://localhost:{plain.server_port}/back",
    "/scheme": "ftp://mallory:location-s3cret@localhost/",
    "/nonsense": "https://mallory:location-s3cret@localhost:0/",
}
plain.redirects = {
    "/back": f"https://localhost:{home.server_port}/came-back",
    "/upgrade": f"https://localhost:{away.server_port}/upgraded",
}
print(home.server_port, away.server_port, plain.server_port, flush=True)
threading.Event().wait()
