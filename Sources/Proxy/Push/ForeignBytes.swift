import NIOCore

/// A format or protocol that a receiver does not accept.
public enum ForeignBytes: Hashable, Sendable {
    case json
    case capnp
    case http
    case tls
    case gzip
}

/// The format of a connection's first bytes if they do not begin a message of the receiver's format. Only a certain match gets a name.
enum UnexpectedBeginning: Hashable {
    case foreign(ForeignBytes)
    /// A number, the size of the object, before a JSON object.
    case lengthPrefix
    case byteOrderMark
    /// The first byte of metrics in the text format, perhaps.
    case text(UInt8)
    case other(UInt8)

    /// More bytes are never needed.
    static let longest = 24

    private static let signatures: [(kind: UnexpectedBeginning, bytes: [UInt8])] =
        [
            // A handshake record (RFC 8446 §5.1).
            (.foreign(.tls), [0x16, 0x03]),
            // RFC 1952 §2.3.1.
            (.foreign(.gzip), [0x1F, 0x8B]),
            (.byteOrderMark, [0xEF, 0xBB, 0xBF]),
            // The preface of HTTP/2 (RFC 9113 §3.4).
            (.foreign(.http), Array("PRI * HTTP/2".utf8)),
            (.foreign(.http), Array("CONNECT ".utf8)),
            (.foreign(.http), Array("OPTIONS *".utf8)),
        ]
        + ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"].flatMap { method in
            // The target is a path or a URL (RFC 9112 §3.2).
            [(.foreign(.http), Array("\(method) /".utf8)), (.foreign(.http), Array("\(method) http".utf8))]
        }

    /// Checks bytes that begin with neither white space nor an opening brace, or those that a Cap'n Proto receiver refuses.
    /// - Parameters:
    ///   - bytes: the connection's first bytes, without white space before them.
    ///   - isAll: whether no more bytes can follow.
    /// - Returns: `nil` when more bytes are needed to tell.
    static func look(at bytes: some Collection<UInt8>, isAll: Bool) -> UnexpectedBeginning? {
        let beginning = Array(bytes.prefix(longest))
        guard let first = beginning.first else { return isAll ? .other(0) : nil }
        if first == UInt8(ascii: "{") { return .foreign(.json) }
        let needsMore = !isAll && beginning.count < longest
        for (kind, signature) in signatures {
            if beginning.starts(with: signature) { return kind }
            if needsMore, signature.starts(with: beginning) { return nil }
        }
        if isText(first) { return .text(first) }
        guard isBinary(first) else { return .other(first) }
        switch beginsCapnp(beginning) {
        case true?: return .foreign(.capnp)
        case nil where needsMore: return nil
        default: break
        }
        if let brace = beginning.prefix(9).firstIndex(of: UInt8(ascii: "{")) {
            return [1, 2, 4, 8].contains(brace) && beginning[..<brace].contains { $0 > 0 } ? .lengthPrefix : .other(first)
        }
        return needsMore && beginning.count < 9 ? nil : .other(first)
    }

    /// A name, or a comment.
    private static func isText(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: ":"),
            UInt8(ascii: "#"):
            true
        default: false
        }
    }

    private static func isBinary(_ byte: UInt8) -> Bool { byte < 0x20 || byte >= 0x7F }

    /// Whether a message of one or two segments begins here, as nearly every client writes them: the segment table, then a pointer to a
    /// struct (capnproto.org/encoding.html).
    /// - Returns: `nil` when more bytes are needed to tell.
    private static func beginsCapnp(_ bytes: [UInt8]) -> Bool? {
        func number(at index: Int, bytes count: Int) -> UInt64? {
            guard bytes.count >= index + count else { return nil }
            return bytes[index..<index + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        for (byte, most) in zip(bytes.prefix(4), [1, 0, 0, 0] as [UInt8]) where byte > most { return false }
        guard let segments = number(at: 0, bytes: 4), let words = number(at: 4, bytes: 4) else { return nil }
        guard (1..<1 << 27).contains(words) else { return false }
        guard let root = number(at: segments == 0 ? 8 : 16, bytes: 8) else { return nil }
        let (dataWords, pointers) = (root >> 32 & 0xFFFF, root >> 48)
        switch root & 3 {
        case 0: return dataWords <= 32 && (1...32).contains(pointers)
        // A far pointer: the struct is in the other segment.
        case 2: return segments == 1
        default: return false
        }
    }

    /// For a receiver of `format`: why these bytes are refused.
    func rejection(expected format: PushFormat) -> Rejection {
        switch self {
        case .foreign(let found): .wrongFormat(found, expected: format)
        case .lengthPrefix:
            .malformed(
                format,
                "found a number, perhaps a length, in front of a JSON object: send \(Self.wanted(format)) without a length in front of it")
        case .byteOrderMark:
            .malformed(
                format, "found a byte order mark (bytes 0xef 0xbb 0xbf) where \(Self.wanted(format)) should begin: send UTF-8 without one")
        case .text(let byte):
            .malformed(
                format,
                "found \(Self.shown(byte)) where \(Self.wanted(format)) should begin: a file of metrics is sent with exporter-proxy push --app NAME --to ADDRESS FILE"
            )
        case .other(let byte): .malformed(format, "found \(Self.shown(byte)) where \(Self.wanted(format)) should begin")
        }
    }

    /// A byte as messages show it.
    static func shown(_ byte: UInt8) -> String {
        if (0x21..<0x7F).contains(byte) { return "'\(Character(UnicodeScalar(byte)))'" }
        return (byte < 0x10 ? "byte 0x0" : "byte 0x") + String(byte, radix: 16)
    }

    private static func wanted(_ format: PushFormat) -> String {
        switch format {
        case .json: "an object"
        case .capnp: "a message's segment table"
        }
    }
}
