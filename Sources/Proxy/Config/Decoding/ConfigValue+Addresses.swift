import Glibc
import TOML

extension ConfigValue where Value == ListenAddress {
    /// A numeric address and port to listen on.
    static var listenAddress: Self {
        .scalar("IP:PORT or [IPv6]:PORT", example: "\"127.0.0.1:6554\"") { (value, _) throws(Mismatch) in
            switch value {
            case .string(let text):
                do throws(ListenAddress.Malformed) {
                    return try ListenAddress(parsing: text)
                } catch {
                    throw Mismatch(hint: error.hint)
                }
            case .integer(let port) where (0...65535).contains(port): throw Mismatch(hint: "did you mean \"0.0.0.0:\(port)\"?")
            default: return nil
            }
        }
    }
}

extension ConfigValue where Value == [Keyed<ListenAddress>] {
    /// One address, or an array of at least one.
    static var listenAddresses: Self {
        ConfigValue { node, key, reader in
            guard case .array(let elements) = node.value else {
                return ConfigValue<ListenAddress>.listenAddress.keyed.read(node, key, &reader).map { [$0] }
            }
            guard !elements.isEmpty else {
                reader.refuse(key, "\(key) must name at least one address, such as \"0.0.0.0:6555\", not an empty array")
                return nil
            }
            let addresses = elements.enumerated().compactMap { index, element in
                ConfigValue<ListenAddress>.listenAddress.keyed.read(element, "\(key)[\(index)]", &reader)
            }
            return addresses.count == elements.count ? addresses : nil
        }
    }
}

extension ListenAddress {
    /// Why a text is not a numeric address and port.
    struct Malformed: Error {
        var hint: String?
    }

    /// `IP:PORT` or `[IPv6]:PORT`; the host comes out in its canonical form (RFC 5952).
    init(parsing text: String) throws(Malformed) {
        guard let colon = text.lastIndex(of: ":") else {
            if let port = UInt16(text) { throw Malformed(hint: "did you mean \"0.0.0.0:\(port)\"?") }
            throw Malformed(hint: "the port is missing")
        }
        let bracketed = text[..<colon]
        let digits = text[text.index(after: colon)...]
        if NumericAddress(text) != nil {
            throw Malformed(hint: "an IPv6 address stands in brackets, and a port after it: did you mean \"[\(text)]:6555\"?")
        }
        guard !digits.isEmpty else { throw Malformed(hint: "the port is missing") }
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let port = UInt16(digits) else {
            throw Malformed(hint: "the port is a number from 0 to 65535")
        }
        if bracketed.isEmpty || bracketed == "*" { throw Malformed(hint: "did you mean \"0.0.0.0:\(port)\"?") }

        if bracketed.hasPrefix("["), bracketed.hasSuffix("]") {
            let inner = String(bracketed.dropFirst().dropLast())
            guard !inner.contains("%") else {
                throw Malformed(hint: "zone ids are not supported; use an address that is unique on this host")
            }
            guard let address = NumericAddress(inner), address.isIPv6 else {
                throw Malformed(hint: "\(ValueText.quoted(inner)) is not an IPv6 address")
            }
            self.init(host: address.description, port: port)
            return
        }
        if bracketed.lowercased() == "localhost" { throw Malformed(hint: "names are not looked up; did you mean \"127.0.0.1:\(port)\"?") }
        guard let address = NumericAddress(String(bracketed)) else {
            throw Malformed(hint: "\(ValueText.quoted(String(bracketed))) is not a numeric address, and names are not looked up")
        }
        guard !address.isIPv6 else { throw Malformed(hint: "an IPv6 address stands in brackets: did you mean \"[\(bracketed)]:\(port)\"?") }
        self.init(host: address.description, port: port)
    }

    /// Whether both cannot be bound at once: the same port, and the same address or one that covers it.
    func overlaps(_ other: ListenAddress) -> Bool {
        guard port == other.port, port != 0, let a = NumericAddress(host), let b = NumericAddress(other.host) else { return false }
        return a == b || a.covers(b) || b.covers(a)
    }
}

/// An IPv4 or IPv6 address without a zone.
struct NumericAddress: Hashable, CustomStringConvertible {
    /// The canonical text.
    let description: String
    let isIPv6: Bool

    init?(_ text: String) {
        // inet_pton takes dotted quads only, and for IPv6 what RFC 4291 §2.2 allows.
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

    /// Whether it stands for all addresses of its family.
    var isWildcard: Bool { description == "0.0.0.0" || description == "::" }

    /// Whether it never leaves the host.
    var isLoopback: Bool { description == "::1" || description.hasPrefix("127.") || description.hasPrefix("::ffff:127.") }

    /// Whether listening here takes what is sent to `other`: `::` listens for IPv4 too.
    func covers(_ other: NumericAddress) -> Bool {
        isWildcard && !(other.isIPv6 && !isIPv6)
    }
}
