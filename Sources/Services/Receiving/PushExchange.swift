import HTTP
import Logging
import NIOCore
import Proxy
import Synchronization
import TLS

/// The requests of one connection of an HTTP receiver: collects bodies within their limits, and has them applied, large ones on the threads
/// for large messages.
final class PushExchange: HTTPExchange {
    /// What the connections of a receiver share.
    struct Destination: Sendable {
        let routes: PushRoutes
        let source: Source
        let metrics: ListenerMetrics
        let log: ConnectionLog
        let largeMessages: LargeMessages
        /// The limit of the memory of all incomplete messages.
        let inflight: ByteBudget
        /// The settings in force: a kept connection gets new limits with its next request.
        let settings: SettingsInForce<HTTPReceiverSettings>
    }

    /// A push whose body is collected. A class, because a second copy of the body would copy its bytes with each piece.
    private final class Incomplete {
        let push: PushRequest
        let sender: Sender
        var body: BodyBytes

        init(_ push: PushRequest, _ body: BodyBytes, _ sender: Sender) {
            self.push = push
            self.body = body
            self.sender = sender
        }
    }

    private enum State {
        case idle
        case collecting(Incomplete)
        /// The body is read and dropped. The answer is already decided.
        case discarding(Response, left: Int)
    }

    /// The most bytes of a refused body that are read, so that the sender gets to the answer and the connection stays usable.
    private static let discardable = 1 << 20

    private let destination: Destination
    private let channel: any Channel
    private let isTLS: Bool
    private let peer: Peer
    private var state = State.idle
    /// The answer to a push that another thread applies.
    private var waiting: (answer: PendingAnswer, sender: Sender)?
    /// The sender of the last request, and its user name.
    private var known: (user: String?, sender: Sender)?

    /// - Parameter channel: of the connection.
    init(_ destination: Destination, channel: any Channel, isTLS: Bool) {
        self.destination = destination
        self.channel = channel
        self.isTLS = isTLS
        peer = Peer(address: channel.remoteAddress)
    }

    // MARK: - Requests

    func begin(_ head: RequestHead, on eventLoop: any EventLoop) -> HTTPBeginning {
        state = .idle
        do {
            let request = try Request(head, isTLS: isTLS, peer: peer)
            return begin(head, request, .unchecked, on: eventLoop)
        } catch {
            return answered(PushRoutes.answer(to: report(.malformedRequest(status: 400, error.reason))), head)
        }
    }

    private func begin(_ head: RequestHead, _ request: Request, _ user: PushRoutes.User, on eventLoop: any EventLoop) -> HTTPBeginning {
        let beginning = destination.routes.begin(head, request, user: user, on: eventLoop) { user in
            sender(user)
        } refused: { rejection, sender in
            // Do not log a push without credentials: many clients send them only after a 401.
            if rejection == .unauthorized, request.authorization == nil {
                destination.metrics.countRejected(rejection)
            } else {
                _ = report(rejection, sender)
            }
        }
        switch beginning {
        case .answer(let response): return answered(response, head)
        case .wait(let verdict):
            return .wait(
                verdict.assumeIsolated().flatMap { [self] isAdmitted -> EventLoopFuture<Response?> in
                    switch begin(head, request, .checked(isAdmitted: isAdmitted), on: eventLoop) {
                    case .answer(let response): eventLoop.makeSucceededFuture(response)
                    case .body: eventLoop.makeSucceededFuture(nil)
                    case .wait(let decision): decision
                    }
                }.nonisolated())
        case .body(let push, let sender):
            do throws(BodyBytes.Fault) {
                let expected: Int? = if case .length(let length) = head.framing { length } else { nil }
                let limit = destination.settings.now.maxMessageSize
                let body = try BodyBytes(coding: push.coding, expected: expected, limit: limit, budget: destination.inflight)
                state = .collecting(Incomplete(push, body, sender))
                return .body
            } catch {
                return answered(PushRoutes.answer(to: report(Rejection(error))), head)
            }
        }
    }

    /// Sends an answer that does not depend on the body: at once if the client waits for it or the body is long, otherwise after the body.
    private func answered(_ response: Response, _ head: RequestHead) -> HTTPBeginning {
        if head.expectsContinue { return .answer(response) }
        if case .length(let length) = head.framing, length > Self.discardable { return .answer(response) }
        state = .discarding(response, left: Self.discardable)
        return .body
    }

    func take(_ piece: ByteBuffer) -> Response? {
        switch state {
        case .idle: return nil
        case .discarding(let response, let left):
            guard left >= piece.readableBytes else { return response }
            state = .discarding(response, left: left - piece.readableBytes)
            return nil
        case .collecting(let incomplete):
            do throws(BodyBytes.Fault) {
                try incomplete.body.append(piece)
                return nil
            } catch {
                state = .idle
                return PushRoutes.answer(to: report(Rejection(error), incomplete.sender))
            }
        }
    }

