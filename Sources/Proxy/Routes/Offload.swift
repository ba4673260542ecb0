import HTTP
public import NIOCore
import Synchronization

/// Where work goes that would hold up an event loop: threads of the shell.
public protocol Offload: Sendable {
    /// Runs `work` on another thread; the future belongs to `eventLoop` and never fails.
    func run<Result: Sendable>(on eventLoop: any EventLoop, _ work: @escaping @Sendable () -> Result) -> EventLoopFuture<Result>
}

/// How much of a scrape's work is too much for an event loop: a millisecond or two.
enum OffloadThreshold {
    /// Apps whose lines of the self-metrics have to be written.
    static let apps = 1000
    /// Bytes to be compressed.
    static let compressedBytes = 256 << 10
}

extension Answer {
    /// The response, whenever it comes.
    func future(on eventLoop: any EventLoop) -> EventLoopFuture<Response> {
        switch self {
        case .now(let response): eventLoop.makeSucceededFuture(response)
        case .later(let response): response
        }
    }
}

/// The way of every route to a snapshot. One that is ready, or that takes little work, is there at once. Otherwise another thread makes
/// it, and all requests that wait for it share the result; no event loop waits for a lock meanwhile.
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

    /// Answers with a snapshot of what is stored now. `respond` is called on the event loop.
    func answer(
        at now: Moment, on eventLoop: any EventLoop, _ respond: @escaping @Sendable (Snapshot) -> Answer
    ) -> Answer {
        if let ready = ready(at: now) { return respond(ready) }
        return later(at: now, on: eventLoop, respond)
    }

    /// A snapshot that can be had at once; `nil` when only `later` has one.
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

    /// Makes snapshots until none is waited for. A request that comes while one is being made waits for the next, since the changes
    /// before the request belong to its answer.
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

/// Long work whose result many requests want at the same time: the first one starts it, all share the result.
final class SharedWork<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// Guards the requests that wait, by the work.
    private let waiting = Mutex<[Key: [EventLoopPromise<Value?>]]>([:])

    /// The value of `key`, from the run that is under way or from a new one.
    /// - Parameter start: runs what it is given on another thread; returns false when there is no room for it.
    /// - Returns: `nil` when there is no room.
    func value(
        of key: Key, on eventLoop: any EventLoop, start: (@escaping @Sendable () -> Void) -> Bool, make: @escaping @Sendable () -> Value
    ) -> EventLoopFuture<Value?> {
        let promise = eventLoop.makePromise(of: Value?.self)
        let begins = waiting.withLock { waiting in
            defer { waiting[key, default: []].append(promise) }
            return waiting[key] == nil
        }
        guard begins else { return promise.futureResult }
        let isStarted = start { [self] in finish(key, with: make()) }
        if !isStarted { finish(key, with: nil) }
        return promise.futureResult
    }

    private func finish(_ key: Key, with value: Value?) {
        for promise in waiting.withLock({ $0.removeValue(forKey: key) ?? [] }) { promise.succeed(value) }
    }
}
