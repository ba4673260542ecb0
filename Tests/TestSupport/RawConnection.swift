import Foundation
import NIOCore

/// A plain connection that a test holds open, byte by byte. Used by one test at a time.
public final class RawConnection {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var ended = false

    /// Connects to `HOST:PORT`, the host a numeric IP address (IPv6 in brackets), or to a Unix socket's path.
    /// - Parameter source: the IP address to connect from.
    public init(to address: String, from source: String? = nil) throws {
        let isUnix = address.contains("/")
        let isIPv6 = !isUnix && address.hasPrefix("[")
        // SwiftNIO makes the address, as in `bind(_:to:_:)`.
        let target =
            if isUnix {
                try SocketAddress(unixDomainSocketPath: address)
            } else {
                try SocketAddress(ipAddress: Self.host(of: address), port: Int(Self.port(of: address)))
            }
        descriptor = socket(isUnix ? AF_UNIX : isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if let source {
            let local = try SocketAddress(ipAddress: source, port: 0)
            _ = local.withSockAddr { bind(descriptor, $0, socklen_t($1)) }
        }
        let result = target.withSockAddr { Foundation.connect(descriptor, $0, socklen_t($1)) }
        guard result == 0 else {
            let error = errno
            // deinit runs and closes: all properties have their values.
            throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO)
        }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    deinit { close(descriptor) }

    /// Sends all of a text; small enough for the kernel to take at once.
    public func send(_ text: String) throws { try send(bytes: Array(text.utf8)) }

    /// Sends these bytes; few enough for the kernel to take at once.
    public func send(bytes: [UInt8]) throws {
        guard Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
    }

    /// Ends our side.
    public func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Breaks the connection: the other side gets a reset (connect(2), `AF_UNSPEC`).
    public func reset() {
        // AF_UNSPEC is 0.
        let address = [UInt8](repeating: 0, count: 16)
        address.withUnsafeBytes { bytes in
            _ = Foundation.connect(descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
        }
    }

    /// Whether the other side has ended; throws when it has reset the connection.
    public var isEnded: Bool {
        get throws {
            try read()
            return ended
        }
    }

    /// Everything received up to the end of the connection.
    public func receiveToEnd() async throws -> String {
        try await wait(for: "the connection to end") { try isEnded }
        return String(decoding: received, as: UTF8.self)
    }

    /// One GET on this connection, kept alive, and the answer's body.
    public func get(_ path: String) async throws -> (status: Int, head: String, body: String) {
        try send("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return try await response()
    }

    /// The next response, which must have a length.
    public func response() async throws -> (status: Int, head: String, body: String) {
        try await wait(for: "a response") {
            try read()
            let text = String(decoding: received, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else {
                if ended { throw RawConnectionEnded(description: "the connection ended before a response; received: \(text)") }
                return nil
            }
            let head = String(text[..<end.lowerBound])
            let lines = head.split(separator: "\r\n")
            let length =
                lines.first { $0.lowercased().hasPrefix("content-length:") }.flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0
            let body = text[end.upperBound...].utf8
            guard body.count >= length else { return nil }
            received.removeFirst(head.utf8.count + 4 + length)
            return (
                Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0, head, String(decoding: body.prefix(length), as: UTF8.self)
            )
        }
    }

    private func read() throws {
        var block = [UInt8](repeating: 0, count: 64 << 10)
        while !ended {
            let count = recv(descriptor, &block, block.count, 0)
            if count > 0 {
                received += block[..<count]
            } else if count == 0 {
                ended = true
            } else {
                guard errno == EAGAIN || errno == EINTR else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
                return
            }
        }
    }

    private static func port(of address: String) -> UInt16 { address.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }

    private static func host(of address: String) -> String {
        address.hasPrefix("[") ? String(address.dropFirst().prefix { $0 != "]" }) : String(address.prefix { $0 != ":" })
    }
}

/// The other side ended where a test expected more.
public struct RawConnectionEnded: Error, CustomStringConvertible {
    /// What had come by then.
    public let description: String
}
