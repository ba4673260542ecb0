import HTTP
public import NIOCore
import Synchronization

/// Runs work that would block an event loop on threads of `Services`.
public protocol Offload: Sendable {
    /// Runs `work` on another thread; the future belongs to `eventLoop` and never fails.
    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result>
}

/// Above these numbers the work of a scrape is too long for an event loop: a millisecond or two.
enum OffloadThreshold {
    /// The number of apps whose lines of the self-metrics must be written.
    static let apps = 1000
    /// The number of bytes to compress.
    static let compressedBytes = 256 << 10
}

extension Answer {
    /// The response as a future.
    func future(on eventLoop: any EventLoop) -> EventLoopFuture<Response> {
        switch self {
        case .now(let response): eventLoop.makeSucceededFuture(response)
        case .later(let response): response
        }
    }
}

/// The source of snapshots for all routes. It returns a snapshot at once if one is ready or takes little work. Otherwise another thread
/// makes it, and all waiting requests share the result. No event loop waits for a lock.
final class SnapshotSource: Sendable {
    private struct State {
        var isMaking = false
        var waiting: [(promise: EventLoopPromise<Snapshot>, moment: Moment)] = []
    }

    private let store: MetricStore
    private let offload: any Offload
    /// Guards the requests that wait.
    private let state = Mutex(State())

    init(store: MetricStore, offload: any Offload) {
        self.store = store
        self.offload = offload
    }

    /// Answers with a snapshot of the present state. `respond` is called on the event loop.
    func answer(
        at now: Moment, on eventLoop: any EventLoop, _ respond: @escaping @Sendable (Snapshot) -> Answer
    ) -> Answer {
        if let ready = ready(at: now) { return respond(ready) }
        return later(at: now, on: eventLoop, respond)
    }

    /// A snapshot that is available at once; `nil` when only `later` has one.
    func ready(at now: Moment) -> Snapshot? { store.quickSnapshot(at: now) }

    /// Answers with a snapshot that another thread makes.
    func later(at now: Moment, on eventLoop: any EventLoop, _ respond: @escaping @Sendable (Snapshot) -> Answer) -> Answer {
        .later(snapshot(at: now, on: eventLoop).flatMap { respond($0).future(on: eventLoop) })
    }

    private func snapshot(at now: Moment, on eventLoop: any EventLoop) -> EventLoopFuture<Snapshot> {
        let promise = eventLoop.makePromise(of: Snapshot.self)
        let begins = state.withLock { state in
            state.waiting.append((promise, now))
            defer { state.isMaking = true }
            return !state.isMaking
        }
        if begins { _ = offload.run(on: eventLoop) { self.make() } }
        return promise.futureResult
    }

    /// Makes snapshots until no request waits. A request that comes in the meantime waits for the next one, because its answer must contain
    /// all changes before the request.
    private func make() {
        while true {
            let waiting = state.withLock { state in
                defer { state.waiting = [] }
                if state.waiting.isEmpty { state.isMaking = false }
                return state.waiting
            }
            guard let latest = waiting.map(\.moment).max(by: { $0.instant < $1.instant }) else { return }
            let snapshot = store.snapshot(at: latest)
            for request in waiting { request.promise.succeed(snapshot) }
        }
    }
}

/// Long work whose result many requests need at the same time. The first turn that comes does the work, and all share the result.
final class SharedWork<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Waiting {
        var promises: [EventLoopPromise<Value?>] = []
        /// The clients that have a turn, or are about to get one.
        var clients: Set<QueuePeer> = []
        var isBeingMade = false
    }

    /// Guards the requests that wait, by the work.
    private let waiting = Mutex<[Key: Waiting]>([:])

    /// The value of `key`, from the run in progress or from a new one.
    /// - Parameters:
    ///   - client: each client starts the work once. So none waits for the turn of another one that has much other work to do.
    ///   - start: runs what it is given on another thread; returns false when there is no room for it.
    /// - Returns: `nil` when there is no room.
    func value(
        of key: Key, for client: QueuePeer = QueuePeer(nil), on eventLoop: any EventLoop, start: (@escaping @Sendable () -> Void) -> Bool,
        make: @escaping @Sendable () -> Value
    ) -> EventLoopFuture<Value?> {
        let promise = eventLoop.makePromise(of: Value?.self)
        let begins = waiting.withLock { waiting in
            waiting[key, default: Waiting()].promises.append(promise)
            guard waiting[key]?.isBeingMade == false else { return false }
            return waiting[key]?.clients.insert(client).inserted == true
        }
        guard begins else { return promise.futureResult }
        let isStarted = start { [self] in run(key, make) }
        if !isStarted { giveUp(key, for: client) }
        return promise.futureResult
    }

    private func run(_ key: Key, _ make: () -> Value) {
        let isFirst = waiting.withLock { waiting in
            guard waiting[key]?.isBeingMade == false else { return false }
            waiting[key]?.isBeingMade = true
            return true
        }
        if isFirst { finish(key, with: make()) }
    }

    /// Without a turn of its own the client waits for that of another one.
    private func giveUp(_ key: Key, for client: QueuePeer) {
        let isLast = waiting.withLock { waiting in
            waiting[key]?.clients.remove(client)
            return waiting[key]?.isBeingMade == false && waiting[key]?.clients.isEmpty == true
        }
        if isLast { finish(key, with: nil) }
    }

    private func finish(_ key: Key, with value: Value?) {
        for promise in waiting.withLock({ $0.removeValue(forKey: key)?.promises ?? [] }) { promise.succeed(value) }
    }
}
