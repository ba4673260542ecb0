/// Parts of a text at ASCII delimiters, compared by bytes.
///
/// Swift's own `hasPrefix`, `contains` and `split` compare characters, and a delimiter makes one character with a combining mark
/// behind it: `/apps/` is then no prefix of a path, and a name with a colon seems to have none.
extension StringProtocol where SubSequence == Substring {
    /// Whether this ASCII character is in it.
    public func holds(_ delimiter: Unicode.Scalar) -> Bool { utf8.contains(UInt8(ascii: delimiter)) }

    /// Whether it begins with this ASCII character.
    public func begins(with delimiter: Unicode.Scalar) -> Bool { utf8.first == UInt8(ascii: delimiter) }

    /// What follows `prefix`, which is ASCII; `nil` when it begins with something else.
    public func after(_ prefix: String) -> Substring? {
        utf8.starts(with: prefix.utf8) ? self[utf8.index(startIndex, offsetBy: prefix.utf8.count)...] : nil
    }

    /// The parts between these ASCII characters, empty ones too.
    /// - Parameter most: the largest number of parts.
    public func parts(at delimiter: Unicode.Scalar, most: Int = .max) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while parts.count + 1 < most, let end = rest.utf8.firstIndex(of: UInt8(ascii: delimiter)) {
            parts.append(rest[..<end])
            rest = rest[rest.utf8.index(after: end)...]
        }
        return parts + [rest]
    }
}

/// The parts of `host`, `host:port`, `[v6]` or `[v6]:port`. Neither host nor port is checked.
public struct HostAndPort: Equatable, Sendable {
    /// Without brackets.
    public let host: Substring
    /// After the last colon; `nil` without one.
    public let port: Substring?
    /// Whether the host was in brackets. Then the port cannot be a part of an IPv6 address.
    public let isBracketed: Bool

    /// - Returns: `nil` for a bracket that is not closed, or that anything but a port follows.
    public init?(_ text: Substring) {
        isBracketed = text.begins(with: "[")
        if isBracketed {
            guard let end = text.utf8.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            host = text[text.utf8.index(after: text.startIndex)..<end]
            let rest = text[text.utf8.index(after: end)...]
            port = rest.after(":")
            guard rest.isEmpty || port != nil else { return nil }
        } else {
            let colon = text.utf8.lastIndex(of: UInt8(ascii: ":"))
            host = text[..<(colon ?? text.endIndex)]
            port = colon.map { text[text.utf8.index(after: $0)...] }
        }
    }

    /// `127.0.0.1:6554`, `[::1]:6554`.
    public static func text(_ host: String, _ port: some BinaryInteger) -> String { "\(bracketed(host)):\(port)" }

    /// The host, with brackets for an IPv6 address.
    public static func bracketed(_ host: String) -> String { host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host }
}

/// Percent-encoding of one part of a URL (RFC 3986 §2.1).
public enum PercentEncoding {
    /// Encodes every byte except the unreserved characters.
    /// - Parameter keepsSlash: whether a slash stays, as in a path.
    public static func encode(_ text: String, keepsSlash: Bool = false) -> String {
        var result: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.append(byte)
            case UInt8(ascii: "/") where keepsSlash: result.append(byte)
            default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The decoded bytes.
    /// - Parameter plusIsSpace: whether `+` means a space, as in the query of an HTML form.
    /// - Returns: `nil` if a `%` is not followed by two hexadecimal digits.
    public static func decode(_ encoded: Substring.UTF8View, plusIsSpace: Bool = false) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encoded.count)
        var iterator = encoded.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = hexDigit(iterator.next()), let low = hexDigit(iterator.next()) else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return bytes
    }

    private static func hexDigit(_ byte: UInt8?) -> UInt8? {
        guard let byte else { return nil }
        return switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
