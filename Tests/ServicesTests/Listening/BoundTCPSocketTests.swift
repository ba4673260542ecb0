import Glibc
import NIOCore
import Proxy
import TestSupport
import Testing

@testable import Services

struct BoundTCPSocketTests {
    @Test("after the end of arrivals, connections that wait are kept, and new ones are refused", arguments: ["127.0.0.1", "::1"])
    func endOfArrivals(host: String) throws {
        let server = try BoundTCPSocket.bind(ListenAddress(host: host, port: 0), v6Only: true, sharesPort: false)
        defer { close(server.descriptor) }
        #expect(listen(server.descriptor, 16) == 0)
        let early = try client(at: host, server.port)
        defer { close(early) }
        #expect(BoundTCPSocket.endArrivals(at: server.descriptor))
        // A second call may not be allowed, and changes nothing.
        #expect(BoundTCPSocket.endArrivals(at: server.descriptor))
        let late = try client(at: host, server.port)
        #expect(late < 0 && errno == ECONNREFUSED)
        #expect(BoundTCPSocket.hasWaitingConnection(server.descriptor))
        let accepted = accept(server.descriptor, nil, nil)
        defer { close(accepted) }
        #expect(send(early, "a", 1, 0) == 1)
        var byte: UInt8 = 0
        #expect(recv(accepted, &byte, 1, 0) == 1)
        #expect(!BoundTCPSocket.hasWaitingConnection(server.descriptor))
    }

    @Test("after the end of arrivals, a listener at an overlapping address gets them")
    func overlapping() throws {
        let specific = try BoundTCPSocket.bind(ListenAddress(host: "127.0.0.1", port: 0), v6Only: true, sharesPort: true)
        defer { close(specific.descriptor) }
        let general = try BoundTCPSocket.bind(ListenAddress(host: "0.0.0.0", port: specific.port), v6Only: true, sharesPort: true)
        defer { close(general.descriptor) }
        #expect(listen(specific.descriptor, 16) == 0 && listen(general.descriptor, 16) == 0)
        BoundTCPSocket.endArrivals(at: specific.descriptor)
        let connection = try client(at: "127.0.0.1", specific.port)
        defer { close(connection) }
        #expect(connection >= 0)
        #expect(BoundTCPSocket.hasWaitingConnection(general.descriptor))
        #expect(!BoundTCPSocket.hasWaitingConnection(specific.descriptor))
    }

    /// - Returns: the descriptor of a connection; -1, and `errno`, if there is none.
    private func client(at host: String, _ port: UInt16) throws -> CInt {
        let descriptor = socket(host.utf8.contains(UInt8(ascii: ":")) ? AF_INET6 : AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        let address = try SocketAddress(ipAddress: host, port: Int(port))
        guard address.withSockAddr({ connect(descriptor, $0, socklen_t($1)) }) == 0 else {
            let error = errno
            close(descriptor)
            errno = error
            return -1
        }
        return descriptor
    }
}
