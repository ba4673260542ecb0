import COpenSSL
import Glibc

/// The fields of a certificate for logs, metrics and warnings.
public struct TLSCertificate: Equatable, Sendable {
    /// The subject as RFC 4514 writes it, such as `CN=exporter,O=Example`; empty when the certificate has none.
    public var subject: String
    /// The DNS names and IP addresses that the certificate is for (subjectAltName).
    public var names: [String]
    /// When it becomes valid, in seconds since 1970-01-01 UTC.
    public var notBefore: Int64
    /// When it expires, in seconds since 1970-01-01 UTC.
    public var notAfter: Int64
}

/// One `X509*`, owned.
final class X509Certificate {
    let pointer: OpaquePointer

    init(takingOwnership pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        X509_free(pointer)
    }

    var facts: TLSCertificate {
        TLSCertificate(
            subject: Self.subject(of: pointer), names: Self.names(of: pointer),
            notBefore: Self.epochSeconds(X509_get0_notBefore(pointer)), notAfter: Self.epochSeconds(X509_get0_notAfter(pointer)))
    }

    /// OpenSSL's name for the curve of its key, such as `prime256v1`; `nil` for a key of another kind.
    var curve: String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { name in
            let hasCurve = EVP_PKEY_get_group_name(X509_get0_pubkey(pointer), name.baseAddress, name.count, nil) == 1
            OpenSSLErrorQueue.clear()
            return hasCurve ? name.baseAddress.map { String(cString: $0) } : nil
        }
    }

    /// Why OpenSSL refused it, and what it requires. Empties the error queue.
    func refusal() -> String {
        let reason = OpenSSLErrorQueue.first
        let bits = EVP_PKEY_get_bits(X509_get0_pubkey(pointer))
        defer { OpenSSLErrorQueue.clear() }
        if OpenSSLErrorQueue.isReason(SSL_R_EE_KEY_TOO_SMALL, of: ERR_LIB_SSL, reason)
            || OpenSSLErrorQueue.isReason(SSL_R_CA_KEY_TOO_SMALL, of: ERR_LIB_SSL, reason)
        {
            return "its key of \(bits) bits is too weak: RSA needs at least 2048 bits, ECDSA 224"
        }
        if OpenSSLErrorQueue.isReason(SSL_R_CA_MD_TOO_WEAK, of: ERR_LIB_SSL, reason) {
            return "it is signed with a hash that is too weak, such as SHA-1"
        }
        return OpenSSLErrorQueue.reason(of: reason)
    }

    /// The subject for a log line: a peer may have written it, so control characters are escaped and it is cut at 256 bytes.
    static func subject(of certificate: OpaquePointer) -> String {
        guard let name = X509_get_subject_name(certificate), let output = BIO_new(BIO_s_mem()) else { return "" }
        defer { BIO_free(output) }
        guard X509_NAME_print_ex(output, name, 0, copenssl_name_flags_rfc2253()) >= 0 else { return "" }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { bytes in
            let count = BIO_read(output, bytes.baseAddress, Int32(bytes.count))
            guard count > 0 else { return "" }
            return String(decoding: bytes.prefix(Int(count)), as: UTF8.self)
        }
    }

    /// The DNS names and IP addresses of subjectAltName, at most 100.
    static func names(of certificate: OpaquePointer) -> [String] {
        guard let extensionValue = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return [] }
        let list = OpaquePointer(extensionValue)
        defer { GENERAL_NAMES_free(list) }
        var names: [String] = []
        for index in 0..<min(OPENSSL_sk_num(list), 100) {
            guard let item = OPENSSL_sk_value(list, index) else { continue }
            let name = item.assumingMemoryBound(to: GENERAL_NAME.self)
            if let dns = copenssl_general_name_dns(name) {
                names.append(printable(bytes(of: dns)))
            } else if let address = copenssl_general_name_ip(name), let text = AlternativeName.text(ofAddress: Array(bytes(of: address))) {
                names.append(text)
            }
        }
        return names
    }

    fileprivate static func bytes(of string: UnsafePointer<ASN1_STRING>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
    }

    /// A name for a log line: a peer may have written it, so only printable ASCII is kept.
    private static func printable(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        String(decoding: bytes.prefix(255).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// The bytes of a name.
    fileprivate static func der(ofName name: OpaquePointer?) -> [UInt8] {
        var bytes: UnsafePointer<UInt8>?
        var count = 0
        guard X509_NAME_get0_der(name, &bytes, &count) == 1 else { return [] }
        return Array(UnsafeBufferPointer(start: bytes, count: count))
    }

    static func epochSeconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return Int64(timegm(&parts))
    }
}

