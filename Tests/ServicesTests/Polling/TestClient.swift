import NIOCore
import NIOPosix
import Proxy
import TestSupport
import Testing

@testable import Services

/// One `HTTPClient` on an event loop, with the deadline that its loop would give it.
final class TestClient: Sendable {
    private let eventLoop: any EventLoop
    private let box: NIOLoopBoundBox<HTTPClient?>
    private let waiting: NIOLoopBoundBox<EventLoopPromise<Result<Exposition, PollFailure>>?>
    private let timeout: TimeAmount

    init(_ polled: PolledTarget, resolver: HostResolver = HostResolver()) async throws {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        self.eventLoop = eventLoop
        self.timeout = TimeAmount(polled.target.timeout)
        let box = NIOLoopBoundBox.makeEmptyBox(valueType: HTTPClient.self, eventLoop: eventLoop)
        let waiting = NIOLoopBoundBox.makeEmptyBox(valueType: EventLoopPromise<Result<Exposition, PollFailure>>.self, eventLoop: eventLoop)
        self.box = box
        self.waiting = waiting
        try await eventLoop.submit {
            box.value = HTTPClient(polled, on: eventLoop, resolver: resolver) { result in
                waiting.value?.succeed(result)
                waiting.value = nil
            }
        }.get()
    }

    /// One poll.
    func fetch() async throws -> Result<Exposition, PollFailure> {
        let promise = eventLoop.makePromise(of: Result<Exposition, PollFailure>.self)
        let deadline = eventLoop.scheduleTask(in: .nanoseconds(0)) { [self] in
            waiting.value = promise
            box.value?.start()
            return eventLoop.assumeIsolated().scheduleTask(in: timeout) { [self] in box.value?.timeOut() }
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

    func stop() async throws {
        try await eventLoop.flatSubmit { [self] in
            defer { box.value = nil }
            return box.value?.stop() ?? eventLoop.makeSucceededVoidFuture()
        }.get()
    }
}

/// Runs `body` with a client of `target`, which is stopped afterwards.
func withClient(
    _ target: Target, tls: TargetTLS? = nil, resolver: HostResolver = HostResolver(), _ body: (TestClient) async throws -> Void
) async throws {
    let client = try await TestClient(PolledTarget(target: target, tls: tls, version: "test"), resolver: resolver)
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
