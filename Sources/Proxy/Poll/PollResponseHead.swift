/// What counts in the head of a target's response.
public struct PollResponseHead: Equatable, Sendable {
    /// How the body is coded.
    public enum BodyCoding: Equatable, Sendable {
        case identity
        case gzip
    }

    /// The status code (RFC 9110 §15).
    public var status: Int
    /// The code's usual words; empty when it has none.
    public var reason: String
    /// The value of `Content-Type`, of a repeated field joined by `, `; `nil` without one. Likewise the next two.
    public var contentType: String?
    /// The value of `Content-Encoding`.
    public var contentEncoding: String?
    /// The value of `Transfer-Encoding`.
    public var transferEncoding: String?
    /// The first `Location`.
    public var location: String?

    /// A head with these fields.
    public init(
        status: Int, reason: String = "", contentType: String? = nil, contentEncoding: String? = nil, transferEncoding: String? = nil,
        location: String? = nil
    ) {
        self.status = status
        self.reason = reason
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.transferEncoding = transferEncoding
        self.location = location
    }

    /// What the head makes of the poll.
    public enum Verdict: Equatable, Sendable {
        /// The body holds the metrics.
        case read(BodyCoding)
        /// Ask there instead.
        case redirect(location: String)
        case fail(PollFailure)
    }

    /// Only 200 counts; OpenMetrics and protobuf cannot be joined to text, any other type is taken as text (SPEC §6).
    public func verdict(followingRedirects: Bool) -> Verdict {
        if RedirectPolicy.isRedirect(status) {
            guard followingRedirects else { return .fail(failingStatus(note: "redirects are not followed")) }
            guard let location else { return .fail(failingStatus(note: "without a location")) }
            return .redirect(location: location)
        }
        guard status == 200 else { return .fail(failingStatus(note: nil)) }
        if let contentType {
            if contentType.beginsWithToken("application/openmetrics-text") { return .fail(.openMetrics) }
            if contentType.beginsWithToken("application/vnd.google.protobuf") { return .fail(.protobuf) }
        }
        if let transferEncoding, !transferEncoding.beginsWithToken("chunked", isWhole: true) {
            return .fail(.transferEncoding(transferEncoding))
        }
        guard let contentEncoding, !contentEncoding.isEmpty, !contentEncoding.beginsWithToken("identity", isWhole: true) else {
            return .read(.identity)
        }
        let isGzip = contentEncoding.beginsWithToken("gzip", isWhole: true) || contentEncoding.beginsWithToken("x-gzip", isWhole: true)
        return isGzip ? .read(.gzip) : .fail(.contentEncoding(contentEncoding))
    }

    private func failingStatus(note: String?) -> PollFailure { .status(status, reason: reason, note: note) }
}

extension String {
    /// Whether it begins with `token` (in lower case; compared without case, white space before it skipped), and with nothing but white space or,
    /// unless it must be the whole value, parameters after it. By bytes: this runs with each poll, and characters are slow.
    fileprivate func beginsWithToken(_ token: String, isWhole: Bool = false) -> Bool {
        var rest = utf8[...]
        while let first = rest.first, first == UInt8(ascii: " ") || first == UInt8(ascii: "\t") { rest.removeFirst() }
        for expected in token.utf8 {
            guard let byte = rest.popFirst() else { return false }
            let isUpper = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            guard (isUpper ? byte | 0x20 : byte) == expected else { return false }
        }
        while let next = rest.popFirst() {
            if next == UInt8(ascii: " ") || next == UInt8(ascii: "\t") { continue }
            return !isWhole && (next == UInt8(ascii: ";") || next == UInt8(ascii: ","))
        }
        return true
    }
}