/// One name of a certificate's subjectAltName: text, or an address, which never equals text that looks like it.
public struct AlternativeName: Hashable, Sendable {
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

    /// The name for a log line: only printable ASCII is kept.
    var text: String {
        if kind == .address, let text = Self.text(ofAddress: bytes) { return text }
        return String(decoding: bytes.prefix(255).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// Whether it is an IP address.
    public var isAddress: Bool { kind == .address }

    /// The name itself, an address in its canonical form; `nil` for a name with other characters than printable ASCII, or above 255 bytes.
    public var exactText: String? {
        if kind == .address { return Self.text(ofAddress: bytes) }
        return bytes.count <= 255 && bytes.allSatisfy { (0x21...0x7e).contains($0) } ? String(decoding: bytes, as: UTF8.self) : nil
    }

    /// The first 1000 of a certificate's DNS names, addresses, e-mail addresses and URIs. A peer writes the list.
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

    /// - Returns: the 4 or 16 bytes of a numeric address; `nil` for another text.
    static func address(_ text: String) -> [UInt8]? {
        // The largest of both kinds (ip(7), ipv6(7)).
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes.prefix(4)) }
        return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
    }

    static func text(ofAddress bytes: [UInt8]) -> String? {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            let family = bytes.count == 4 ? AF_INET : AF_INET6
            return inet_ntop(family, bytes, text.baseAddress, socklen_t(text.count)).map { String(cString: $0) }
        }
    }
}

/// One `X509_CRL*`, owned.
final class RevocationList {
    let pointer: OpaquePointer

    init(takingOwnership pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        X509_CRL_free(pointer)
    }

    /// When the list begins, in seconds since 1970-01-01 UTC.
    fileprivate var lastUpdate: Int64 { X509Certificate.epochSeconds(X509_CRL_get0_lastUpdate(pointer)) }

    /// When the list ends, in seconds since 1970-01-01 UTC; `.max` when it never ends.
    fileprivate var nextUpdate: Int64 { X509_CRL_get0_nextUpdate(pointer).map { X509Certificate.epochSeconds($0) } ?? .max }

    /// Whether a verdict of OpenSSL says that it has no list for a certificate, or none that it can use. That a list names the certificate
    /// is another verdict.
    static func isMissing(_ problem: Int32) -> Bool {
        switch problem {
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID,
            X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE, X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD,
            X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD, X509_V_ERR_KEYUSAGE_NO_CRL_SIGN, X509_V_ERR_DIFFERENT_CRL_SCOPE,
            X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
            true
        default: false
        }
    }

    /// Whether a list that bears the name of the certificate's issuer names the certificate. A list of another key of that name does not
    /// count, if both say which key signed them.
    static func revokes(_ list: OpaquePointer, _ certificate: OpaquePointer) -> Bool {
        var entry: OpaquePointer?
        guard X509_CRL_get0_by_cert(list, &entry, certificate) == 1 else { return false }
        guard let key = keyIdentifier(of: list), let issuersKey = X509_get0_authority_key_id(certificate) else { return true }
        return key.elementsEqual(X509Certificate.bytes(of: issuersKey))
    }

    /// The identifier of the key that signed a list, if the list says it.
    private static func keyIdentifier(of list: OpaquePointer) -> [UInt8]? {
        guard let value = X509_CRL_get_ext_d2i(list, NID_authority_key_identifier, nil, nil) else { return nil }
        let signer = value.assumingMemoryBound(to: AUTHORITY_KEYID.self)
        defer { AUTHORITY_KEYID_free(signer) }
        return signer.pointee.keyid.map { Array(X509Certificate.bytes(of: $0)) }
    }

