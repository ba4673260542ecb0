import NIOCore
import Synchronization

/// The connections of one listener that are open now, so that they can be drained.
final class OpenConnections: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isDraining = false
        var emptied: [EventLoopPromise<Void>] = []
    }

    /// Guards the set, and whether it takes new members.
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.channels.count } }

    /// - Returns: `false` when the listener drains already: the connection is to be closed.
    func insert(_ channel: any Channel) -> Bool {
        state.withLock { state in
            guard !state.isDraining else { return false }
            state.channels[ObjectIdentifier(channel)] = channel
            return true
        }
    }

    func remove(_ channel: any Channel) {
        let emptied = state.withLock { state -> [EventLoopPromise<Void>] in
            state.channels[ObjectIdentifier(channel)] = nil
            guard state.channels.isEmpty else { return [] }
            defer { state.emptied = [] }
            return state.emptied
        }
        for promise in emptied { promise.succeed() }
    }

    /// Asks every connection to finish its exchange and close.
    func drain() {
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ConnectionDrainEvent()) }
    }

    /// Takes no new members, and asks all to finish.
    /// - Returns: ends when the last one has closed.
    func drainForGood(on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        let isEmpty = state.withLock { state in
            state.isDraining = true
            if !state.channels.isEmpty { state.emptied.append(promise) }
            return state.channels.isEmpty
        }
        if isEmpty { promise.succeed() }
        drain()
        return promise.futureResult
    }

    /// Closes all that are left, whatever they do.
    /// - Returns: how many there were.
    func closeAll() -> Int {
        let channels = channels
        for channel in channels {
            channel.close(mode: .all, promise: nil)
            // The first close may still wait for the peer to take what TLS has queued; the second does not.
            channel.close(mode: .all, promise: nil)
        }
        return channels.count
    }

    private var channels: [any Channel] { state.withLock { Array($0.channels.values) } }
}
