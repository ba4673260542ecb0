import COpenSSL

/// PEM text (RFC 7468) in memory.
enum PEM {
    /// All certificates of a file; other blocks, such as a key in the same file, are passed over.
    /// - Throws: the reason, for the caller to wrap in the error of its setting.
    static func certificates(in pem: [UInt8]) throws(Unreadable) -> [X509Certificate] {
        var certificates: [X509Certificate] = []
        var others: [String] = []
        try forEachBlock(of: pem) { (label, contents, number) throws(Unreadable) in
            guard isCertificate(label) else {
                others.append(label)
                return
            }
            var position = contents.baseAddress
            // d2i_X509_AUX reads plain certificates too, and the trust settings that "TRUSTED CERTIFICATE" adds.
            guard let certificate = d2i_X509_AUX(nil, &position, contents.count) else {
                throw Unreadable(reason: "certificate \(number) is damaged (\(OpenSSLErrorQueue.takeReason()))")
            }
            certificates.append(X509Certificate(takingOwnership: certificate))
        }
        guard certificates.isEmpty else { return certificates }
        if others.contains(where: { $0.hasSuffix("PRIVATE KEY") }) {
            throw Unreadable(reason: "it holds a private key and no certificate: were the two swapped?")
        }
        throw Unreadable(reason: looksLikeDER(pem) ? "it is in DER form: PEM is needed" : "it holds no PEM certificate")
    }

    /// All certificate revocation lists of a file; other blocks are passed over.
    static func revocationLists(in pem: [UInt8]) throws(Unreadable) -> [RevocationList] {
        var lists: [RevocationList] = []
        try forEachBlock(of: pem) { (label, contents, number) throws(Unreadable) in
            guard label == "X509 CRL" else { return }
            var position = contents.baseAddress
            guard let list = d2i_X509_CRL(nil, &position, contents.count) else {
                throw Unreadable(reason: "revocation list \(number) is damaged (\(OpenSSLErrorQueue.takeReason()))")
            }
            lists.append(RevocationList(takingOwnership: list))
        }
        guard lists.isEmpty else { return lists }
        throw Unreadable(reason: looksLikeDER(pem) ? "it is in DER form: PEM is needed" : "it holds no PEM revocation list (X509 CRL)")
    }

    /// Why PEM text could not be read.
    struct Unreadable: Error {
        let reason: String
    }

    static func isCertificate(_ label: String) -> Bool {
        ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"].contains(label)
    }

    /// The labels of the blocks up to the first one that is damaged.
    static func labels(of pem: [UInt8]) -> [String] {
        var labels: [String] = []
        try? forEachBlock(of: pem) { (label, _, _) throws(Unreadable) in labels.append(label) }
        return labels
    }

    /// Whether the bytes start like the ASN.1 sequence that certificates and keys are when not in PEM.
    static func looksLikeDER(_ bytes: [UInt8]) -> Bool {
        bytes.count > 2 && bytes[0] == 0x30 && bytes[1] > 0x80
    }

    /// A `BIO` with a copy of the bytes; the caller frees it.
    static func reader(of bytes: [UInt8]) -> OpaquePointer? {
        guard let bio = BIO_new(BIO_s_mem()), let count = Int32(exactly: bytes.count) else { return nil }
        guard BIO_write(bio, bytes, count) == count else {
            BIO_free(bio)
            return nil
        }
        return bio
    }

    private static func forEachBlock(
        of pem: [UInt8], _ body: (_ label: String, _ contents: UnsafeBufferPointer<UInt8>, _ number: Int) throws(Unreadable) -> Void
    ) throws(Unreadable) {
        guard !pem.isEmpty else { throw Unreadable(reason: "it is empty") }
        guard let input = reader(of: pem) else { throw Unreadable(reason: OpenSSLErrorQueue.takeReason()) }
        defer {
            BIO_free(input)
            OpenSSLErrorQueue.clear()
        }
        for number in 1... {
            OpenSSLErrorQueue.clear()
            var label: UnsafeMutablePointer<CChar>?
            var header: UnsafeMutablePointer<CChar>?
            var data: UnsafeMutablePointer<UInt8>?
            var count = 0
            guard PEM_read_bio(input, &label, &header, &data, &count) == 1 else {
                // No further start line is simply the end; anything else is a block that broke.
                if OpenSSLErrorQueue.isReason(PEM_R_NO_START_LINE, of: ERR_LIB_PEM, OpenSSLErrorQueue.last) { return }
                throw Unreadable(reason: "PEM block \(number) is damaged (\(OpenSSLErrorQueue.takeReason()))")
            }
            defer {
                CRYPTO_free(label, nil, 0)
                CRYPTO_free(header, nil, 0)
                CRYPTO_clear_free(data, count, nil, 0)
            }
            let name = label.map { String(cString: $0) } ?? ""
            try body(name, UnsafeBufferPointer(start: data, count: count), number)
        }
    }
}
