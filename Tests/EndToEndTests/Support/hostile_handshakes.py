"""Hostile handshakes against a TLS port: python hostile_handshakes.py PORT CA_FILE

Each attack is made on a connection of its own; afterwards an honest client must be served. Prints one line for each attack:
its name, then how the server ended it ("alert NAME", "closed", "nothing"). Exits with 1 when the server did anything that it must not.
"""

import os
import socket
import ssl
import struct
import sys
import time

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import AlertDescription, CipherSuite, ExtensionType
from tlslite.errors import TLSAbruptCloseError, TLSLocalAlert, TLSRemoteAlert

PORT = int(sys.argv[1])
CA = sys.argv[2]
PATIENCE = 20
failures = []


def connect():
    return socket.create_connection(("127.0.0.1", PORT), PATIENCE)


def honest(version=None):
    """A client that does everything right."""
    context = ssl.create_default_context(cafile=CA)
    if version:
        context.minimum_version = context.maximum_version = version
    with context.wrap_socket(connect(), server_hostname="localhost") as tls:
        tls.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while True:
            piece = tls.recv(4096)
            if not piece:
                break
            answer += piece
    return answer.startswith(b"HTTP/1.1 200 ")


def end_of(sock, reset="closed"):
    """How the server ended the connection: reads until it closes, or resets."""
    data = b""
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                break
            data += piece
    except ConnectionError:
        if reset != "closed":
            return reset
    except TimeoutError:
        return "nothing"
    # The last record tells, when it is an alert that is not encrypted.
    last = None
    while len(data) >= 5:
        kind, _, length = struct.unpack(">BHH", data[:5])
        last = (kind, data[5 : 5 + length])
        data = data[5 + length :]
    if last and last[0] == 21 and len(last[1]) == 2:
        return "alert " + AlertDescription.toStr(last[1][1])
    return "closed"


def attack(name, expected, body):
    try:
        result = body()
    except TLSRemoteAlert as error:
        result = "alert " + AlertDescription.toStr(error.description)
    except (TLSAbruptCloseError, ConnectionError):
        result = "closed"
    print(f"{name}: {result}", flush=True)
    if result not in expected:
        failures.append(f"{name}: {result}, expected one of {expected}")


def raw(data, half_close=False):
    def body():
        with connect() as sock:
            try:
                sock.sendall(data)
                if half_close:
                    sock.shutdown(socket.SHUT_WR)
            except ConnectionError:
                pass
            return end_of(sock)

    return body


def record(kind, payload, version=0x0301):
    return struct.pack(">BHH", kind, version, len(payload)) + payload


