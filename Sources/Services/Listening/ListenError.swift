import Glibc

/// Why an address cannot be listened on; says what to do about it.
public struct ListenError: Error, Equatable, CustomStringConvertible, Sendable {
    /// The address or socket path, as configured.
    public let address: String
    /// What is wrong, without the address.
    public let reason: String
    /// The key at fault in the receiver's table, where it is another than the address: `unix_socket_user`.
    public let key: String?

    /// For the one who starts the daemon: `cannot listen on 127.0.0.1:80: permission denied …`.
    public var description: String { "cannot listen on \(address): \(reason)" }

    init(_ address: String, _ reason: String, key: String? = nil) {
        self.address = address
        self.reason = reason
        self.key = key
    }

    /// - Parameter errno: what `bind(2)` or `listen(2)` of a TCP socket failed with.
    init(_ address: String, errno: CInt, port: UInt16) {
        let reason =
            switch errno {
            case EADDRINUSE: "address already in use; is another process listening there?"
            case EACCES where port < 1024 && port != 0: "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
            case EADDRNOTAVAIL: "cannot assign requested address; no interface of this machine has it"
            case EAFNOSUPPORT: "this machine does not support the address family"
            case EMFILE, ENFILE: "too many open files"
            default: errorText(errno)
            }
        self.init(address, reason)
    }
}

/// The system's words for an `errno`, in lower case as all our errors are.
func errorText(_ errno: CInt) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    // The XSI variant fills the buffer, the GNU one may return text of its own: Swift sees the former.
    guard strerror_r(errno, &buffer, buffer.count) == 0 else { return "error \(errno)" }
    let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.prefix(1).lowercased() + text.dropFirst()
}
