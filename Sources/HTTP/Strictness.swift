/// How strictly a message is read. Requests may come from attackers, so ambiguous ones are refused. Responses come from targets in the
/// configuration, so they are read, as Prometheus does, if they can be read in only one way.
///
/// | what | in a request | in a response | RFC |
/// |---|---|---|---|
/// | a line that ends in a bare LF, in a head | read | read | 9112 §2.2 |
/// | empty lines before the message | skipped | `it does not begin with HTTP/` | 9112 §2.2 |
/// | a first byte that cannot begin a message | 400 `not an HTTP request` | `it does not begin with HTTP/` | 9112 §3, §4 |
/// | more than one space in the first line | 400 `malformed request line` | read | 9112 §3, §4 |
/// | HTTP/1.2 to HTTP/1.9 | read as HTTP/1.1 | read as HTTP/1.1 | 9110 §2.5 |
/// | another major version | 505 `unsupported HTTP version: use HTTP/1.1` | `unsupported version` | 9110 §2.5 |
/// | white space before a field's colon | 400 `malformed header line` | removed | 9112 §5.1 |
/// | a folded field line | 400 `malformed header line` | joined with a space | 9112 §5.2 |
/// | a field name that is not a token | 400 `malformed header line` | the field is ignored | 9112 §5.1 |
/// | a line without a colon | 400 `malformed header line` | `malformed header line` | 9112 §5 |
/// | a control character in a field that is used | 400 `a header has a control character` | `a header has a control character` | 9110 §5.5 |
/// | a control character in any other field | 400 `a header has a control character` | ignored | 9110 §5.5 |
/// | `Content-Length` twice, the same | 400 `more than one Content-Length` | read | 9112 §6.3 |
/// | `Content-Length` that differs or is not a number | 400 `malformed Content-Length` | `invalid Content-Length`, if it is needed | 9112 §6.3 |
/// | `Transfer-Encoding: chunked` and `Content-Length` | 400 `both Transfer-Encoding and Content-Length` | chunked; the connection ends | 9112 §6.3 |
/// | `Transfer-Encoding` in HTTP/1.0 | 400 `unexpected Transfer-Encoding` | read; the connection ends | 9112 §6.1 |
/// | another `Transfer-Encoding` | 501 `unsupported Transfer-Encoding: use chunked` | read until the end, for the caller to judge | 9112 §6.1 |
/// | `Host` that is missing or repeated | 400 `the Host header is missing`, `more than one Host header` | | 9112 §3.2 |
/// | a chunk line that ends in a bare LF | 400 `malformed chunked body` | read | 9112 §7.1 |
/// | a chunk size that is followed by anything but blanks and `;` | 400 `malformed chunk size` | `invalid chunk size` | 9112 §7.1 |
/// | a control character in a chunk extension | 400 `malformed chunked body` | ignored | 9112 §7.1.1 |
enum Strictness {
    case request
    case response
}
