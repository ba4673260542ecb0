import NIOCore
import Synchronization
import TLS

/// The open connections of one listener. A stop or a reload asks them to finish, and closes the rest at the deadline.
///
/// A connection passes through these methods: `begin` (`FirstReadHandler` reads the settings), `keep` (it has read from the connection),
/// `insert` (the connection was accepted), `setUp` (its pipeline is made), `remove` (it has ended). Listeners without a `FirstReadHandler`
/// begin with `insert`. With TLS, `keep` is left out.
final class OpenConnections: Sendable {
    private struct Connection {
        let channel: any Channel
        /// The number of changes of access before its settings were read; `nil` until then.
        var generation: Int?
        /// Makes its pipeline. Set when `FirstReadHandler` has read from the connection.
        var setUp: Listener.SetUpConnection?
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        var accepted = 0
        /// Why all connections are to finish and close; `nil` before a drain.
        var draining: ConnectionDrainEvent?
        var emptied: [EventLoopPromise<Void>] = []
        /// Counts the changes of access.
        var generation = 0
    }

    /// Guards the connections, and the number of changes of access.
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.connections.count } }

    /// How many were accepted so far.
    var accepted: Int { state.withLock { $0.accepted } }

    /// Adds an accepted connection. `setUp` reads its settings later, unless `begin` was called before.
    func insert(_ channel: any Channel) {
        state.withLock { state in
            let id = ObjectIdentifier(channel)
            state.accepted += 1
            if state.connections[id] == nil { state.connections[id] = Connection(channel: channel) }
        }
    }

    /// Reads the settings of a new connection. A change of access happens either before that, or ends the connection.
    func begin<Settings>(_ channel: any Channel, with settings: () throws -> Settings) rethrows -> Settings {
        try state.withLock { state in
            state.connections[ObjectIdentifier(channel), default: Connection(channel: channel)].generation = state.generation
            return try settings()
        }
    }

    /// Keeps how to make the pipeline of a connection for which `begin` was called.
    func keep(_ setUp: @escaping Listener.SetUpConnection, for channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)]?.setUp = setUp }
    }

    /// Returns the function that makes the pipeline of a connection: the one that was kept, or one with the settings in force.
    /// - Returns: the function, and the drain event that the connection gets at once, if any.
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

    /// Changes the settings, and asks every connection with older ones to finish its exchange and close.
    /// - Returns: the generation that `closeAll` takes.
    func changeAccess(_ replaceSettings: () -> Void) -> Int {
        let (generation, before) = state.withLock { state in
            replaceSettings()
            state.generation += 1
            return (state.generation, state.connections.values.filter { $0.generation != nil })
        }
        for connection in before { connection.channel.pipeline.fireUserInboundEventTriggered(ConnectionDrainEvent.accessChanged) }
        return generation
    }

    /// Asks all connections to finish, and those that are accepted from now on.
    /// - Parameter event: the reason.
    /// - Returns: a future that succeeds when the last one has closed.
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

    /// Connections wait for room while this listener closes: from now on, those that have sent nothing make room sooner.
    func makeRoom() {
        let channels = state.withLock { state -> [any Channel] in
            guard state.draining == .listenerCloses else { return [] }
            state.draining = .othersWait
            return state.connections.values.map(\.channel)
        }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ConnectionDrainEvent.othersWait) }
    }

    /// Aborts connections, whatever they do.
    /// - Parameter generation: only those whose settings were read before this one; `nil` means all.
    /// - Returns: how many they were.
    func closeAll(before generation: Int? = nil) -> Int {
        let channels = state.withLock { state in
            state.connections.values.filter { connection in
                guard let generation else { return true }
                // A connection whose settings were not read yet will read the new ones.
                return connection.generation.map { $0 < generation } ?? false
            }.map(\.channel)
        }
        for channel in channels {
            channel.pipeline.fireUserInboundEventTriggered(ConnectionCutEvent())
            channel.abort()
        }
        return channels.count
    }
}

/// Fired into a connection's pipeline before it is aborted at the deadline: tell the peer why, if it could take the end for a success.
struct ConnectionCutEvent: Sendable {}

/// Fired into a connection's pipeline: finish the exchange in flight, then close. Every inner pipeline must handle it. At the deadline the
/// connection is aborted.
enum ConnectionDrainEvent: Sendable {
    /// The listener closes. A connection waits a short time for a request: one may be on its way, or a new client may be about to send it.
    case listenerCloses
    /// The listener closes, the limit of connections is reached, and others wait to be accepted: they may have sent their requests already.
    case othersWait
    /// The listener closes, and the next program uses its socket, so that clients can connect all the time. A connection that has sent
    /// nothing yet counts as an exchange in flight: otherwise clients that connect a moment too early would be cut off.
    case socketGoesOn
    /// The rules of access have changed since the connection was made. Only requests that have arrived already are answered.
    case accessChanged

    /// The event that counts after an earlier one: a change of access stays in force, whatever follows.
    func following(_ earlier: ConnectionDrainEvent?) -> ConnectionDrainEvent { earlier == .accessChanged ? .accessChanged : self }

    /// Longer than any drain: the deadline of the drain comes first.
    private static let untilDeadline = TimeAmount.hours(24)

    /// How long a connection without an exchange in flight is kept.
    /// - Parameter isNew: whether it has had no exchange at all.
    func pause(isNew: Bool) -> TimeAmount {
        switch self {
        // Enough time to read the bytes that the kernel has already.
        case .accessChanged: .milliseconds(1)
        case .listenerCloses: isNew ? .seconds(1) : .milliseconds(50)
        // Enough for the round trip of a TLS handshake.
        case .othersWait: isNew ? .milliseconds(200) : .milliseconds(50)
        case .socketGoesOn: isNew ? Self.untilDeadline : .milliseconds(50)
        }
    }
}