def handshake(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def hello(version=0x0303, suites=(0x1301, 0xC02B, 0xC02F), extensions=b"", session=b"", compressions=b"\x00", random=None):
    body = struct.pack(">H", version) + (random or os.urandom(32))
    body += bytes([len(session)]) + session
    body += struct.pack(">H", 2 * len(suites)) + b"".join(struct.pack(">H", suite) for suite in suites)
    body += bytes([len(compressions)]) + compressions
    if extensions is not None:
        body += struct.pack(">H", len(extensions)) + extensions
    return handshake(1, body)


def extension(number, body):
    return struct.pack(">HH", number, len(body)) + body


SIGNATURES = extension(13, b"\x00\x06\x04\x03\x08\x04\x04\x01")
GROUPS = extension(10, b"\x00\x04\x00\x1d\x00\x17")
TLS13 = extension(43, b"\x02\x03\x04")


def settings(**changes):
    result = HandshakeSettings()
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def client(**changes):
    """A handshake of tlslite-ng with settings of its own."""

    def body():
        with connect() as sock:
            connection = TLSConnection(sock)
            connection.handshakeClientCert(settings=settings(**changes), serverName="localhost")
            return "connected"

    return body


def interrupted(after):
    """Leaves in the middle of the handshake, after so many bytes of a good ClientHello."""
    return raw(record(22, hello(extensions=SIGNATURES + GROUPS))[:after], half_close=True)


def renegotiation():
    """Asks for a second handshake on a TLS 1.2 connection."""
    with connect() as sock:
        connection = TLSConnection(sock)
        connection.handshakeClientCert(settings=settings(maxVersion=(3, 3)), serverName="localhost")
        from tlslite.messages import ClientHello

        again = ClientHello().create((3, 3), bytearray(os.urandom(32)), bytearray(), [CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256])
        for _ in connection._sendMsg(again):
            pass
        try:
            connection.write(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.read(max=4096)
        except TLSRemoteAlert as error:
            return "alert " + AlertDescription.toStr(error.description)
        except TLSLocalAlert:
            return "refused"
        return "went on" if bytes(answer).startswith(b"HTTP/1.1 200") else "closed"


def truncation():
    """Half a request, then an end without close_notify: no answer may come of it."""
    context = ssl.create_default_context(cafile=CA)
    tls = context.wrap_socket(connect(), server_hostname="localhost", suppress_ragged_eofs=False)
    tls.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: loc")
    raw_socket = socket.socket(fileno=tls.detach())
    raw_socket.settimeout(PATIENCE)
    raw_socket.shutdown(socket.SHUT_WR)
    data = b""
    try:
        while True:
            piece = raw_socket.recv(65536)
            if not piece:
                break
            data += piece
    except ConnectionError:
        pass
    # Nothing but alerts and tickets: an answer of 150 bytes would show.
    return "answered" if sum(1 for _ in data) > 1200 else "closed"


def unread():
    """Sends on after a hello that is refused: a reset, caused by bytes that nobody read, must not overtake the alert."""
    with connect() as sock:
        try:
            sock.sendall(record(22, hello(version=0x0302, extensions=SIGNATURES + GROUPS + extension(21, bytes(12000)))))
            for _ in range(20):
                sock.sendall(bytes(20_000))
                time.sleep(0.01)
            sock.shutdown(socket.SHUT_WR)
        except ConnectionError:
            return "reset"
        return end_of(sock, reset="reset")


def corrupted():
    """A record with a wrong authentication tag."""
    with connect() as sock:
        connection = TLSConnection(sock)
        connection.handshakeClientCert(settings=settings(maxVersion=(3, 3)), serverName="localhost")
        sock.sendall(record(23, os.urandom(64), 0x0303))
        try:
            connection.read(max=1)
        except TLSRemoteAlert as error:
            return "alert " + AlertDescription.toStr(error.description)
    return "closed"


def warnings_flood():
    """Warning alerts without end."""
    with connect() as sock:
        connection = TLSConnection(sock)
        connection.handshakeClientCert(settings=settings(maxVersion=(3, 3)), serverName="localhost")
        from tlslite.messages import Alert

        try:
            for _ in range(1000):
                for _ in connection._sendMsg(Alert().create(AlertDescription.no_certificate, 1)):
                    pass
            connection.read(max=1)
        except TLSRemoteAlert as error:
            return "alert " + AlertDescription.toStr(error.description)
    return "closed"


def slow():
    """A ClientHello, one byte at a time, while an honest client is served."""
    data = record(22, hello(extensions=SIGNATURES + GROUPS))
    with connect() as sock:
        for position in range(40):
            sock.sendall(data[position : position + 1])
            if position % 10 == 0 and not honest():
                return "others were delayed"
    return "others were served"


def many():
    """Two hundred handshakes that nobody goes on with, while an honest client is served."""
    held = [connect() for _ in range(200)]
    for sock in held:
        sock.sendall(record(22, hello(extensions=SIGNATURES + GROUPS)))
    served = honest()
    for sock in held:
        sock.close()
    return "others were served" if served else "others were delayed"


REFUSED = {
    "alert decode_error", "alert unexpected_message", "alert illegal_parameter", "alert record_overflow", "alert handshake_failure",
    "alert protocol_version", "alert internal_error", "alert missing_extension", "alert bad_record_mac", "alert decrypt_error", "closed",
}

attack("SSL 2 hello", REFUSED, raw(b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + os.urandom(37)))
attack("SSL 3 hello", {"alert protocol_version", "alert handshake_failure"}, raw(record(22, hello(version=0x0300, extensions=None), 0x0300)))
attack("TLS 1.0 alone", {"alert protocol_version"}, raw(record(22, hello(version=0x0301, extensions=SIGNATURES + GROUPS))))
attack("TLS 1.1 alone", {"alert protocol_version"}, raw(record(22, hello(version=0x0302, extensions=SIGNATURES + GROUPS))))
attack("refused, with much behind it", {"alert protocol_version"}, unread)
attack("TLS 1.1 by tlslite", {"alert protocol_version"}, client(minVersion=(3, 1), maxVersion=(3, 2)))
attack("downgrade (fallback SCSV)", {"alert inappropriate_fallback", "alert protocol_version"},
       raw(record(22, hello(suites=(0xC02B, 0x5600), extensions=SIGNATURES + GROUPS))))
attack("no common suite", {"alert handshake_failure"}, raw(record(22, hello(suites=(0x0004, 0x0005, 0x002F), extensions=SIGNATURES + GROUPS))))
attack("anonymous suites", {"alert handshake_failure"}, raw(record(22, hello(suites=(0xC018, 0x0034), extensions=SIGNATURES + GROUPS))))
attack("no suites at all", REFUSED, raw(record(22, hello(suites=(), extensions=SIGNATURES))))
attack("no null compression", REFUSED, raw(record(22, hello(compressions=b"\x01", extensions=SIGNATURES + GROUPS))))
attack("TLS 1.3 without key share or groups", REFUSED, raw(record(22, hello(suites=(0x1301,), extensions=TLS13 + SIGNATURES))))
attack("TLS 1.3 without signatures", REFUSED, raw(record(22, hello(suites=(0x1301,), extensions=TLS13 + GROUPS))))
attack("X25519 share of zeros", REFUSED, raw(record(22, hello(
    suites=(0x1301,), extensions=TLS13 + SIGNATURES + GROUPS + extension(51, b"\x00\x24\x00\x1d\x00\x20" + bytes(32))))))
attack("a point off the curve", REFUSED, raw(record(22, hello(
    suites=(0x1301,), extensions=TLS13 + SIGNATURES + GROUPS + extension(51, b"\x00\x45\x00\x17\x00\x41\x04" + b"\x01" * 64)))))
attack("repeated extension", REFUSED, raw(record(22, hello(extensions=SIGNATURES + SIGNATURES + GROUPS))))
attack("pre-shared key that is not last", REFUSED, raw(record(22, hello(
    suites=(0x1301,), extensions=extension(41, b"\x00\x07\x00\x01a\x00\x00\x00\x00\x00\x21\x20" + bytes(32)) + TLS13 + SIGNATURES + GROUPS))))
attack("server name of 64 KiB", REFUSED | {"alert unrecognized_name"}, raw(record(22, hello(
    extensions=SIGNATURES + GROUPS + extension(0, b"\x3e\x80\x00\x3e\x7d" + b"a" * 16000)))))
attack("ALPN of empty names", REFUSED, raw(record(22, hello(extensions=SIGNATURES + GROUPS + extension(16, b"\x00\x01\x00")))))
attack("only h2 by ALPN", {"alert no_application_protocol"}, raw(record(22, hello(extensions=SIGNATURES + GROUPS + extension(16, b"\x00\x03\x02h2")))))
attack("extensions cut short", REFUSED, raw(record(22, hello(extensions=SIGNATURES + GROUPS)[:-3] + b"\xff\xff\xff")))
attack("length beyond the message", REFUSED, raw(record(22, b"\x01\x00\x00\x05abcde")))
attack("hello of 16 MiB announced", REFUSED, raw(record(22, b"\x01\xff\xff\xff" + bytes(16000)) * 64))
attack("record of 65535 bytes", REFUSED, raw(record(22, bytes(65535))))
attack("empty records without end", REFUSED, raw(record(22, b"") * 5000))
attack("application data first", REFUSED, raw(record(23, b"GET / HTTP/1.1\r\n\r\n")))
attack("alert first", REFUSED, raw(record(21, b"\x02\x28")))
attack("close_notify first", REFUSED | {"alert close_notify"}, raw(record(21, b"\x01\x00")))
attack("change_cipher_spec first", REFUSED, raw(record(20, b"\x01") * 100))
attack("finished first", REFUSED, raw(record(22, handshake(20, os.urandom(12)))))
attack("server's own message", REFUSED, raw(record(22, handshake(2, os.urandom(70)))))
attack("unknown record type", REFUSED, raw(record(99, os.urandom(70))))
attack("heartbeat", REFUSED, raw(record(22, hello(extensions=SIGNATURES + GROUPS + extension(15, b"\x01"))) + record(24, b"\x01\x40\x00", 0x0303)))
attack("random bytes", REFUSED, raw(os.urandom(4096)))
attack("zeros", REFUSED, raw(bytes(4096)))
for length in (0, 1, 4, 5, 6, 50):
    attack(f"leaves after {length} bytes", REFUSED, interrupted(length))
attack("renegotiation", {"alert no_renegotiation", "refused", "closed", "alert unexpected_message", "went on"}, renegotiation)
attack("truncation", {"closed"}, truncation)
attack("forged record", {"alert bad_record_mac"}, corrupted)
attack("flood of warnings", {"alert unexpected_message", "closed"}, warnings_flood)
attack("one byte at a time", {"others were served"}, slow)
attack("two hundred at once", {"others were served"}, many)

for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    if not honest(version):
        failures.append(f"{version}: an honest client is not served any more")

for failure in failures:
    print("FAILED " + failure)
sys.exit(1 if failures else 0)
