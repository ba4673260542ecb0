import Glibc
import Proxy
import Synchronization
import TestSupport
import Testing

@testable import Services

@Suite("Inherited sockets")
struct InheritedSocketsTests {
    /// Each use gets its own descriptors, because tests run in parallel. They are so high that nothing else in the process uses them.
    private static let nextDescriptor = Atomic<CInt>(700)

    /// Passes sockets on consecutive descriptors, as systemd does.
    private func with(_ make: [() throws -> CInt], _ body: (CInt) throws -> Void) throws {
        let count = CInt(make.count)
        let first = Self.nextDescriptor.add(count, ordering: .relaxed).oldValue
        for (descriptor, make) in zip(first..., make) {
            let made = try make()
            #expect(fcntl(descriptor, F_GETFD) < 0, "\(descriptor) is in use")
            #expect(dup2(made, descriptor) >= 0)
            close(made)
        }
        defer { for descriptor in first..<first + count { close(descriptor) } }
        try body(first)
    }

    private func tcp(_ host: String, v6Only: Bool = false) -> () throws -> CInt {
        {
            let socket = try BoundTCPSocket.bind(ListenAddress(host: host, port: 0), v6Only: v6Only, sharesPort: false)
            #expect(listen(socket.descriptor, 1) == 0)
            return socket.descriptor
        }
    }

    private func take(_ count: Int, from first: CInt, names: String? = nil) -> InheritedSockets {
        InheritedSockets(process: "\(getpid())", count: "\(count)", names: names, first: first)
    }

    private func port(_ socket: InheritedSockets.Socket) -> UInt16 {
        if case .tcp(let address, _) = socket.address { address.port } else { 0 }
    }

    @Test("variables for another process, or that make no sense, pass nothing")
    func variables() {
        #expect(InheritedSockets(process: nil, count: "1", names: nil).sockets.isEmpty)
        #expect(InheritedSockets(process: "1", count: "1", names: nil).sockets.isEmpty)
        #expect(InheritedSockets(process: "x", count: "1", names: nil).sockets.isEmpty)
        for count in ["-1", "", "x", "1e3", "99999999999999999999", "1025"] {
            let sockets = InheritedSockets(process: "\(getpid())", count: count, names: nil)
            #expect(sockets.sockets.isEmpty && sockets.warnings.count == 1, "\(count)")
        }
        #expect(take(2, from: CInt.max - 10).warnings.count == 1, "not open")
    }

    @Test("a socket serves the address that it is bound to, and a dual-stack one the IPv4 wildcard too")
    func addresses() throws {
        try with([tcp("127.0.0.1"), tcp("::"), tcp("::1"), tcp("::", v6Only: true)]) { first in
            let inherited = take(4, from: first, names: "a:b:c:d")
            #expect(inherited.sockets.map(\.name) == ["a", "b", "c", "d"])
            #expect(fcntl(first, F_GETFD) & FD_CLOEXEC != 0)
            func name(_ host: String, _ index: Int) -> String? {
                inherited.socket(for: .tcp(ListenAddress(host: host, port: port(inherited.sockets[index]))))?.name
            }
            #expect(name("127.0.0.1", 0) == "a" && name("0.0.0.0", 0) == nil)
            #expect(name("::", 1) == "b" && name("0.0.0.0", 1) == "b" && name("127.0.0.1", 1) == nil)
            #expect(name("::1", 2) == "c")
            #expect(name("::", 3) == "d" && name("0.0.0.0", 3) == nil)
            #expect(inherited.socket(for: .scrape(ListenAddress(host: "127.0.0.1", port: 0), leavesIPv4: false)) == nil)
            let overlapping = ListenerIdentity.tcp(ListenAddress(host: "0.0.0.0", port: port(inherited.sockets[0])))
            #expect(inherited.socket(inTheWayOf: overlapping)?.name == "a")
        }
    }

    @Test("an address in use that belongs to a socket closed at the start: the error names the unit and the remedy")
    func closed() throws {
        try with([tcp("127.0.0.1"), tcp("127.0.0.2")]) { first in
            var inherited = take(2, from: first, names: "a:b")
            let used = ListenerIdentity.tcp(ListenAddress(host: "127.0.0.1", port: port(inherited.sockets[0])))
            let unused = ListenAddress(host: "127.0.0.2", port: port(inherited.sockets[1]))
            #expect(inherited.close(exceptFor: [used]).map(\.name) == ["b"])
            let inUse = ListenError("\(unused)", errno: EADDRINUSE, port: unused.port)
            #expect(
                inherited.explained(inUse, of: .tcp(unused)).description
                    == "cannot listen on \(unused): systemd's unit b holds it; its socket was closed at the start, because no configured address used it: restart the service"
            )
            let overlapping = ListenerIdentity.tcp(ListenAddress(host: "0.0.0.0", port: unused.port))
            // While the service runs, systemd does not restart the unit of its socket. While that unit listens, the next connection starts
            // the service again.
            #expect(
                inherited.explained(inUse, of: overlapping).reason
                    == "it overlaps \(unused), a socket of systemd's unit b: change ListenStream= there, stop that unit and this service with one systemctl command, and start both with another"
            )
            #expect(inherited.explained(inUse, of: used) == inUse)
            let denied = ListenError("\(unused)", errno: EACCES, port: unused.port)
            #expect(inherited.explained(denied, of: .tcp(unused)) == denied)
        }
    }

    @Test("a descriptor that is no socket is left alone")
    func noSocket() throws {
        try with([{ open("/dev/null", O_RDONLY) }, tcp("127.0.0.1")]) { first in
            var inherited = take(2, from: first, names: "a:b")
            #expect(inherited.warnings.count == 1 && inherited.sockets.map(\.name) == ["b"])
            #expect(inherited.close(exceptFor: []).map(\.name) == ["b"])
            #expect(fcntl(first, F_GETFD) >= 0)
        }
    }

    @Test("paths are compared after symbolic links; other kinds of sockets fit nothing and are closed")
    func unix() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("run/x", "")
            #expect(symlink("run", folder.path("var")) == 0)
            let unix: () throws -> CInt = {
                let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
                var address = sockaddr_un()
                address.sun_family = sa_family_t(AF_UNIX)
                withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: folder.path("run/s").utf8) }
                let bound = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
                }
                #expect(bound == 0 && listen(descriptor, 1) == 0)
                return descriptor
            }
            let datagram: () throws -> CInt = { socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0) }
            try with([unix, datagram, tcp("127.0.0.1")]) { first in
                var inherited = take(3, from: first)
                let identity = ListenerIdentity.unix(UnixSocketConfig(path: folder.path("var/s")))
                #expect(inherited.socket(for: identity)?.descriptor == first)
                #expect(inherited.close(exceptFor: [identity]).map(\.descriptor) == [first + 1, first + 2])
                #expect(inherited.sockets.map(\.descriptor) == [first])
                #expect(fcntl(first + 1, F_GETFD) < 0)
            }
        }
    }
}
