/// Follows a target's redirects within one poll: where to go next, and whether that place may see credentials.
///
/// Credentials (`Authorization`, every configured header, the client certificate) are for the target's own origin: scheme, host and port.
/// Once a redirect has led elsewhere they stay behind for the rest of the poll, even when a later redirect leads back:
/// another server would then choose what is asked in our name.
public struct RedirectPolicy: Sendable {
    /// Redirects followed in one poll at most.
    public static let limit = 10
    /// The longest `Location` accepted, in bytes.
    static let maxLocationLength = 8192

    /// One place to ask.
    public struct Hop: Equatable, Sendable {
        /// Where.
        public let url: TargetURL
        /// Whether credentials, the client certificate and the kept connection may be used.
        public let isTrusted: Bool

        /// `url`, trusted or not.
        public init(url: TargetURL, isTrusted: Bool) {
            self.url = url
            self.isTrusted = isTrusted
        }
    }

    /// The place being asked now.
    public private(set) var current: Hop
    private var followed = 0

    /// Begins at the target itself.
    public init(target: TargetURL) {
        self.current = Hop(url: target, isTrusted: true)
    }

    /// Whether a response of this status is a redirect for a GET (RFC 9110 §15.4).
    public static func isRedirect(_ status: Int) -> Bool {
        switch status {
        case 301, 302, 303, 307, 308: true
        default: false
        }
    }

    /// Moves on to what `location` names, relative to where we are.
    /// - Returns: the new `current`.
    public mutating func follow(_ location: String) throws(PollFailure) -> Hop {
        guard followed < RedirectPolicy.limit else { throw .tooManyRedirects(limit: RedirectPolicy.limit) }
        guard location.utf8.count <= RedirectPolicy.maxLocationLength else { throw .invalidRedirect("location too long") }
        let url = try current.url.resolving(location)
        followed += 1
        current = Hop(url: url, isTrusted: current.isTrusted && url.origin == current.url.origin)
        return current
    }
}
