import COpenSSL
import Glibc

/// The name that a server's certificate must be for: RFC 6125, without what browsers and Go gave up too. A wildcard stands for one whole
/// label, never for a part of one, and only the subjectAltName counts, never the common name.
enum HostnameVerification: Equatable {
    case dnsName(String)
    case ipAddress(String)
    /// Nothing can be verified against it.
    case unusable

    /// - Parameter hostname: a DNS name with or without its final dot, or an IP address; IPv6 with or without brackets and zone.
    init(_ hostname: String) {
        var name = Substring(hostname)
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        if Self.isIPAddress(String(name.prefix { $0 != "%" })) {
            // A zone says through which interface the address is reached; certificates do not know of it.
            self = .ipAddress(String(name.prefix { $0 != "%" }))
            return
        }
        if name.hasSuffix(".") { name = name.dropLast() }
        // An empty name would switch OpenSSL's check off, and a NUL would hide the rest of it.
        guard !name.isEmpty, name.utf8.count <= 253, !name.utf8.contains(0) else {
            self = .unusable
            return
        }
        self = .dnsName(String(name))
    }

    /// What Server Name Indication may carry: a DNS name, never an address (RFC 6066 section 3).
    var serverNameIndication: String? {
        if case .dnsName(let name) = self { name } else { nil }
    }

    /// Makes the handshake on `ssl` check the name.
    /// - Returns: false when it cannot, so that the connection must not be made.
    func apply(to ssl: OpaquePointer) -> Bool {
        let parameters = SSL_get0_param(ssl)
        X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
        return switch self {
        case .dnsName(let name): X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count) == 1
        case .ipAddress(let address): X509_VERIFY_PARAM_set1_ip_asc(parameters, address) == 1
        case .unusable: false
        }
    }

    private static func isIPAddress(_ text: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1
    }
}
