"""Builds and sends Cap'n Proto pushes; used by the two scripts beside it."""

import contextlib
import pathlib
import socket
import ssl
import sys

import capnp

SCHEMA = capnp.load(str(pathlib.Path(__file__).with_name("inbound_metrics.capnp")))

SAMPLE = """\
# HELP {prefix}_http_requests_total HTTP requests answered.
# TYPE {prefix}_http_requests_total counter
{prefix}_http_requests_total{{method="post",code="200"}} 1027
{prefix}_http_requests_total{{method="post",code="400"}} 3
"""


def add_arguments(parser, app, prefix):
    """Adds what both scripts take: the app's name and its metrics."""
    parser.add_argument("--app", default=app, help="name of the app (%(default)s)")
    parser.add_argument("--file", type=pathlib.Path, help="metrics to send, in Prometheus's text format; a sample without it")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="send the message N times on one connection")
    parser.set_defaults(sample=SAMPLE.format(prefix=prefix))


@contextlib.contextmanager
def explained(what):
    """Ends the script with one line that says what failed and why, in place of a traceback."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        sys.exit(f"error: {what}: {getattr(error, 'strerror', None) or error}")


def messages(arguments):
    """The framed messages that the arguments ask for, as bytes."""
    with explained(f"cannot read {arguments.file}"):
        data = arguments.file.read_text(encoding="utf-8") if arguments.file else arguments.sample
    message = SCHEMA.InboundMetrics.new_message(appName=arguments.app, data=data)
    return message.to_bytes() * arguments.repeat


def push(connection, data, tls=None, server_name=None):
    """Sends all, says that nothing more comes, and waits for the proxy to close its side: only then is all of it applied.

    Returns what the proxy said: nothing when all is well, else one line.
    """
    exchange = exchange_plain if tls is None else exchange_tls
    return exchange(connection, data, tls, server_name).decode(errors="replace").strip()


def report(app, answer):
    """Prints the outcome; returns the exit status."""
    if answer:
        print(answer, file=sys.stderr)
        return 1
    print(f"sent {app}")
    return 0


def exchange_plain(connection, data, _tls, _server_name):
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        # A refused push may be closed before its end; the reason is still there to read.
        pass
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def exchange_tls(connection, data, context, server_name):
    # ssl.SSLSocket cannot close one direction and go on reading; an SSLObject between buffers can.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)

    def run(step):
        while True:
            try:
                result = step()
                connection.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                if part := connection.recv(65536):
                    incoming.write(part)
                else:
                    incoming.write_eof()

    run(tls.do_handshake)
    run(lambda: tls.write(data))
    try:
        tls.unwrap()
    except ssl.SSLWantReadError:
        # close_notify is written; the proxy's own comes when it has applied all.
        pass
    connection.sendall(outgoing.read())
    answer = b""
    try:
        while part := run(lambda: tls.read(65536)):
            answer += part
    except ssl.SSLZeroReturnError:
        pass
    return answer
