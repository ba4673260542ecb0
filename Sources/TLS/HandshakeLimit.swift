import NIOCore
import Synchronization

/// Counts bytes that are held for peers. Used from any thread.
public protocol HandshakeBudget: Sendable {
    /// Counts `bytes` more.
    func add(_ bytes: Int)
    /// Counts `bytes` less.
    func release(_ bytes: Int)
}

/// Limits the memory of all TLS handshakes in progress together.
///
/// A server's handshake reserves memory before it uses it. When that does not fit, the oldest handshakes of the same event loop end first,
/// with the reason `too_many`: a peer that continues needs a moment, while an attacker stays until the deadline. The handshakes of clients
/// are counted but do not reduce the limit of servers, because the configuration determines their number.
public final class HandshakeLimit: SharedSetting, Sendable {
    /// The limit of the handshakes of all servers together, in bytes. Enough for about 1,100 without client certificates.
    public static let maxBytes = 64 << 20

    /// The most bytes that one handshake holds inside OpenSSL: measured with OpenSSL 3.0 for both versions of TLS.
    static let connectionCost = 56 * 1024
    /// Additional bytes while the peer's Certificate message is read.
    static let certificateCost = (client: 48 * 1024, server: 96 * 1024)

    private let budget: any HandshakeBudget
    private let limit: Int
    /// Guards the lists of handshakes; held for a few steps.
    private let state = Mutex(State())

    private struct State {
        /// The bytes that servers have reserved.
        var reserved = 0
        var lastNumber: UInt64 = 0
        var byLoop: [ObjectIdentifier: Handshakes] = [:]
    }

    /// A handshake among those of its event loop.
    struct Ticket {
        fileprivate let number: UInt64
        fileprivate let loop: ObjectIdentifier
    }

    /// The server's handshakes of one event loop.
    private struct Handshakes {
        private var handlers: [UInt64: NIOLoopBound<TLSHandler>] = [:]
        /// The numbers in order of age. Those that have ended are dropped when they come to the front.
        private var order = CircularBuffer<UInt64>()

        mutating func begin(_ number: UInt64, _ handler: NIOLoopBound<TLSHandler>) {
            handlers[number] = handler
            order.append(number)
        }

        mutating func end(_ number: UInt64) {
            handlers[number] = nil
            while let first = order.first, handlers[first] == nil { order.removeFirst() }
            // One long handshake must not keep the numbers of all later ones.
            guard order.count > 64, order.count > 2 * handlers.count else { return }
            order = CircularBuffer(order.filter { handlers[$0] != nil })
        }

        func oldest(before number: UInt64) -> NIOLoopBound<TLSHandler>? {
            guard let first = order.first, first < number else { return nil }
            return handlers[first]
        }
    }

    /// - Parameters:
    ///   - budget: counts all handshakes.
    ///   - limit: of servers, in bytes.
    public init(_ budget: any HandshakeBudget, limit: Int = maxBytes) {
        self.budget = budget
        self.limit = limit
    }

    /// Adds a server's handshake.
    func begin(_ handler: TLSHandler, on eventLoop: any EventLoop) -> Ticket {
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        let loop = ObjectIdentifier(eventLoop)
        return state.withLock { state in
            state.lastNumber += 1
            state.byLoop[loop, default: Handshakes()].begin(state.lastNumber, bound)
            return Ticket(number: state.lastNumber, loop: loop)
        }
    }

    /// Removes a server's handshake.
    func end(_ ticket: Ticket) {
        state.withLock { $0.byLoop[ticket.loop]?.end(ticket.number) }
    }

    /// Reserves bytes for a server's handshake; ends older ones on the same event loop when they do not fit.
    /// - Returns: whether they fit now.
    func reserve(_ bytes: Int, for ticket: Ticket) -> Bool {
        while !reserve(bytes) {
            guard let oldest = oldest(before: ticket) else { return false }
            oldest.endForOthers()
        }
        budget.add(bytes)
        return true
    }

    private func reserve(_ bytes: Int) -> Bool {
        state.withLock { state in
            guard bytes <= limit - state.reserved else { return false }
            state.reserved += bytes
            return true
        }
    }

    /// Counts bytes of a client's handshake.
    func add(_ bytes: Int) {
        budget.add(bytes)
    }

    /// Gives back what was reserved, or added by a client.
    func release(_ bytes: Int, ofServer: Bool) {
        budget.release(bytes)
        if ofServer { state.withLock { $0.reserved -= bytes } }
    }

    private func oldest(before ticket: Ticket) -> TLSHandler? {
        state.withLock { $0.byLoop[ticket.loop]?.oldest(before: ticket.number) }?.value
    }
}
