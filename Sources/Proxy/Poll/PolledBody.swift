public import NIOCore

/// The body of one response: collected in pieces, and read as metrics when it is complete.
public struct PolledBody: Sendable {
    private var bytes: BodyBytes
    /// The proxies whose metrics the body contains.
    private let instances: [String]

    /// - Parameters:
    ///   - expected: the length of the body as it is sent, if it is known.
    ///   - limit: the largest body, uncompressed.
    ///   - budget: for all bodies together, `poll_external.max_inflight_size`.
    ///   - instances: the proxies whose metrics the body contains.
    /// - Throws: `.bodyTooLarge` when the length is already too large. The length of a compressed body does not count.
    public init(
        coding: BodyBytes.Coding, expected: Int?, limit: ByteCount, budget: ByteBudget, instances: [String] = []
    ) throws(PollFailure) {
        do throws(BodyBytes.Fault) {
            bytes = try BodyBytes(coding: coding, expected: expected, limit: limit, budget: budget)
        } catch {
            throw PollFailure(error)
        }
        self.instances = instances
    }

    /// `Content-Length`, when there is one.
    public var expected: Int? { bytes.expected }

    /// The received bytes, before uncompressing.
    public var received: Int { bytes.received }

    /// Adds the next piece.
    /// - Throws: `.bodyTooLarge`, `.tooMuchInFlight`; the body cannot be used then.
    public mutating func append(_ piece: consuming ByteBuffer) throws(PollFailure) {
        do throws(BodyBytes.Fault) { try bytes.append(piece) } catch { throw PollFailure(error) }
    }

    /// The metrics: uncompressed, checked, without a trailing `# EOF` line, ending in a newline. An empty body has none.
    /// - Parameter refusingOtherFormats: whether HTML and JSON are failures.
    /// - Returns: `nil` when it would take too long for an event loop; `exposition` does it then.
    public func smallExposition(refusingOtherFormats: Bool) throws(PollFailure) -> Exposition? {
        try text(most: BodyBytes.smallSize).map { text throws(PollFailure) in
            try exposition(of: text, refusingOtherFormats: refusingOtherFormats)
        }
    }

    /// As `smallExposition`, for any size; it takes up to some milliseconds per MiB.
    public func exposition(refusingOtherFormats: Bool) throws(PollFailure) -> Exposition {
        guard let text = try text(most: .max) else { return .empty }
        return try exposition(of: text, refusingOtherFormats: refusingOtherFormats)
    }

    private func exposition(of text: consuming ByteBuffer, refusingOtherFormats: Bool) throws(PollFailure) -> Exposition {
        let exposition = try Exposition(polledBody: text, refusingOtherFormats: refusingOtherFormats)
        return instances.isEmpty ? exposition : exposition.containing(instances)
    }

    private func text(most: Int) throws(PollFailure) -> ByteBuffer? {
        do throws(BodyBytes.Fault) { return try bytes.whole(most: most) } catch { throw PollFailure(error) }
    }
}

extension PollFailure {
    fileprivate init(_ fault: BodyBytes.Fault) {
        switch fault {
        case .tooLarge(let limit): self = .bodyTooLarge(limit: limit)
        case .tooMuchInFlight(let limit): self = .tooMuchInFlight(limit: limit)
        case .gzip(.truncated): self = .truncatedGzip
        case .gzip(.corrupt): self = .corruptGzip("it is not gzip, or its check value is wrong")
        case .gzip(.trailingGarbage): self = .corruptGzip("other bytes follow it")
        case .gzip(.outOfMemory): self = .corruptGzip("no memory is left to uncompress it")
        case .gzip(.tooLarge(let limit)): self = .bodyTooLarge(limit: ByteCount(limit))
        }
    }
}

extension Exposition {
    /// The metrics of a complete body: checked, without a trailing `# EOF` line, ending in a newline. An empty body has none.
    /// - Parameter refusingOtherFormats: whether HTML and JSON are failures.
    /// - Throws: `.invalidUTF8`, `.nulByte` or `.otherFormat`.
    public init(polledBody body: consuming ByteBuffer, refusingOtherFormats: Bool = false) throws(PollFailure) {
        if refusingOtherFormats, let format = body.withUnsafeReadableBytes(OtherFormat.init(beginning:)) { throw .otherFormat(format) }
        switch body.withUnsafeReadableBytes({ $0.textFault }) {
        case .invalidUTF8: throw .invalidUTF8
        case .nulByte: throw .nulByte
        case nil: break
        }
        let length = body.withUnsafeReadableBytes(Exposition.lengthWithoutEOFLine)
        body.moveWriterIndex(to: body.readerIndex + length)
        self.init(addingNewlineTo: body)
    }

    /// The number of bytes before a last line `# EOF`; all bytes without such a line.
    private static func lengthWithoutEOFLine(_ bytes: UnsafeRawBufferPointer) -> Int {
        let mark = "# EOF".utf8
        var end = bytes.count
        if end > 0, bytes[end - 1] == UInt8(ascii: "\n") { end -= 1 }
        let start = end - mark.count
        guard start >= 0, bytes[start..<end].elementsEqual(mark) else { return bytes.count }
        guard start == 0 || bytes[start - 1] == UInt8(ascii: "\n") else { return bytes.count }
        return start
    }
}

/// The format of a body that is clearly not metrics.
public enum OtherFormat: String, Equatable, Sendable {
    case html = "HTML"
    case json = "JSON"

    /// - Parameter bytes: a body; only its first bytes are checked.
    /// - Returns: `nil` for a body that could be metrics.
    init?(beginning bytes: UnsafeRawBufferPointer) {
        // Most bodies begin with a comment or a name.
        guard let first = bytes.first, first != UInt8(ascii: "#") else { return nil }
        let begin = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...].prefix(256) : bytes.prefix(256)
        let text = begin.drop(while: OtherFormat.isBlank)
        guard let first = text.first else { return nil }
        let second = text.dropFirst().first { !OtherFormat.isBlank($0) }
        switch first {
        // No line of metrics begins with one of these.
        case UInt8(ascii: "<"): self = .html
        case UInt8(ascii: "["): self = .json
        // Empty braces are not metrics. Metrics may have a quoted name there, {"name",label="value"} 1, but no colon after it.
        case UInt8(ascii: "{") where second == UInt8(ascii: "}"): self = .json
        case UInt8(ascii: "{") where second == UInt8(ascii: "\""):
            guard OtherFormat.isKey(text.dropFirst().drop(while: OtherFormat.isBlank).dropFirst()) else { return nil }
            self = .json
        default: return nil
        }
    }

    /// Whether a string that has begun ends within the text, and a colon follows.
    private static func isKey(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
        var isEscaped = false
        guard
            let end = text.firstIndex(where: { byte in
                defer { isEscaped = !isEscaped && byte == UInt8(ascii: "\\") }
                return byte == UInt8(ascii: "\"") && !isEscaped
            })
        else { return false }
        return text[(end + 1)...].first { !isBlank($0) } == UInt8(ascii: ":")
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
