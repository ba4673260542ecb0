import COpenSSL
import Glibc

/// One `X509*`, owned.
final class X509Certificate {
    let pointer: OpaquePointer

    init(takingOwnership pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        X509_free(pointer)
    }

    /// What people want to know of it.
    var facts: TLSCertificate {
        TLSCertificate(
            subject: Self.subject(of: pointer), names: Self.names(of: pointer),
            notBefore: Self.epochSeconds(X509_get0_notBefore(pointer)), notAfter: Self.epochSeconds(X509_get0_notAfter(pointer)))
    }

    /// Why OpenSSL did not take it, in words that say what to do about it; empties the error queue.
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

    /// The subject, control characters escaped and cut to a length for a log line, since a peer may have written it.
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

    private static func bytes(of string: UnsafePointer<ASN1_STRING>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
    }

    /// A name as a log may show it, whatever a peer put into its certificate.
    private static func printable(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        String(decoding: bytes.prefix(255).map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    static func epochSeconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return Int64(timegm(&parts))
    }
}
