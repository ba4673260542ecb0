import NIOCore
import Synchronization
import TLS

/// The connections of one listener that are open now, so that they can be drained.
final class OpenConnections: Sendable {
    private struct Connection {
        let channel: any Channel
        /// How often access had changed when its settings were read; `nil` before that.
        var generation: Int?
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        /// What was read of connections before they had a pipeline.
        var received: [ObjectIdentifier: ByteBuffer] = [:]
        var isDraining = false
        var emptied: [EventLoopPromise<Void>] = []
        /// Counts the changes of access.
        var generation = 0
    }

    /// Guards the set, and which settings its members began with.
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.connections.count } }

    /// A connection was accepted; nothing has been read of the settings for it.
    func insert(_ channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)] = Connection(channel: channel) }
    }

    /// These bytes of it were read before anything else; its pipeline is to begin with them.
    func keep(_ bytes: ByteBuffer, of channel: any Channel) {
        state.withLock { $0.received[ObjectIdentifier(channel)] = bytes }
    }

    /// The settings that a new connection begins with, read so that it is either before a change of access and ends with it, or after it.
    /// - Returns: and whether the listener drains already, and what was kept of the connection's bytes.
    func begin<Settings>(
        _ channel: any Channel, with settings: () throws -> Settings
    ) rethrows -> (settings: Settings, isDraining: Bool, received: ByteBuffer?) {
        try state.withLock { state in
            let id = ObjectIdentifier(channel)
            state.connections[id]?.generation = state.generation
            return (try settings(), state.isDraining, state.received.isEmpty ? nil : state.received.removeValue(forKey: id))
        }
    }

    func remove(_ channel: any Channel) {
        let emptied = state.withLock { state -> [EventLoopPromise<Void>] in
            state.connections[ObjectIdentifier(channel)] = nil
            state.received[ObjectIdentifier(channel)] = nil
            guard state.connections.isEmpty else { return [] }
            defer { state.emptied = [] }
            return state.emptied
        }
        for promise in emptied { promise.succeed() }
    }

    /// Changes the settings, and asks every connection that began with others to finish its exchange and close.
    /// - Returns: the generation before which connections are to end.
    func changeAccess(_ replaceSettings: () -> Void) -> Int {
        let (generation, before) = state.withLock { state in
            replaceSettings()
            state.generation += 1
            return (state.generation, state.connections.values.filter { $0.generation != nil })
        }
        for connection in before { connection.channel.pipeline.fireUserInboundEventTriggered(ConnectionDrainEvent.accessChanged) }
        return generation
    }

    /// Asks all to finish, those too that are still being accepted.
    /// - Returns: ends when the last one has closed.
    func drainForGood(on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        let channels = state.withLock { state in
            state.isDraining = true
            if !state.connections.isEmpty { state.emptied.append(promise) }
            return state.connections.values.map(\.channel)
        }
        if channels.isEmpty { promise.succeed() }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ConnectionDrainEvent.listenerCloses) }
        return promise.futureResult
    }

    /// Closes all that are left, whatever they do.
    /// - Parameter generation: only those that began before it.
    /// - Returns: how many there were.
    func closeAll(before generation: Int = .max) -> Int {
        let channels = state.withLock { state in
            state.connections.values.filter { $0.generation ?? (.max - 1) < generation }.map(\.channel)
        }
        for channel in channels { channel.abort() }
        return channels.count
    }
}