    func end(on eventLoop: any EventLoop) -> Answer {
        defer { state = .idle }
        switch state {
        case .idle: return .now(PushRoutes.error(500, "internal server error"))
        case .discarding(let response, _): return .now(response)
        case .collecting(let complete):
            let (push, body, sender) = (complete.push, complete.body, complete.sender)
            switch destination.routes.end(push, body, from: sender, through: destination.source, most: push.mostOnEventLoop) {
            case .answer(let response, let rejection):
                count(push, rejection, sender)
                return .now(response)
            case .takesLonger: return later(push, body, sender, on: eventLoop)
            }
        }
    }

    private func later(_ push: PushRequest, _ body: BodyBytes, _ sender: Sender, on eventLoop: any EventLoop) -> Answer {
        let promise = eventLoop.makePromise(of: (Response, Rejection?).self)
        let pending = PendingAnswer(promise)
        waiting = (pending, sender)
        let cost = destination.routes.cost(of: push, body)
        destination.largeMessages.run(cost: cost, app: push.app) { [destination] in
            guard pending.isWanted else { return }
            let outcome = destination.routes.end(push, body, from: sender, through: destination.source, most: .max)
            if case .answer(let response, let rejection) = outcome { pending.succeed(response, rejection) }
        }
        return .later(
            promise.futureResult.assumeIsolated().map { [self] response, rejection in
                waiting = nil
                count(push, rejection, sender)
                return response
            }.nonisolated())
    }

    func refuse(_ error: RequestError) -> Response {
        let before = state
        state = .idle
        let sender: Sender?
        switch before {
        case .idle: sender = nil
        case .collecting(let incomplete): sender = incomplete.sender
        case .discarding(let response, _): return response
        }
        // The request may have been no push: scanners and browsers end connections within a head, too.
        if error.isTruncated, sender == nil { return PushRoutes.answer(to: .truncated) }
        let rejection: Rejection =
            switch error.status {
            case _ where error.isTruncated: .truncated
            case 408: .timedOut(sender == nil ? .head : error.isStalled ? .idle : .message)
            case 413: .messageTooLarge(limit: destination.settings.now.maxMessageSize)
            case 503: .tooMuchInFlight(limit: nil)
            default: .malformedRequest(status: error.status, error.reason)
            }
        return PushRoutes.answer(to: report(rejection, sender))
    }

    func cut() -> Response? {
        let before = state
        state = .idle
        return switch before {
        case .discarding(let response, _): response
        case .collecting(let incomplete): PushRoutes.answer(to: report(.timedOut(.closing), incomplete.sender))
        case .idle: waiting.map { PushRoutes.answer(to: report(.timedOut(.closingUndecoded), $0.sender)) }
        }
    }

    func willSend(_ response: Response) {}

    func ended() {
        waiting?.answer.cancel()
        waiting = nil
        if case .collecting(let incomplete) = state { _ = report(.truncated, incomplete.sender) }
        state = .idle
    }

    // MARK: - Senders and counts

    private func sender(_ user: String?) -> Sender {
        if let known, known.user == user { return known.sender }
        let tls = isTLS ? try? channel.pipeline.syncOperations.handler(type: TLSHandler.self) : nil
        let made = Sender(peer: Sender.Peer(of: channel), certificateNames: tls?.verifiedClientNames ?? [], user: user)
        known = (user, made)
        return made
    }

    private func count(_ push: PushRequest, _ rejection: Rejection?, _ sender: Sender) {
        if let rejection {
            _ = report(rejection, sender)
        } else if let format = push.format {
            destination.metrics.countReceived(format)
        }
    }

    private func report(_ rejection: Rejection, _ sender: Sender? = nil) -> Rejection {
        destination.metrics.countRejected(rejection)
        destination.log.write(
            .warning, "message refused", peer: sender?.description ?? peer.description,
            [LogKey.reason: "\(rejection.reason.rawValue)", LogKey.error: "\(rejection.line)"])
        return rejection
    }
}

/// The answer to a push that is applied on another thread. When the push is dropped, at the end of the program or of its connection, its
/// answer fails.
private final class PendingAnswer: Sendable {
    private let promise: EventLoopPromise<(Response, Rejection?)>
    private let isGiven = Atomic(false)
    private let isCancelled = Atomic(false)

    init(_ promise: EventLoopPromise<(Response, Rejection?)>) { self.promise = promise }

    deinit {
        // After `succeed`, the result may still be on its way to the event loop, and a failure could overtake it.
        if !isGiven.load(ordering: .acquiring) { promise.fail(ChannelError.ioOnClosedChannel) }
    }

    /// Whether the client still waits for the answer.
    var isWanted: Bool { !isCancelled.load(ordering: .relaxed) }

    /// The connection has ended. A push that has not begun is not applied any more.
    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    func succeed(_ response: Response, _ rejection: Rejection?) {
        isGiven.store(true, ordering: .releasing)
        promise.succeed((response, rejection))
    }
}
