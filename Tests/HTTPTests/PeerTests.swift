import HTTP
import NIOCore
import Testing

@Suite("Peer")
struct PeerTests {
    @Test("a peer is named by its address, an IPv6 one in brackets")
    func names() throws {
        #expect(try Peer(address: SocketAddress(ipAddress: "127.0.0.1", port: 6554)).description == "127.0.0.1:6554")
        #expect(try Peer(address: SocketAddress(ipAddress: "::1", port: 6554)).description == "[::1]:6554")
        #expect(Peer.unknown.description == "unknown")
        #expect(try Peer(address: SocketAddress(unixDomainSocketPath: "/run/x.sock")).description == "unknown")
    }
}
