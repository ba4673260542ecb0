import CCrypt

/// A password as `basic_auth_users` keeps it: bcrypt's `$2y$10$` and 53 letters.
public struct BcryptHash: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Each step doubles the time of a check. At this one a check takes about a minute, longer than any scrape waits.
    static let highestCost = 20

    /// As written in the configuration. A secret: it can be attacked by guessing.
    let text: String

    /// Never the hash.
    public var description: String { "<hash>" }
    /// Never the hash.
    public var debugDescription: String { description }
    /// Never the hash.
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// Why a text is no hash of bcrypt.
    struct Malformed: Error {
        var hint: String?
    }

    init(parsing text: String) throws(Malformed) {
        let bytes = Array(text.utf8)
        let versions = ["$2a$", "$2b$", "$2y$"]
        guard versions.contains(where: text.hasPrefix) else {
            throw Malformed(hint: text.hasPrefix("$") ? "only bcrypt is understood" : "it looks like no hash at all")
        }
        guard bytes.count == 60, bytes[6] == UInt8(ascii: "$"), bytes[7...].allSatisfy(Self.isLetter) else {
            throw Malformed(hint: "it is damaged or cut short: bcrypt's have 60 characters")
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

    /// Whether it is the hash of this password. Takes its time, tens of milliseconds at the usual cost: never on an event loop.
    /// bcrypt looks at the first 72 bytes alone. A NUL byte, which would end the password early, matches nothing.
    public func matches(_ password: [UInt8]) -> Bool {
        let isWhole = !password.contains(0)
        let matches = (password + [0]).withUnsafeBytes { bytes in
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
