import NIOCore

/// What a client's first bytes on a TLS port look like.
enum FirstBytes: Equatable {
    /// A request in plain HTTP.
    case plainHTTP
    /// Neither TLS nor HTTP.
    case notTLS
    /// TLS, or something that OpenSSL will refuse.
    case other
    /// Too few to tell.
    case undecided

    private static let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI "]

    init(_ bytes: ByteBufferView) {
        guard let first = bytes.first else {
            self = .undecided
            return
        }
        // Records of TLS begin with a number from 20 to 24 (RFC 8446 §5.1), the hello of SSL 2.0 with its highest bit set.
        guard !(20...24).contains(first), first < 0x80 else {
            self = .other
            return
        }
        self = .notTLS
        for method in Self.methods {
            if bytes.starts(with: method.utf8) { self = .plainHTTP }
            if bytes.count < method.utf8.count, method.utf8.starts(with: bytes) { self = .undecided }
        }
    }
}
