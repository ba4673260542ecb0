import Glibc
import HTTP

/// A numeric IP address and port to listen on, as `IP:PORT` or `[v6]:PORT`.
public struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// A numeric IPv4 or IPv6 address, without brackets.
    public var host: String
    /// With `0` the system chooses one.
    public var port: UInt16

    /// An address; `host` is a numeric IP address without brackets.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Whether `host` is an IPv6 address.
    public var isIPv6: Bool { host.utf8.contains(UInt8(ascii: ":")) }

    /// As written in the configuration, and in `/apps`: `127.0.0.1:6554`, `[::1]:6554`.
    public var description: String { HostAndPort.text(host, port) }
}

extension ListenAddress {
    /// Why a text is not a numeric address and port.
    struct Malformed: Error {
        var hint: String?
    }

    /// Reads `IP:PORT` or `[IPv6]:PORT`. The host gets its canonical form (RFC 5952).
    ///
    /// - Parameter usual: the suggestion if the text lacks a host or a port.
    init(parsing text: String, usual: ListenAddress) throws(Malformed) {
        guard text.contains(":") else {
            if let port = UInt16(text) { throw Malformed(hint: "did you mean \"\(ListenAddress(host: usual.host, port: port))\"?") }
            if NumericAddress(text) != nil { throw Malformed(hint: "the port is missing: did you mean \"\(text):\(usual.port)\"?") }
            throw Malformed(hint: "the port is missing")
        }
        if NumericAddress(text) != nil {
            throw Malformed(hint: "write an IPv6 address in brackets: did you mean \"\(Self.bracketed(text, usual: usual.port))\"?")
        }
        guard let parts = HostAndPort(text[...]) else {
            throw Malformed(hint: text.contains("]") ? "after the ] stands a colon and the port" : "the closing ] is missing")
        }
        guard let digits = parts.port, !digits.isEmpty else { throw Malformed(hint: "the port is missing") }
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let port = UInt16(digits) else {
            throw Malformed(hint: "the port is a number from 0 to 65535")
        }
        let host = String(parts.host)
        if parts.isBracketed {
            guard !host.contains("%") else {
                throw Malformed(hint: "zone ids are not supported; use an address that is unique on this host")
            }
            guard let address = NumericAddress(host), address.isIPv6 else {
                throw Malformed(hint: "\(ValueText.quoted(host)) is not an IPv6 address")
            }
            self.init(host: address.description, port: port)
            return
        }
        if host.isEmpty || host == "*" { throw Malformed(hint: "did you mean \"\(ListenAddress(host: usual.host, port: port))\"?") }
        if host.lowercased() == "localhost" { throw Malformed(hint: "names are not looked up; did you mean \"127.0.0.1:\(port)\"?") }
        guard let address = NumericAddress(host) else {
            throw Malformed(hint: "\(ValueText.quoted(host)) is not a numeric address, and names are not looked up")
        }
        guard !address.isIPv6 else { throw Malformed(hint: "write an IPv6 address in brackets: did you mean \"[\(host)]:\(port)\"?") }
        self.init(host: address.description, port: port)
    }

    /// The probable meaning of `text`, an IPv6 address without brackets: a last group of four or more decimal digits is taken for the port
    /// if the rest is an address.
    private static func bracketed(_ text: String, usual: UInt16) -> String {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 999 else {
            return "[\(text)]:\(usual)"
        }
        let front = text[..<colon]
        let host = front == ":" ? "::" : String(front)
        return NumericAddress(host)?.isIPv6 == true ? "[\(host)]:\(port)" : "[\(text)]:\(usual)"
    }

    /// Whether both cannot be bound at the same time: they have the same port, and the same address or one that covers it.
    public func overlaps(_ other: ListenAddress) -> Bool {
        guard port == other.port, port != 0, let a = NumericAddress(host)?.unmapped, let b = NumericAddress(other.host)?.unmapped
        else { return false }
        return a == b || a.covers(b) || b.covers(a)
    }
}

/// An IPv4 or IPv6 address without a zone.
struct NumericAddress: Hashable, CustomStringConvertible {
    /// The canonical text.
    let description: String
    let isIPv6: Bool

    init?(_ text: String) {
        // inet_pton accepts only dotted quads, and for IPv6 what RFC 4291 §2.2 allows.
        var storage = [UInt8](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<in6_addr>.size)
        let family = text.utf8.contains(UInt8(ascii: ":")) ? AF_INET6 : AF_INET
        guard !text.utf8.contains(0), inet_pton(family, text, &bytes) == 1 else { return nil }
        let isWritten = storage.withUnsafeMutableBytes { buffer in
            inet_ntop(family, bytes, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), socklen_t(buffer.count)) != nil
        }
        guard isWritten else { return nil }
        self.description = String(decoding: storage.prefix { $0 != 0 }, as: UTF8.self)
        self.isIPv6 = family == AF_INET6
    }

    /// An IPv4 address, also when it is written as an IPv6 one (RFC 4291 §2.5.5.2).
    var unmapped: NumericAddress {
        guard let text = description.after("::ffff:"), let address = NumericAddress(String(text)), !address.isIPv6 else { return self }
        return address
    }

    /// Whether it means all addresses of its family.
    var isWildcard: Bool { description == "0.0.0.0" || description == "::" }

    /// Whether it is an address of the host itself.
    var isLoopback: Bool { description == "::1" || description.hasPrefix("127.") || description.hasPrefix("::ffff:127.") }

    /// Whether a listener here accepts connections to `other`: `::` listens for IPv4 too.
    func covers(_ other: NumericAddress) -> Bool {
        isWildcard && !(other.isIPv6 && !isIPv6)
    }
}
