public import NIOCore

/// A queue in which peers take turns, so that many elements of one peer do not delay those of the others.
public struct FairQueue<Element> {
    /// The elements of each peer that has some, in the order in which they came.
    private var waiting: [QueuePeer: CircularBuffer<Element>] = [:]
    /// These peers, in the order of their turns.
    private var turns = CircularBuffer<QueuePeer>()
    /// How many elements wait.
    public private(set) var count = 0

    /// An empty queue.
    public init() {}

    /// Whether nothing waits.
    public var isEmpty: Bool { count == 0 }

    /// How many elements of a peer wait.
    public func count(of peer: QueuePeer) -> Int { waiting[peer]?.count ?? 0 }

    /// Adds an element behind the others of its peer.
    public mutating func append(_ element: Element, of peer: QueuePeer) {
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

/// A peer in a `FairQueue`: all connections from one IPv4 address, or from one IPv6 network of 64 bits, which one machine may have for
/// itself. All Unix sockets are one peer. Cheap to make and to compare.
public struct QueuePeer: Hashable, Sendable {
    private let number: UInt64

    /// - Parameter address: of a connection's other end.
    public init(_ address: SocketAddress?) {
        switch address {
        // In `sockaddr_in` the address begins at byte 4, in `sockaddr_in6` at byte 8 (ip(7), ipv6(7)).
        case .v4(let address):
            number = withUnsafeBytes(of: address.address) { UInt64($0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) }
        case .v6(let address):
            number = withUnsafeBytes(of: address.address) { bytes in
                let network = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                // ::ffff:192.0.2.1 is IPv4 on a socket of both.
                let isMapped = network == 0 && bytes[16..<20].elementsEqual([0, 0, 0xFF, 0xFF])
                return isMapped ? UInt64(bytes.loadUnaligned(fromByteOffset: 20, as: UInt32.self)) : network
            }
        case .unixDomainSocket, nil: number = 0
        }
    }
}
