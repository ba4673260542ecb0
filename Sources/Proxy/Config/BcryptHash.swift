import CCrypt

/// A password hash of `basic_auth_users`: bcrypt's `$2y$10$` and 53 letters.
public struct BcryptHash: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Each step doubles the time of a check. At this one a check takes about a minute, longer than any scrape waits.
    static let highestCost = 20

    /// As written in the configuration. It is a secret, because passwords can be guessed with it.
    let text: String

    /// Never the hash.
    public var description: String { "<hash>" }
    /// Never the hash.
    public var debugDescription: String { description }
    /// Never the hash.
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// Why a text is not a bcrypt hash.
    struct Malformed: Error {
        var hint: String?
    }

    init(parsing text: String) throws(Malformed) {
        let bytes = Array(text.utf8)
        let versions = ["$2a$", "$2b$", "$2y$"]
        guard versions.contains(where: text.hasPrefix) else {
            throw Malformed(hint: text.hasPrefix("$") ? "only bcrypt is supported" : "it is not a hash")
        }
        guard bytes.count == 60, bytes[6] == UInt8(ascii: "$"), bytes[7...].allSatisfy(Self.isLetter) else {
            throw Malformed(hint: "it is damaged or cut short: a bcrypt hash has 60 characters")
        }
        guard bytes[4..<6].allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let cost = Int(String(decoding: bytes[4..<6], as: UTF8.self)), (4...31).contains(cost)
        else {
            throw Malformed(hint: "its cost is not a number from 04 to 31")
        }
        guard cost <= Self.highestCost else {
            throw Malformed(
                hint: "its cost of \(cost) would take minutes for each check: at most \(Self.highestCost) is allowed, 10 to 12 is usual")
        }
        self.text = text
    }

    /// Whether it is the hash of this password. It takes tens of milliseconds at the usual cost, so never call it on an event loop.
    /// bcrypt uses only the first 72 bytes. A password with a NUL byte, which would end it early, never matches.
    public func matches(_ password: [UInt8]) -> Bool {
        let isWhole = !password.contains(0)
        // libcrypt refuses 512 bytes and more.
        let matches = (Array(password.prefix(72)) + [0]).withUnsafeBytes { bytes in
            text.withCString { hash in
                bytes.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { ccrypt_matches($0, hash) } ?? false }
            }
        }
        return matches && isWhole
    }

    /// bcrypt's own base64.
    private static func isLetter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: byte == UInt8(ascii: ".") || byte == UInt8(ascii: "/")
        }
    }
}
