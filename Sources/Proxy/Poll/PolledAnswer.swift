public import HTTP
public import NIOCore

/// What one response means for a poll: its head decides whether to collect the body, follow a redirect, or fail.
public struct PolledAnswer: Sendable {
    /// The result of a response.
    public enum Result: Sendable {
        /// A complete body, not decoded yet.
        case body(PolledBody)
        case redirect(location: String)
        case failure(PollFailure)
    }

    /// What to do after a head.
    public enum Use: Equatable, Sendable {
        case collectBody
        /// Read the body only to keep the connection.
        case discardBody
        /// Read no more: the result is certain, and the body may be large.
        case stop
    }

    private enum State {
        case awaitingHead
        case collecting(PolledBody)
        /// The rest of the response is read only to keep the connection.
        case certain(Result)
    }

    private var state = State.awaitingHead
    private let limit: ByteCount
    private let followsRedirects: Bool
    private let budget: ByteBudget
    private let instance: String

    /// - Parameters:
    ///   - limit: the largest body, uncompressed.
    ///   - budget: for all bodies together.
    ///   - instance: this program; an answer that contains it is a failure.
    public init(limit: ByteCount, followsRedirects: Bool, budget: ByteBudget, instance: String = ProgramInstance.id) {
        self.limit = limit
        self.followsRedirects = followsRedirects
        self.budget = budget
        self.instance = instance
    }

    /// The failure that is already certain, if any.
    public var certainFailure: PollFailure? {
        if case .certain(.failure(let failure)) = state { failure } else { nil }
    }

    /// Adds the head.
    public mutating func takeHead(_ head: ResponseHead) -> Use {
        switch PolledAnswer.verdict(head, followsRedirects: followsRedirects) {
        case .read(let coding):
            do throws(PollFailure) {
                state = .collecting(try body(of: head, coding))
                return .collectBody
            } catch {
                state = .certain(.failure(error))
                return .stop
            }
        case .redirect(let location):
            state = .certain(.redirect(location: location))
        case .fail(let failure):
            state = .certain(.failure(failure))
        }
        return .discardBody
    }

    private func body(of head: ResponseHead, _ coding: BodyBytes.Coding) throws(PollFailure) -> PolledBody {
        let instances = ProgramInstance.list(head.instances)
        guard !instances.contains(instance) else { throw .containsThisInstance }
        let length: Int? = if case .length(let length) = head.framing { length } else { nil }
        return try PolledBody(coding: coding, expected: length, limit: limit, budget: budget, instances: instances)
    }

    /// Adds a piece of the body.
    /// - Returns: whether more of it is needed.
    public mutating func takeBody(_ piece: consuming ByteBuffer) -> Bool {
        guard case .collecting(var body) = state else { return false }
        // A second owner of the body's block would cause a copy for each piece.
        state = .awaitingHead
        do throws(PollFailure) {
            try body.append(piece)
            state = .collecting(body)
            return true
        } catch {
            state = .certain(.failure(error))
            return false
        }
    }

    /// The response is complete.
    public func complete() -> Result {
        switch state {
        case .awaitingHead: .failure(.connectionEnded(.awaitingHead, reason: nil))
        case .collecting(let body): .body(body)
        case .certain(let result): result
        }
    }

    /// The response broke off. A certain result stays, and "incomplete body" is more useful than most other reasons.
    /// - Parameter isFramed: whether something other than the end of the connection marks the end of the body.
    public func brokenOff(by failure: PollFailure, isFramed: Bool) -> Result {
        switch (state, failure) {
        case (.certain(let result), _): result
        case (.collecting(let body), .connectionEnded(_, reason: nil)) where isFramed,
            (.collecting(let body), .truncatedByPeer) where isFramed:
            .failure(.incompleteBody(received: body.received, expected: body.expected))
        case (.collecting, _), (.awaitingHead, _): .failure(failure)
        }
    }

    // MARK: - What a head means

    /// What the head decides.
    enum Verdict: Equatable {
        /// The body contains the metrics.
        case read(BodyBytes.Coding)
        /// Send the request there instead.
        case redirect(location: String)
        case fail(PollFailure)
    }

    /// Only 200 is a success. OpenMetrics and protobuf cannot be joined to text; any other type is taken as text.
    static func verdict(_ head: ResponseHead, followsRedirects: Bool) -> Verdict {
        func failing(_ note: String? = nil) -> Verdict { .fail(.status(head.status, reason: head.reason, note: note)) }
        if RedirectPolicy.isRedirect(head.status) {
            guard followsRedirects else { return failing("redirects are not followed") }
            // An empty one would lead to the same URL again.
            guard let location = head.location, !location.isEmpty else { return failing("without a location") }
            return .redirect(location: location)
        }
        guard head.status == 200 else { return failing() }
        switch MediaType(head.contentType)?.format {
        case .openMetrics: return .fail(.openMetrics)
        case .protobuf: return .fail(.protobuf)
        case .json, nil: break
        }
        if let transferEncoding = head.transferEncoding, !transferEncoding.isToken("chunked") {
            return .fail(.transferEncoding(transferEncoding))
        }
        guard let contentEncoding = head.contentEncoding else { return .read(.identity) }
        return coding(of: contentEncoding).map { .read($0) } ?? .fail(.contentEncoding(contentEncoding))
    }

    /// The coding of the list that changes the body; `nil` when one is not supported, or gzip occurs twice.
    ///
    /// `identity` changes nothing. A media type changes nothing either: some servers send the body's type here.
    private static func coding(of list: String) -> BodyBytes.Coding? {
        if list.isToken("gzip") { return .gzip }
        var coding = BodyBytes.Coding.identity
        for item in list.split(separator: ",") {
            let item = String(item)
            if item.isToken("gzip") || item.isToken("x-gzip") {
                guard coding == .identity else { return nil }
                coding = .gzip
            } else if !item.isToken(""), !item.isToken("identity"), !item.contains("/") {
                return nil
            }
        }
        return coding
    }
}

extension String {
    /// Whether it is `token` (in lower case), but for case and white space around it. It compares bytes, because it runs at each poll and
    /// characters are slow.
    fileprivate func isToken(_ token: String) -> Bool {
        var rest = utf8[...]
        while let first = rest.first, first == UInt8(ascii: " ") || first == UInt8(ascii: "\t") { rest.removeFirst() }
        for expected in token.utf8 {
            guard let byte = rest.popFirst() else { return false }
            let isUpper = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            guard (isUpper ? byte | 0x20 : byte) == expected else { return false }
        }
        return rest.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
    }
}

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
