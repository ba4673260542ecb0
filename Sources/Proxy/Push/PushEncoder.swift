import HTTP
public import NIOCore

/// One app's metrics as one push message, given out in pieces, so that a large one is never in memory twice.
public struct PushEncoder: Sendable {
    /// The longest text that a list pointer of Cap'n Proto can point to: 29 bits, the final NUL included.
    public static let maxCapnpText = (1 << 29) - 2

    /// Why metrics cannot be pushed; found before a byte is sent.
    public enum InvalidMetrics: Error, Equatable, Sendable, CustomStringConvertible {
        case notUTF8(line: Int)
        case nulByte(line: Int)
        /// More than the format can carry.
        case tooLarge(limit: Int)

        /// In lower case, without a final period.
        public var description: String {
            switch self {
            case .notUTF8(let line): "line \(line) is not valid UTF-8"
            case .nulByte(let line): "line \(line) holds a NUL byte, which would hide other apps from Prometheus"
            case .tooLarge(let limit): "more than \(limit) bytes do not fit into a message of this format"
            }
        }
    }

    private static let pieceSize = 64 << 10

    private var head: ByteBuffer?
    private var metrics: ByteBuffer
    /// Whether the metrics stand in a JSON string.
    private let isEscaped: Bool
    private var tail: ByteBuffer?

    /// - Parameter metrics: Prometheus's text format, or whatever else is UTF-8 without NUL: it is sent as it is.
    public init(app: AppName, metrics: ByteBuffer, format: PushFormat) throws(InvalidMetrics) {
        if let fault = metrics.withUnsafeReadableBytes(PushEncoder.fault) { throw fault }
        self.metrics = metrics
        isEscaped = format == .json
        switch format {
        case .json:
            var json = JSONWriter(capacity: 2 * AppName.maxLength + 8)
            json.raw("{")
            json.string(app.description)
            json.raw(":\"")
            head = json.buffer
            // The empty line is white space to a receiver. A web server takes it for the end of a request and answers at once.
            tail = ByteBuffer(string: "\"}\r\n\r\n")
        case .capnp:
            guard metrics.readableBytes <= PushEncoder.maxCapnpText else { throw .tooLarge(limit: PushEncoder.maxCapnpText) }
            head = PushEncoder.capnpHead(app: app, size: metrics.readableBytes)
            // The final NUL of the text, and zeros up to a whole word.
            tail = ByteBuffer(repeating: 0, count: 8 - metrics.readableBytes % 8)
        }
    }

    /// The same as an HTTP request that puts them in the place of the app's metrics.
    /// - Parameters:
    ///   - metrics: as above.
    ///   - host: the value of `Host`.
    ///   - user: the name and the password for basic auth.
    public init(
        app: AppName, metrics: ByteBuffer, host: String, user: (name: String, password: [UInt8])? = nil
    ) throws(InvalidMetrics) {
        if let fault = metrics.withUnsafeReadableBytes(PushEncoder.fault) { throw fault }
        self.metrics = metrics
        isEscaped = false
        let path = "/apps/" + PercentEncoding.encode(app.description, keepsSlash: true)
        let authorization = user.map {
            "Authorization: Basic \(Base64.encode(Array($0.name.utf8) + [UInt8(ascii: ":")] + $0.password))\r\n"
        }
        head = ByteBuffer(
            string: """
                PUT \(path) HTTP/1.1\r
                Host: \(host)\r
                User-Agent: exporter-proxy/\(ProgramVersion.current)\r
                Content-Type: text/plain; version=0.0.4; charset=utf-8\r
                Content-Length: \(metrics.readableBytes)\r
                Connection: close\r
                \(authorization ?? "")\r

                """)
    }

    /// The next bytes to send; `nil` when the message is complete.
    public mutating func next() -> ByteBuffer? {
        if let head {
            self.head = nil
            return head
        }
        if let piece = metrics.readSlice(length: min(PushEncoder.pieceSize, metrics.readableBytes)), piece.readableBytes > 0 {
            return isEscaped ? PushEncoder.escaped(piece) : piece
        }
        defer { tail = nil }
        return tail
    }

    // MARK: Cap'n Proto

    /// All up to the metrics' bytes: one segment, whose struct `InboundMetrics` has two pointers and no data (capnproto.org/encoding.html).
    private static func capnpHead(app: AppName, size: Int) -> ByteBuffer {
        let name = app.description.utf8
        // Each text ends in a NUL and fills whole words.
        let nameWords = name.count / 8 + 1
        let words = 3 + nameWords + size / 8 + 1
        var head = ByteBuffer()
        head.reserveCapacity(8 * (4 + nameWords))
        // The segment table: segments less one, words of the first.
        head.writeInteger(0, endianness: .little, as: UInt32.self)
        head.writeInteger(UInt32(words), endianness: .little)
        // The root: a struct right behind its pointer, without data words, with two pointers.
        head.writeInteger(UInt64(2) << 48, endianness: .little)
        // Behind the two pointers stands the name, behind that the metrics.
        head.writeInteger(textPointer(offset: 1, length: name.count), endianness: .little)
        head.writeInteger(textPointer(offset: nameWords, length: size), endianness: .little)
        head.writeBytes(name)
        head.writeRepeatingByte(0, count: 8 * nameWords - name.count)
        return head
    }

    /// A list pointer: its kind, words from its end to the text, the size class of bytes, and the length with the final NUL.
    private static func textPointer(offset: Int, length: Int) -> UInt64 {
        1 | UInt64(offset) << 2 | UInt64(2) << 32 | UInt64(length + 1) << 35
    }

    // MARK: JSON

    /// The bytes as they stand in a JSON string (RFC 8259 §7).
    private static func escaped(_ piece: ByteBuffer) -> ByteBuffer {
        var result = ByteBuffer()
        piece.withUnsafeReadableBytes { bytes in
            // Most lines of metrics have a few quotes and one line break.
            result.reserveCapacity(bytes.count + bytes.count / 4)
            var plain = 0
            for (index, byte) in bytes.enumerated() where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                result.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[plain..<index]))
                result.writeString(escape(of: byte))
                plain = index + 1
            }
            result.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[plain...]))
        }
        return result
    }

    private static func escape(of byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "\""): "\\\""
        case UInt8(ascii: "\\"): "\\\\"
        case UInt8(ascii: "\n"): "\\n"
        case UInt8(ascii: "\r"): "\\r"
        case UInt8(ascii: "\t"): "\\t"
        default: (byte < 0x10 ? "\\u000" : "\\u00") + String(byte, radix: 16)
        }
    }

    // MARK: Faults

    private static func fault(in bytes: UnsafeRawBufferPointer) -> InvalidMetrics? {
        switch bytes.textFault {
        case .invalidUTF8: .notUTF8(line: line(in: bytes) { $0.textFault == .invalidUTF8 })
        case .nulByte: .nulByte(line: line(in: bytes) { $0.textFault == .nulByte })
        case nil: nil
        }
    }

    /// The number of the first line, from 1, that `isFaulty`; no character of UTF-8 has a line break within it.
    private static func line(in bytes: UnsafeRawBufferPointer, where isFaulty: (UnsafeRawBufferPointer) -> Bool) -> Int {
        var number = 1
        var rest = bytes
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if isFaulty(UnsafeRawBufferPointer(rebasing: rest[..<end])) { return number }
            rest = UnsafeRawBufferPointer(rebasing: rest[(end + 1)...])
            number += 1
        }
        return number
    }
}