    /// Whether an authority in `authorities` has the issuer's name, but none of those signed this list. OpenSSL would silently ignore it.
    func isForged(among authorities: [X509Certificate]) -> Bool {
        let issuer = X509_CRL_get_issuer(pointer)
        return signer(among: authorities) == nil
            && authorities.contains { X509_NAME_cmp(X509_get_subject_name($0.pointer), issuer) == 0 }
    }

    /// The authority in `authorities` that has the issuer's name and signed this list.
    private func signer(among authorities: [X509Certificate]) -> X509Certificate? {
        let issuer = X509_CRL_get_issuer(pointer)
        defer { OpenSSLErrorQueue.clear() }
        return authorities.first {
            X509_NAME_cmp(X509_get_subject_name($0.pointer), issuer) == 0 && X509_CRL_verify(pointer, X509_get0_pubkey($0.pointer)) == 1
        }
    }

    /// The authority of this list, as far as it is known.
    fileprivate func authority(among authorities: [X509Certificate]) -> RevocationPeriod.Authority {
        if let signer = signer(among: authorities) { return .init(of: signer.pointer) }
        let name = X509Certificate.der(ofName: X509_CRL_get_issuer(pointer))
        return .init(name: name, key: Self.keyIdentifier(of: pointer).map(RevocationPeriod.Authority.Key.identifier) ?? .unknown)
    }
}

/// When all authorities with revocation lists have one that is in force. If an authority has several, one that has ended does not count.
public struct RevocationPeriod: Equatable, Sendable {
    /// In seconds since 1970-01-01 UTC.
    public let begin: Int64
    /// In seconds since 1970-01-01 UTC; `nil` when it never ends.
    public let end: Int64?
    /// The end of each authority's last list; `.max` when it never ends. If nothing is known of the key that signed lists, any of them may
    /// be the last one of an authority, so it is the end of the first.
    private let ends: [Authority: Int64]

    /// Two authorities may have one name, such as an old one and its successor. The key tells them apart.
    fileprivate struct Authority: Hashable {
        enum Key: Hashable {
            case known([UInt8])
            /// Of the key of an authority that is not in the file, such as an intermediate.
            case identifier([UInt8])
            case unknown
        }

        let name: [UInt8]
        let key: Key
    }

    /// - Parameter authorities: those of the file.
    /// - Returns: `nil` without lists.
    init?(_ lists: [RevocationList], of authorities: [X509Certificate]) {
        let ofAuthorities = Dictionary(grouping: lists) { $0.authority(among: authorities) }
        let begins = ofAuthorities.values.compactMap { $0.map(\.lastUpdate).min() }
        let lastEnds = ofAuthorities.values.compactMap { $0.map(\.nextUpdate).max() }
        guard let begin = begins.max(), let end = lastEnds.min() else { return nil }
        self.begin = begin
        self.end = end == .max ? nil : end
        var ends: [Authority: Int64] = [:]
        for (authority, lists) in ofAuthorities {
            let ofLists = lists.map(\.nextUpdate)
            ends[authority] = authority.key == .unknown ? ofLists.min() : ofLists.max()
        }
        self.ends = ends
    }

    /// When the lists of the authority with this certificate end, in seconds since 1970-01-01 UTC; `.max` when one never does.
    func end(of authority: OpaquePointer) -> Int64 {
        let known = Authority(of: authority)
        if let end = ends[known] { return end }
        let identifier = X509_get0_subject_key_id(authority).map { Array(X509Certificate.bytes(of: $0)) }
        let ofName = ends.filter { $0.key.name == known.name }
        let possible = ofName.filter { list in
            if case .identifier(let key) = list.key.key, let identifier { key == identifier } else { true }
        }
        // OpenSSL finds a list also by a name in another encoding or with other capital letters. Then the first end of all is the safe one.
        return (possible.isEmpty ? ofName : possible).values.min() ?? end ?? .max
    }
}

extension RevocationPeriod.Authority {
    fileprivate init(of certificate: OpaquePointer) {
        self.init(
            name: X509Certificate.der(ofName: X509_get_subject_name(certificate)),
            key: .known(X509_get0_pubkey_bitstr(certificate).map { Array(X509Certificate.bytes(of: $0)) } ?? []))
    }
}
