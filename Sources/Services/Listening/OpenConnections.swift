import NIOCore
import Synchronization
import TLS

/// The connections of one listener that are open now, so that they can be drained.
final class OpenConnections: Sendable {
    private struct Connection {
        let channel: any Channel
        /// How often access had changed when its settings were read; `nil` before that.
        var generation: Int?
        /// How its pipeline is made, where something was read from it before it has one.
        var setUp: Listener.SetUpConnection?
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        /// Why connections finish and close from now on.
        var draining: ConnectionDrainEvent?
        var emptied: [EventLoopPromise<Void>] = []
        /// Counts the changes of access.
        var generation = 0
    }

    /// Guards the set, and which settings its members began with.
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.connections.count } }

    /// A connection was accepted; nothing has been read of the settings for it, unless it has begun already.
    func insert(_ channel: any Channel) {
        state.withLock { state in
            let id = ObjectIdentifier(channel)
            if state.connections[id] == nil { state.connections[id] = Connection(channel: channel) }
        }
    }

    /// The settings that a new connection begins with, read so that it is either before a change of access and ends with it, or after it.
    func begin<Settings>(_ channel: any Channel, with settings: () throws -> Settings) rethrows -> Settings {
        try state.withLock { state in
            state.connections[ObjectIdentifier(channel), default: Connection(channel: channel)].generation = state.generation
            return try settings()
        }
    }

    /// The pipeline of a connection that has begun is made so.
    func keep(_ setUp: @escaping Listener.SetUpConnection, for channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.setUp = setUp }
    }

    /// How to make the pipeline of a connection: as was kept for it, or with settings that are read now.
    /// - Returns: and why the connection is to end soon, if it is.
    func setUp(
        _ channel: any Channel, with settings: () throws -> Listener.SetUpConnection
    ) rethrows -> (setUp: Listener.SetUpConnection, drain: ConnectionDrainEvent?) {
        try state.withLock { state in
            let id = ObjectIdentifier(channel)
            var drain = state.draining
            if let kept = state.connections[id]?.setUp {
                state.connections[id]?.setUp = nil
                if state.connections[id]?.generation != state.generation { drain = .accessChanged }
                return (kept, drain)
            }
            state.connections[id]?.generation = state.generation
            return (try settings(), drain)
        }
    }

    func remove(_ channel: any Channel) {
        let emptied = state.withLock { state -> [EventLoopPromise<Void>] in
            state.connections[ObjectIdentifier(channel)] = nil
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
    /// - Parameter event: why.
    /// - Returns: ends when the last one has closed.
    func drainForGood(_ event: ConnectionDrainEvent = .listenerCloses, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        let channels = state.withLock { state in
            state.draining = event
            if !state.connections.isEmpty { state.emptied.append(promise) }
            return state.connections.values.map(\.channel)
        }
        if channels.isEmpty { promise.succeed() }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(event) }
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

/// Fired into a connection's pipeline: finish the exchange in flight, then close.
/// Every inner pipeline must heed it; at the deadline the connection is closed hard.
enum ConnectionDrainEvent: Sendable {
    /// The listener closes. A request that was sent just now may still be on its way, and a new connection is about to send one:
    /// it is waited for, a little.
    case listenerCloses
    /// The listener closes, and its socket goes on with the next program, to which clients connect without a gap. A connection that has sent
    /// nothing yet is an exchange in flight: no client is cut off because it connected a moment too early.
    case socketGoesOn
    /// The rules of access have changed since the connection was made: only what had come by then is answered.
    case accessChanged

    /// How long a connection without an exchange in flight is kept.
    /// - Parameter isNew: whether it has had none at all.
    func pause(isNew: Bool) -> TimeAmount {
        switch self {
        // Enough for what the kernel holds already to be read.
        case .accessChanged: .milliseconds(1)
        case .listenerCloses: isNew ? .seconds(1) : .milliseconds(50)
        // The deadline of the drain comes first.
        case .socketGoesOn: isNew ? .hours(24) : .milliseconds(50)
        }
    }
}
