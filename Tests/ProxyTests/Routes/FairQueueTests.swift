import NIOCore
import Proxy
import Testing

@Suite("FairQueue")
struct FairQueueTests {
    private func queuePeer(_ address: String) throws -> QueuePeer { QueuePeer(try SocketAddress(ipAddress: address, port: 1)) }

    @Test("peers take turns, and each gets its elements in the order in which they came")
    func turns() throws {
        let peers = ["a": try queuePeer("192.0.2.1"), "b": try queuePeer("192.0.2.2"), "c": try queuePeer("2001:db8::1")]
        func peer(of element: String) throws -> QueuePeer { try #require(peers[String(element.prefix(1))]) }
        var queue = FairQueue<String>()
        for element in ["a1", "a2", "a3", "b1", "c1", "c2"] { queue.append(element, of: try peer(of: element)) }
        let waiting = queue.count(of: try peer(of: "a"))
        #expect(queue.count == 6 && waiting == 3)
        var order: [String] = []
        while let element = queue.popFirst() {
            order.append(element)
            // It waits for the peer's next turn.
            if element == "b1" { queue.append("b2", of: try peer(of: "b")) }
        }
        #expect(order == ["a1", "b1", "c1", "a2", "b2", "c2", "a3"])
        let left = queue.count(of: try peer(of: "a"))
        #expect(queue.isEmpty && left == 0)
    }

    @Test("a peer is an IPv4 address or an IPv6 network of 64 bits")
    func peers() throws {
        for (one, other, isSame) in [
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false), ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false), ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false), ("::1", "127.0.0.1", false),
        ] {
            let (first, second) = (try queuePeer(one), try queuePeer(other))
            #expect((first == second) == isSame, "\(one) \(other)")
        }
        let sockets = try ["/a", "/b"].map { QueuePeer(try SocketAddress(unixDomainSocketPath: $0)) }
        #expect(sockets[0] == sockets[1] && sockets[0] == QueuePeer(nil))
    }
}
