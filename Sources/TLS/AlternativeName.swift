import COpenSSL
import Glibc

/// One name of a certificate's subjectAltName: text, or an address, which never equals text that looks like it.
struct AlternativeName: Hashable, Sendable {
    private enum Kind: Hashable {
        /// A DNS name, an e-mail address or a URI; compared byte by byte, as exporter-toolkit does.
        case text
        case address
    }

    private let kind: Kind
    private let bytes: [UInt8]

    /// As a configuration writes it: an IP address in any of its forms, or a DNS name, an e-mail address or a URI.
    init(configured text: String) {
        if let address = Self.address(text) {
            kind = .address
            bytes = address
        } else {
            kind = .text
            bytes = Array(text.utf8)
        }
    }

    private init(_ kind: Kind, _ string: UnsafePointer<ASN1_STRING>) {
        self.kind = kind
        bytes = Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string))))
    }

    /// For a log: printable, whatever a peer put into its certificate.
    var text: String {
        if kind == .address, let text = Self.text(ofAddress: bytes) { return text }
        return String(decoding: bytes.prefix(255).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// Of DNS names, addresses, e-mail addresses and URIs the first 1000: a peer writes the list.
    static func all(of certificate: OpaquePointer) -> [AlternativeName] {
        guard let extensionValue = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return [] }
        let list = OpaquePointer(extensionValue)
        defer { GENERAL_NAMES_free(list) }
        return (0..<min(OPENSSL_sk_num(list), 1000)).compactMap { index in
            guard let item = OPENSSL_sk_value(list, index) else { return nil }
            let name = item.assumingMemoryBound(to: GENERAL_NAME.self)
            if let address = copenssl_general_name_ip(name) { return AlternativeName(.address, address) }
            let string = copenssl_general_name_dns(name) ?? copenssl_general_name_email(name) ?? copenssl_general_name_uri(name)
            return string.map { AlternativeName(.text, $0) }
        }
    }

    private static func address(_ text: String) -> [UInt8]? {
        var v4 = in_addr()
        if inet_pton(AF_INET, text, &v4) == 1 { return withUnsafeBytes(of: v4) { Array($0) } }
        var v6 = in6_addr()
        if inet_pton(AF_INET6, text, &v6) == 1 { return withUnsafeBytes(of: v6) { Array($0) } }
        return nil
    }

    static func text(ofAddress bytes: [UInt8]) -> String? {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            let family = bytes.count == 4 ? AF_INET : AF_INET6
            return inet_ntop(family, bytes, text.baseAddress, socklen_t(text.count)).map { String(cString: $0) }
        }
    }
}
