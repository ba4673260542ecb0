/// One poll of a target, from its first request to its end: where to ask, on which connection, and what an answer means for the poll.
/// A value that knows no socket; `TargetClient` does what it says.
public struct Poll: Sendable {
    /// What to do next.
    public enum Action: Sendable {
        /// Ask there: on the connection that the origin keeps, if it may be used, or else on a new one.
        case ask(RedirectPolicy.Hop, mayUseKept: Bool)
        /// The poll has ended with a body to be decoded, or without.
        case end(Result<PolledBody, PollFailure>)
    }

    private var redirects: RedirectPolicy
    /// Whether the peer may have closed the connection in use before it saw the request.
    private var isOnKeptConnection = false
    /// How far the current request has come while it has no connection.
    private var phase = PollFailure.Phase.connecting

    /// Begins at the target itself.
    public init(of target: TargetURL) { redirects = RedirectPolicy(target: target) }

    /// The place being asked now.
    public var hop: RedirectPolicy.Hop { redirects.current }

    /// The first action.
    public func start() -> Action { .ask(hop, mayUseKept: true) }

    /// Waits for something else before there is a connection.
    public mutating func entered(_ phase: PollFailure.Phase) { self.phase = phase }

    /// The request is sent on a connection.
    /// - Parameters:
    ///   - isKept: whether it has served an earlier poll.
    ///   - reach: of the address at the other end.
    public mutating func asks(onKeptConnection isKept: Bool, reaching reach: AddressReach) {
        isOnKeptConnection = isKept
        redirects.reached(reach)
    }

    /// The exchange on a connection has ended.
    /// - Parameter cameNothing: whether the connection ended without a byte of a response.
    public mutating func answered(_ result: PolledAnswer.Result, cameNothing: Bool) -> Action {
        switch result {
        case .failure where cameNothing && isOnKeptConnection:
            // The peer closed the connection between two polls, which it may. That is no failure of the target.
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

    /// Why the poll failed whose time is over.
    /// - Parameter phase: of the exchange, when there is a connection.
    public func timedOut(after timeout: Duration, _ phase: PollFailure.Phase?) -> PollFailure {
        .timedOut(after: timeout, phase ?? self.phase)
    }
}
