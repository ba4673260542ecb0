import NIOCore
import NIOPosix
import Proxy
import TestSupport
import Testing

@testable import Services

/// One `TargetClient` on an event loop, with the deadline that its loop would give it.
final class TestClient: Sendable {
    private struct State {
        let client: TargetClient
        var poll: EventLoopPromise<Result<Exposition, PollFailure>>?
    }

    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State?>
    private let timeout: TimeAmount
    private let budget: ByteBudget

    /// - Parameter shared: what several clients have in common.
    init(
        _ polled: PolledTarget, in shared: SharedContext? = nil, resolver: HostResolver = HostResolver(), budget: ByteBudget = ByteBudget()
    ) async throws {
        let shared = if let shared { shared } else { try await SharedContext() }
        let eventLoop = shared.eventLoop
        self.eventLoop = eventLoop
        self.timeout = TimeAmount(polled.target.timeout)
        self.budget = budget
        let pool = PollingPool(budget: budget)
        try pool.start()
        let state = NIOLoopBoundBox.makeEmptyBox(valueType: State.self, eventLoop: eventLoop)
        self.state = state
        try await eventLoop.submit {
            let client = TargetClient(polled, in: shared.context.value, resolver: resolver, pool: pool) { result in
                let poll = state.value?.poll
                state.value?.poll = nil
                poll?.succeed(
                    result.flatMap { body in Result { () throws(PollFailure) in try body.exposition(refusingOtherFormats: true) } })
            }
            state.value = State(client: client)
        }.get()
    }

    /// Bytes held for polls.
    var held: Int { budget.used }

    /// One poll.
    func fetch() async throws -> Result<Exposition, PollFailure> {
        let promise = eventLoop.makePromise(of: Result<Exposition, PollFailure>.self)
        let deadline = eventLoop.scheduleTask(in: .nanoseconds(0)) { [self] in
            let deadline = NIODeadline.now() + timeout
            state.value?.poll = promise
            state.value?.client.start(until: deadline)
            return eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [self] in state.value?.client.timeOut() }
        }
        let result = try await promise.futureResult.get()
        try await deadline.futureResult.get().cancel()
        return result
    }

    /// The metrics of one poll, which must succeed.
    func text() async throws -> String {
        String(buffer: try await fetch().get().buffer)
    }

    /// The words of one poll's failure; `nil` when it succeeded.
    func failure() async throws -> String? {
        switch try await fetch() {
        case .success: nil
        case .failure(let failure): failure.description
        }
    }

    /// One poll succeeds with these metrics. (`#expect` hides from a closure that it throws.)
    func expect(text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let result = try await fetch()
        #expect(result.map { String(buffer: $0.buffer) } == .success(text), sourceLocation: sourceLocation)
    }

    /// One poll fails for this reason.
    func expect(failure: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let reason = try await self.failure()
        #expect(reason == failure, sourceLocation: sourceLocation)
    }

    /// A poll under way throws.
    func stop() async throws {
        try await eventLoop.flatSubmit { [self] in
            defer {
                state.value?.poll?.fail(CancellationError())
                state.value = nil
            }
            return state.value?.client.stop() ?? eventLoop.makeSucceededVoidFuture()
        }.get()
    }
}

/// An event loop with what its targets share.
struct SharedContext: Sendable {
    let eventLoop: any EventLoop
    let context: NIOLoopBoundBox<PollingContext>

    init() async throws {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        self.eventLoop = eventLoop
        context = try await eventLoop.submit { NIOLoopBoundBox(PollingContext(eventLoop: eventLoop), eventLoop: eventLoop) }.get()
    }
}

/// Runs `body` with a client of `target`, which is stopped afterwards.
func withClient(
    _ target: Target, tls: TargetTLS? = nil, in shared: SharedContext? = nil, resolver: HostResolver = HostResolver(),
    budget: ByteBudget = ByteBudget(), _ body: (TestClient) async throws -> Void
) async throws {
    let client = try await TestClient(
        PolledTarget(target: target, tls: tls, version: "test"), in: shared, resolver: resolver, budget: budget)
    do {
        try await body(client)
        try await client.stop()
    } catch {
        try await client.stop()
        throw error
    }
}

extension Target {
    /// A target on 127.0.0.1 with time enough for a busy machine.
    init(port: UInt16, path: String = "/metrics", timeout: Duration = .seconds(20), name: String = "app") throws {
        self.init(
            url: TargetURL(origin: .http(host: "127.0.0.1", port: port), pathAndQuery: path), name: try AppName.named(name),
            interval: .seconds(60), timeout: timeout)
    }

    /// With changes.
    func with(_ change: (inout Target) -> Void) -> Target {
        var copy = self
        change(&copy)
        return copy
    }
}

extension AppName {
    struct Invalid: Error {}

    static func named(_ text: String) throws -> AppName {
        guard let name = AppName(text) else { throw Invalid() }
        return name
    }
}

struct Timeout: Error {}

/// Waits until `condition` holds; for conditions that nothing announces.
func eventually(within limit: Duration = .seconds(20), _ condition: () throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while try !condition() {
        guard ContinuousClock.now < deadline else { throw Timeout() }
        try await Task.sleep(for: .milliseconds(5))
    }
}
