/// Name and password of `Authorization: Basic` (RFC 7617).
struct BasicCredentials: Sendable {
    let name: String
    let password: [UInt8]

    /// - Returns: `nil` for another scheme, and for what is not base64 of `name:password` with a name in UTF-8.
    init?(_ authorization: String?) {
        guard let authorization else { return nil }
        let parts = authorization.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
        guard parts.count == 2, String(Substring(parts[0])).lowercased() == "basic" else { return nil }
        let encoded = parts[1].drop { $0 == UInt8(ascii: " ") }
        guard let bytes = Base64.decode(encoded), let colon = bytes.firstIndex(of: UInt8(ascii: ":")),
            let name = String(validating: bytes[..<colon], as: UTF8.self)
        else { return nil }
        self.name = name
        password = Array(bytes[(colon + 1)...])
    }
}
