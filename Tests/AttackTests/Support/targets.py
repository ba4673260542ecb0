#!/usr/bin/env python3
"""Hostile targets to poll, on a port that the system picks: `targets.py [ADDRESS]`. The path of a request says what is answered.

Prints the port, then one line for each request.
"""

import gzip
import socketserver
import sys
import time

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
BLOCK = 1 << 16


def forever(send, block, pause=0.0):
    while True:
        send(block)
        if pause:
            time.sleep(pause)


class Answers:
    """One method for each kind of target; each writes until the proxy ends the connection."""

    def endless_gzip(self, send):
        """Compressed zeros and more of them: a megabyte for each kilobyte sent."""
        import zlib

        send((HEAD + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        text = b"metric_with_a_name 1\n" * 50_000
        while True:
            block = packer.compress(text)
            if block:
                send(b"%x\r\n%b\r\n" % (len(block), block))

    def endless_text(self, send):
        send((HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode())
        forever(send, b"%x\r\n" % BLOCK + b"metric_1 1\n" * (BLOCK // 11) + b"\n" * (BLOCK % 11) + b"\r\n")

    def endless_extensions(self, send):
        """Chunks whose extensions never end where a read ends."""
        send((HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode())
        block = b"1;" + b"x" * 4000 + b"\r\na\r\n"
        forever(send, block * 8 + b"1;xxxxx")

    def endless_extension(self, send):
        """One chunk line without an end."""
        send((HEAD + "Transfer-Encoding: chunked\r\n\r\n1;").encode())
        forever(send, b"x" * BLOCK)

    def endless_head(self, send):
        send(HEAD.encode())
        forever(send, b"X-More: " + b"x" * 1000 + b"\r\n")

    def endless_trailers(self, send):
        send((HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n0\r\n").encode())
        forever(send, b"X-More: " + b"x" * 1000 + b"\r\n")

    def endless_continues(self, send):
        forever(send, b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    def tiny_chunks(self, send):
        send((HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode())
        forever(send, b"1\r\na\r\n" * 10_000)

    def tiny_members(self, send):
        """Gzip members of nothing, one after another."""
        send((HEAD + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        block = gzip.compress(b"") * 3000
        forever(send, b"%x\r\n%b\r\n" % (len(block), block))

    def trickle(self, send):
        send((HEAD + "Content-Length: 1000000\r\n\r\n").encode())
        forever(send, b"a", 0.05)

    def unasked(self, send):
        """A good answer, and much more that was not asked for."""
        send((HEAD + "Content-Length: 4\r\n\r\na 1\n").encode())
        forever(send, b"x" * BLOCK)

    def good(self, send):
        send((HEAD + "Content-Length: 7\r\n\r\ngood 1\n").encode())


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            received = b""
            while b"\r\n\r\n" not in received:
                block = self.request.recv(4096)
                if not block:
                    return
                received += block
            path = received.split(b" ")[1].decode()
            print(path, flush=True)
            words = path.strip("/").split("/")
            if words[0] == "redirect":
                # /redirect/HOST:PORT/PATH
                location = f"http://{words[1]}/{'/'.join(words[2:])}"
                self.request.sendall(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            getattr(Answers(), words[0].replace("-", "_"))(self.request.sendall)
        except (OSError, AttributeError):
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


with Server((sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
