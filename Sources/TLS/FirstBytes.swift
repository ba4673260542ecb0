import NIOCore

/// What a client's first bytes on a TLS port look like.
enum FirstBytes: Equatable {
    /// A request in plain HTTP.
    case plainHTTP
    /// TLS, or something that OpenSSL will refuse.
    case other
    /// Too few to tell.
    case undecided

    private static let methods = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI "]

    init(_ bytes: ByteBufferView) {
        // Records of TLS start with a number from 20 to 24, so a letter never does.
        guard let first = bytes.first, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first) else {
            self = bytes.isEmpty ? .undecided : .other
            return
        }
        self = .other
        for method in Self.methods {
            if bytes.starts(with: method.utf8) { self = .plainHTTP }
            if bytes.count < method.utf8.count, method.utf8.starts(with: bytes) { self = .undecided }
        }
    }
}
