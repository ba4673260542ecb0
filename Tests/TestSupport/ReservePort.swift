import Foundation
import NIOCore

/// A port for tests that must know it beforehand, or that leave it and come back. Until the process of the tests ends no other
/// test of this machine gets it, and the system gives it to nobody who asks for port 0.
/// - Throws: `POSIXError` when none is free.
public func reservePort() throws -> UInt16 {
    for number in (10_000..<(try lowestPortOfTheSystem())).shuffled() {
        guard let claim = claim(number) else { continue }
        if isFree(number, AF_INET), isFree(number, AF_INET6) { return number }
        close(claim)
    }
    throw POSIXError(.EADDRINUSE)
}

/// The first of the ports that the system gives away by itself: ip(7), `ip_local_port_range`.
private func lowestPortOfTheSystem() throws -> UInt16 {
    let range = try String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)
    guard let low = range.split(whereSeparator: \.isWhitespace).first.flatMap({ UInt16($0) }), low > 10_000 else {
        throw POSIXError(.EADDRNOTAVAIL)
    }
    return low
}

/// A socket whose name holds the number, open as long as the process is; `nil` when another test has it.
private func claim(_ number: UInt16) -> Int32? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // A name that begins with NUL is no file: unix(7), "abstract".
    let name = Array("\0exporter-proxy-test-port-\(number)".utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard bind(descriptor, to: &address, length: MemoryLayout<sockaddr_un>.size - MemoryLayout.size(ofValue: address.sun_path) + name.count)
    else {
        close(descriptor)
        return nil
    }
    return descriptor
}

/// Whether a listener can have the port on every address of a family. A machine without the family does not matter.
private func isFree(_ number: UInt16, _ family: Int32) -> Bool {
    let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return errno == EAFNOSUPPORT }
    defer { close(descriptor) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    guard family == AF_INET6 else { return bind(descriptor, to: "0.0.0.0", number) }
    setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &yes, socklen_t(MemoryLayout<Int32>.size))
    return bind(descriptor, to: "::", number) || errno == EADDRNOTAVAIL
}

/// Binds a socket to an IP address and a port.
/// - Parameter host: a numeric address.
/// - Returns: whether that succeeded; if not, `errno` says why.
public func bind(_ descriptor: Int32, to host: String, _ port: UInt16) -> Bool {
    // SwiftNIO makes the address: in a module that imports SwiftNIO, the compiler may take `sockaddr_in` for one of its own declarations.
    guard let address = try? SocketAddress(ipAddress: host, port: Int(port)) else { return false }
    return address.withSockAddr { Foundation.bind(descriptor, $0, socklen_t($1)) == 0 }
}

private func bind<Address>(_ descriptor: Int32, to address: inout Address, length: Int) -> Bool {
    withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Foundation.bind(descriptor, $0, socklen_t(length)) == 0 }
    }
}
