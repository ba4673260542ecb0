"""Targets over HTTPS that end as they like: python truncating_targets.py CERTIFICATES_FOLDER

Prints the port. A path names how the answer tells its length, and how the connection ends: `/until-close/close_notify`,
`/until-close/cut`, `/length/cut` (all bytes are there, close_notify is not), `/chunked/cut` (the last chunk is missing),
`/nothing/cut` (no byte of an answer).
"""

import socket
import ssl
import sys
import threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{sys.argv[1]}/server.pem", f"{sys.argv[1]}/server-key.pem")
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)

HEADS = {"until-close": "", "length": "Content-Length: 7\r\n", "chunked": "Transfer-Encoding: chunked\r\n"}


def serve(connection):
    tls = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
    request = b""
    while b"\r\n\r\n" not in request:
        piece = tls.recv(4096)
        if not piece:
            return
        request += piece
    _, kind, end = request.split(b" ")[1].decode().split("/")
    if kind != "nothing":
        answer(tls, kind)
    if end == "close_notify":
        tls.unwrap()
        return
    raw = socket.socket(fileno=tls.detach())
    raw.shutdown(socket.SHUT_WR)
    raw.close()


def answer(tls, kind):
    body = "b 1\nc 2" if kind != "chunked" else "7\r\nb 1\nc 2\r\n"
    tls.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{HEADS[kind]}\r\n{body}".encode())


while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
