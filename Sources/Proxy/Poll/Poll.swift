/// One poll of a target, from its first request to its end. It decides where to send requests, on which connection, and what an answer
/// means. It is a value and knows no socket; `TargetClient` carries out its actions.
public struct Poll: Sendable {
    /// What to do next.
    public enum Action: Sendable {
        /// Send the request there, on the kept connection of the origin if that is allowed, otherwise on a new one.
        case ask(RedirectPolicy.Hop, mayUseKept: Bool)
        /// The poll has ended, with a body to decode or a failure.
        case end(Result<PolledBody, PollFailure>)
    }

    private var redirects: RedirectPolicy
    /// Whether the peer may have closed the connection before it received the request.
    private var isOnKeptConnection = false
    /// The phase of the current request while it has no connection.
    private var phase = PollFailure.Phase.connecting

    /// Starts at the target itself.
    public init(of target: TargetURL) { redirects = RedirectPolicy(target: target) }

    /// The current place.
    public var hop: RedirectPolicy.Hop { redirects.current }

    /// The first action.
    public func start() -> Action { .ask(hop, mayUseKept: true) }

    /// Records the phase before there is a connection.
    public mutating func entered(_ phase: PollFailure.Phase) { self.phase = phase }

    /// The request is sent on a connection.
    /// - Parameters:
    ///   - isKept: whether it has served an earlier poll.
    ///   - reach: the reach of the address at the other end.
    public mutating func asks(onKeptConnection isKept: Bool, reaching reach: AddressReach) {
        isOnKeptConnection = isKept
        redirects.reached(reach)
    }

    /// The exchange on a connection has ended.
    /// - Parameter cameNothing: whether the connection ended before the first byte of a response.
    public mutating func answered(_ result: PolledAnswer.Result, cameNothing: Bool) -> Action {
        switch result {
        case .failure where cameNothing && isOnKeptConnection:
            // The peer may close a connection between two polls. This is not a failure of the target.
            isOnKeptConnection = false
            return .ask(hop, mayUseKept: false)
        case .failure(let failure):
            return .end(.failure(failure))
        case .body(let body):
            return .end(.success(body))
        case .redirect(let location):
            do throws(PollFailure) {
                return .ask(try redirects.follow(location), mayUseKept: true)
            } catch {
                return .end(.failure(error))
            }
        }
    }

    /// The failure of a poll at its deadline.
    /// - Parameter phase: the phase of the exchange, if there is a connection.
    public func timedOut(after timeout: Duration, _ phase: PollFailure.Phase?) -> PollFailure {
        .timedOut(after: timeout, phase ?? self.phase)
    }
}

/// Follows a target's redirects within one poll: where to go next, and whether that place may see credentials.
///
/// Credentials (`Authorization`, every configured header, the client certificate) are for the target's own origin: scheme, host and port.
/// After a redirect to another origin they are not sent for the rest of the poll, even if a later redirect leads back. Otherwise another
/// server would choose the request that is sent with them. For the same reason a redirect to an address that only this host or its link can
/// reach is followed only if every server before it is at such an address.
public struct RedirectPolicy: Sendable {
    /// The limit of redirects in one poll.
    public static let limit = 10
    /// The longest `Location` accepted, in bytes.
    static let maxLocationLength = 8192

    /// One place to send a request to.
    public struct Hop: Equatable, Sendable {
        /// The URL.
        public let url: TargetURL
        /// Whether credentials, the client certificate and the kept connection may be used.
        public let isTrusted: Bool
        /// The farthest address of the servers that chose this place.
        let chosenFrom: AddressReach

        /// `url`, trusted or not.
        public init(url: TargetURL, isTrusted: Bool, chosenFrom: AddressReach = .host) {
            self.url = url
            self.isTrusted = isTrusted
            self.chosenFrom = chosenFrom
        }

        /// Whether a connection to an address of this kind is allowed. The target's own origin comes from the configuration.
        public func allows(_ reach: AddressReach) -> Bool { isTrusted || reach >= chosenFrom }
    }

    /// The current place.
    public private(set) var current: Hop
    private var followed = 0
    private var farthest = AddressReach.host

    /// Starts at the target itself.
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

    /// Records the address of the server at the current place.
    public mutating func reached(_ reach: AddressReach) { farthest = max(farthest, reach) }

    /// Moves to `location`, which is relative to the current place.
    /// - Returns: the new `current`.
    public mutating func follow(_ location: String) throws(PollFailure) -> Hop {
        guard followed < RedirectPolicy.limit else { throw .tooManyRedirects(limit: RedirectPolicy.limit) }
        guard location.utf8.count <= RedirectPolicy.maxLocationLength else { throw .invalidRedirect("location too long") }
        let url = try current.url.resolving(location)
        followed += 1
        current = Hop(url: url, isTrusted: current.isTrusted && url.origin == current.url.origin, chosenFrom: farthest)
        return current
    }
}

/// How far an address reaches, in ascending order.
public enum AddressReach: Comparable, Sendable {
    /// Only this host: a loopback or unspecified address, or a Unix socket.
    case host
    /// The hosts of one link: a link-local address.
    case link
    /// Any other address.
    case network

    /// - Parameter address: the 4 bytes of an IPv4 address or the 16 of an IPv6 address, in network order.
    public init(address bytes: [UInt8]) {
        switch bytes.count {
        // A connection to 0.0.0.0 ends at this host (connect(2) on Linux); all of 0.0.0.0/8 means "this host" (RFC 1122 §3.2.1.3).
        case 4 where bytes[0] == 127 || bytes[0] == 0: self = .host
        case 4 where bytes[0] == 169 && bytes[1] == 254: self = .link
        // ::ffff:0:0/96 are IPv4 addresses (RFC 4291 §2.5.5.2).
        case 16 where bytes[..<10].allSatisfy({ $0 == 0 }) && bytes[10] == 0xFF && bytes[11] == 0xFF:
            self = AddressReach(address: Array(bytes[12...]))
        // ::1 and ::.
        case 16 where bytes[..<15].allSatisfy({ $0 == 0 }) && bytes[15] <= 1: self = .host
        case 16 where bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80: self = .link
        default: self = .network
        }
    }

    /// The kind of address, for messages.
    public var words: String {
        switch self {
        case .host: "a loopback address"
        case .link: "a link-local address"
        case .network: "an address of another network"
        }
    }
}
