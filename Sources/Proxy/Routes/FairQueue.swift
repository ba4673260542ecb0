public import NIOCore

/// A queue in which peers take turns, so that many elements of one peer do not delay those of the others.
public struct FairQueue<Element> {
    /// The elements of each peer that has some, in the order in which they came.
    private var waiting: [String: CircularBuffer<Element>] = [:]
    /// These peers, in the order of their turns.
    private var turns = CircularBuffer<String>()
    /// How many elements wait.
    public private(set) var count = 0

    /// An empty queue.
    public init() {}

    /// Whether nothing waits.
    public var isEmpty: Bool { count == 0 }

    /// How many elements of a peer wait.
    public func count(of peer: String) -> Int { waiting[peer]?.count ?? 0 }

    /// Adds an element behind the others of its peer.
    public mutating func append(_ element: Element, of peer: String) {
        if waiting[peer] == nil { turns.append(peer) }
        waiting[peer, default: []].append(element)
        count += 1
    }

    /// Takes the first element of the peer whose turn it is; `nil` when nothing waits.
    public mutating func popFirst() -> Element? {
        guard let peer = turns.popFirst(), let element = waiting[peer]?.popFirst() else { return nil }
        count -= 1
        if waiting[peer]?.isEmpty == true { waiting[peer] = nil } else { turns.append(peer) }
        return element
    }
}

extension FairQueue: Sendable where Element: Sendable {}

extension SocketAddress? {
    /// The name of a peer in a `FairQueue`: all connections from one IP address are one peer, and all Unix sockets are another.
    public var queueName: String { self?.ipAddress ?? "" }
}
