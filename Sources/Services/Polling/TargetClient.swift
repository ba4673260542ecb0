import NIOCore
import Proxy

/// Fetches one target's metrics, one poll after another. It carries out the actions of `Poll`. Used on its event loop only.
final class TargetClient {
    private let polled: PolledTarget
    private let terms: PolledTarget.ConnectionTerms
    private let context: PollingContext
    private let connector: TargetConnector
    private let ended: (Result<PolledBody, PollFailure>) -> Void

    /// Of the target's own origin, shared with the other targets there.
    private let origin: PollingContext.OriginConnection
    private var poll: Poll?
    private var deadline = NIODeadline.distantPast
    /// The connection that is being opened. One that opens too late belongs to another attempt.
    private var attempt: ConnectionAttempt?
    /// The connection of the exchange under way.
    private var connection: TargetConnection?
    /// Whether the target's own origin counts this poll.
    private var usesOrigin = false

    /// - Parameter ended: called once for each `start` that is not cut off by `stop`, on the event loop.
    init(
        _ polled: PolledTarget, in context: PollingContext, resolver: HostResolver, pool: PollingPool,
        ended: @escaping (Result<PolledBody, PollFailure>) -> Void
    ) {
        self.polled = polled
        self.terms = polled.connectionTerms
        self.context = context
        self.connector = TargetConnector(polled: polled, eventLoop: context.eventLoop, resolver: resolver, pool: pool)
        self.ended = ended
        self.origin = context.join(polled.target.url.origin)
    }

    /// Begins a poll; one at a time.
    func start(until deadline: NIODeadline) {
        assert(poll == nil, "one poll at a time")
        let poll = Poll(of: polled.target.url)
        self.poll = poll
        self.deadline = deadline
        perform(poll.start())
    }

    /// The timeout has passed: ends the poll and closes its connection.
    func timeOut() {
        guard let poll else { return }
        let phase = connection?.phase
        let knownFailure = connection?.close()
        _ = cancelAttempt()
        release(nil)
        finish(.failure(knownFailure ?? poll.timedOut(after: polled.target.timeout, phase)))
    }

    /// Closes every connection. A poll under way ends and reports nothing. Do not call any method afterwards.
    /// - Returns: when the connections are closed.
    func stop() -> EventLoopFuture<Void> {
        let opening = cancelAttempt()
        poll = nil
        let used = connection
        release(nil)
        let connections = [used, context.leave(polled.target.url.origin)].compactMap { $0 }
        let closed = connections.compactMap(\.closeFuture)
        for connection in connections { connection.close() }
        return EventLoopFuture.andAllComplete(opening + closed, on: context.eventLoop)
    }

    /// Closes the connection that is being opened, if any. Its result does not count any more.
    /// - Returns: for each of its channels, when it is closed.
    private func cancelAttempt() -> [EventLoopFuture<Void>] {
        // Closing reports a failure at once, which must find no attempt.
        let attempt = attempt
        self.attempt = nil
        return attempt?.cancel() ?? []
    }

    private func perform(_ action: Poll.Action) {
        switch action {
        case .ask(let hop, let mayUseKept): ask(hop, mayUseKept: mayUseKept)
        case .end(let result): finish(result)
        }
    }

    /// Asks on the kept connection if there is one, else on a new one.
    private func ask(_ hop: RedirectPolicy.Hop, mayUseKept: Bool) {
        guard hop.isTrusted else {
            // The server there may serve one connection at a time.
            context.takeIdleConnection(to: hop.url.origin)?.close()
            return open(hop)
        }
        usesOrigin = true
        switch origin.begin(mayUseKept && polled.target.keepAlive ? terms : nil) {
        case .use(let kept) where kept.isIdle:
            exchange(hop, on: kept, isKept: true)
        case .use(let closed):
            closed.close()
            open(hop)
        case .open(let other):
            other?.close()
            open(hop)
        }
    }

    private func open(_ hop: RedirectPolicy.Hop) {
        let attempt = ConnectionAttempt(until: deadline)
        self.attempt = attempt
        poll?.entered(.connecting)
        connector.open(hop, as: attempt) { [weak self] phase in
            if self?.attempt === attempt { self?.poll?.entered(phase) }
        } opened: { [weak self] result in
            guard let self, self.attempt === attempt else {
                if case .success(let connection) = result { connection.close() }
                return
            }
            self.attempt = nil
            switch result {
            case .success(let connection):
                self.exchange(hop, on: connection, isKept: false)
            case .failure(let failure):
                self.release(nil)
                self.perform(.end(.failure(failure)))
            }
        }
    }

    private func exchange(_ hop: RedirectPolicy.Hop, on connection: TargetConnection, isKept: Bool) {
        self.connection = connection
        poll?.asks(onKeptConnection: isKept, reaching: connection.reach)
        let answer = PolledAnswer(
            limit: polled.target.bodySizeLimit, followsRedirects: polled.target.followRedirects, budget: connector.pool.budget)
        // Weak, because the connection holds this closure until the exchange ends, and this object holds the connection.
        connection.ask(polled.request.bytes(for: hop), keepsConnection: hop.isTrusted && polled.target.keepAlive, answer: answer) {
            [weak self] result in
            self?.answered(result, on: connection)
        }
    }

    private func answered(_ result: PolledAnswer.Result, on connection: TargetConnection) {
        release(connection)
        guard let action = poll?.answered(result, cameNothing: connection.cameNothing) else { return }
        perform(action)
    }

    /// The exchange under way is over.
    /// - Parameter connection: to be kept, if it can be used again.
    private func release(_ connection: TargetConnection?) {
        self.connection = nil
        let unneeded = usesOrigin ? origin.end(connection?.isIdle == true ? connection : nil, terms) : connection
        usesOrigin = false
        unneeded?.close()
    }

    private func finish(_ result: Result<PolledBody, PollFailure>) {
        poll = nil
        ended(result)
    }
}
