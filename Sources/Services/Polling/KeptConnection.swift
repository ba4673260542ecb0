import NIOCore
import Proxy

/// The one connection that is kept to an origin between polls, shared by the targets there. Belongs to their event loop.
///
/// No target waits for another: while one polls, the others open connections of their own. A server may serve one connection at a time,
/// so a connection is kept only when no other is in use, and one that a target cannot use is closed before it opens its own.
final class KeptConnection<Connection: AnyObject, Terms: Equatable> {
    /// What a target that begins to poll does.
    enum Beginning {
        /// Asks on the kept connection.
        case use(Connection)
        /// Opens one of its own, after closing that which another target has kept.
        case open(closing: Connection?)
    }

    private var idle: (connection: Connection, terms: Terms)?
    /// Polls under way, each with a connection or opening one.
    private var polls = 0
    /// Targets of this origin.
    private var targets = 0

    /// Whether no target has this origin.
    var isUnused: Bool { targets == 0 }

    /// A target of this origin starts.
    func join() { targets += 1 }

    /// A target of this origin has stopped.
    /// - Returns: the connection to close, when it was the last one.
    func leave() -> Connection? {
        targets -= 1
        return targets == 0 ? take() : nil
    }

    /// A target begins to poll. `end` must follow.
    /// - Parameter terms: what the connection must have been opened with; `nil` for one that must be new.
    func begin(_ terms: Terms?) -> Beginning {
        polls += 1
        guard let idle else { return .open(closing: nil) }
        self.idle = nil
        return idle.terms == terms ? .use(idle.connection) : .open(closing: idle.connection)
    }

    /// A target's poll has no use for its connection any more.
    /// - Parameter connection: what may be kept; `nil` when there is nothing to keep.
    /// - Returns: the connection to close, if it is not kept.
    func end(_ connection: Connection?, _ terms: Terms) -> Connection? {
        polls -= 1
        guard let connection else { return nil }
        guard polls == 0, targets > 0, idle == nil else { return connection }
        idle = (connection, terms)
        return nil
    }

    /// The idle connection, which is not kept any more; for a request that only passes by.
    func take() -> Connection? {
        defer { idle = nil }
        return idle?.connection
    }
}

/// What the targets of one event loop share. Belongs to it.
final class PollingContext {
    typealias OriginConnection = KeptConnection<TargetConnection, PolledTarget.ConnectionTerms>

    let eventLoop: any EventLoop
    /// Wakes the loops of all targets.
    let alarms: AlarmClock
    private var origins: [TargetURL.Origin: OriginConnection] = [:]

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        alarms = AlarmClock(eventLoop: eventLoop)
    }

    /// A target of this origin starts. `leave` must follow.
    func join(_ origin: TargetURL.Origin) -> OriginConnection {
        let shared = origins[origin] ?? OriginConnection()
        origins[origin] = shared
        shared.join()
        return shared
    }

    /// A target of this origin has stopped.
    /// - Returns: the connection to close, if no other target has this origin.
    func leave(_ origin: TargetURL.Origin) -> TargetConnection? {
        let connection = origins[origin]?.leave()
        if origins[origin]?.isUnused == true { origins[origin] = nil }
        return connection
    }

    /// The idle connection to an origin, if there is one. It is kept no longer.
    func takeIdleConnection(to origin: TargetURL.Origin) -> TargetConnection? { origins[origin]?.take() }
}
