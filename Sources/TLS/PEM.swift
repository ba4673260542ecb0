import COpenSSL

/// PEM text (RFC 7468) in memory.
enum PEM {
    /// All certificates of a file. Other blocks, such as a key in the same file, are skipped.
    /// - Throws: the reason, for the caller to wrap in the error of its setting.
    static func certificates(in pem: [UInt8]) throws(Unreadable) -> [X509Certificate] {
        var certificates: [X509Certificate] = []
        var others: [String] = []
        try forEachBlock(of: pem) { block throws(Unreadable) in
            guard isCertificate(block.label) else {
                others.append(block.label)
                return
            }
            var position = block.contents.baseAddress
            // d2i_X509_AUX reads plain certificates too, and the trust settings that "TRUSTED CERTIFICATE" adds.
            guard let certificate = d2i_X509_AUX(nil, &position, block.contents.count) else {
                throw Unreadable(reason: "certificate \(block.number) is damaged (\(OpenSSLErrorQueue.takeReason()))")
            }
            certificates.append(X509Certificate(takingOwnership: certificate))
        }
        guard certificates.isEmpty else { return certificates }
        if others.contains(where: { $0.hasSuffix("PRIVATE KEY") }) {
            throw Unreadable(reason: "it holds a private key and no certificate: were the two swapped?")
        }
        throw Unreadable(reason: looksLikeDER(pem) ? "it is in DER form: PEM is needed" : "it holds no PEM certificate")
    }

    /// All certificate revocation lists of a file. Other blocks are skipped.
    static func revocationLists(in pem: [UInt8]) throws(Unreadable) -> [RevocationList] {
        var lists: [RevocationList] = []
        try forEachBlock(of: pem) { block throws(Unreadable) in
            guard block.label == "X509 CRL" else { return }
            var position = block.contents.baseAddress
            guard let list = d2i_X509_CRL(nil, &position, block.contents.count) else {
                throw Unreadable(reason: "revocation list \(block.number) is damaged (\(OpenSSLErrorQueue.takeReason()))")
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
        try? forEachBlock(of: pem) { block throws(Unreadable) in labels.append(block.label) }
        return labels
    }

    /// The cipher of an encrypted private key, by OpenSSL's name, if this OpenSSL has it only in its legacy provider or not at all.
    static func unsupportedKeyCipher(in pem: [UInt8]) -> String? {
        var unsupported: String?
        try? forEachBlock(of: pem) { block throws(Unreadable) in
            guard unsupported == nil, let name = block.keyCipher else { return }
            let cipher = EVP_CIPHER_fetch(nil, name, nil)
            if cipher == nil { unsupported = name }
            EVP_CIPHER_free(cipher)
        }
        return unsupported
    }

    /// Whether the bytes begin like an ASN.1 sequence: a certificate or key that is not in PEM. The length of a short one is a single byte.
    static func looksLikeDER(_ bytes: [UInt8]) -> Bool {
        bytes.count > 2 && bytes[0] == 0x30 && (bytes[1] > 0x80 || Int(bytes[1]) == bytes.count - 2)
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

    /// One block, valid while it is handled.
    private struct Block {
        let label: String
        /// Lines of the form `DEK-Info: AES-256-CBC,…` (RFC 1421).
        let header: String
        let contents: UnsafeBufferPointer<UInt8>
        /// Counted from 1.
        let number: Int

        /// The cipher of an encrypted key, in the traditional form or in that of PKCS #8.
        var keyCipher: String? {
            if label == "ENCRYPTED PRIVATE KEY" {
                let cipher = copenssl_pkcs8_cipher(contents.baseAddress, contents.count)
                return cipher == NID_undef ? nil : OBJ_nid2sn(cipher).map { String(cString: $0) }
            }
            guard label.hasSuffix("PRIVATE KEY"), let line = header.split(separator: "\n").first(where: { $0.hasPrefix("DEK-Info:") })
            else { return nil }
            return String(line.dropFirst("DEK-Info:".count).drop { $0 == " " }.prefix { $0 != "," && $0 != "\r" })
        }
    }

    private static func forEachBlock(of pem: [UInt8], _ body: (Block) throws(Unreadable) -> Void) throws(Unreadable) {
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
                // Without another start line the file ends here. Any other error is a damaged block.
                if OpenSSLErrorQueue.isReason(PEM_R_NO_START_LINE, of: ERR_LIB_PEM, OpenSSLErrorQueue.last) { return }
                throw Unreadable(reason: "PEM block \(number) is damaged (\(OpenSSLErrorQueue.takeReason()))")
            }
            defer {
                CRYPTO_free(label, nil, 0)
                CRYPTO_free(header, nil, 0)
                CRYPTO_clear_free(data, count, nil, 0)
            }
            try body(
                Block(
                    label: label.map { String(cString: $0) } ?? "", header: header.map { String(cString: $0) } ?? "",
                    contents: UnsafeBufferPointer(start: data, count: count), number: number))
        }
    }
}

/// One `EVP_PKEY*`, owned.
final class PrivateKey {
    let pointer: OpaquePointer

    /// - Parameters:
    ///   - pem: a key in any of the usual forms (PKCS #8, RSA, EC).
    ///   - password: for an encrypted key; a line break at its end does not count. Ignored otherwise.
    init(pem: [UInt8], password: [UInt8]?) throws(TLSSettingsError) {
        guard !pem.isEmpty else { throw .invalidPrivateKey("it is empty") }
        guard let input = PEM.reader(of: pem) else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
        defer { BIO_free(input) }
        OpenSSLErrorQueue.clear()
        var request = PasswordRequest(password: password.map(Self.withoutFinalLineBreak))
        let key = withUnsafeMutablePointer(to: &request) { request in
            // Without a callback OpenSSL would stop and ask for the password on the terminal.
            PEM_read_bio_PrivateKey(
                input, nil,
                { buffer, size, _, request in
                    guard let buffer, let request = request?.assumingMemoryBound(to: PasswordRequest.self) else { return -1 }
                    return request.pointee.answer(into: UnsafeMutableRawBufferPointer(start: buffer, count: Int(size)))
                }, request)
        }
        defer { OpenSSLErrorQueue.clear() }
        if let key {
            pointer = key
            return
        }
        guard request.wasMade else { throw .invalidPrivateKey(Self.reason(pem)) }
        if let cipher = PEM.unsupportedKeyCipher(in: pem) {
            throw .invalidPrivateKey(
                """
                it is encrypted with \(cipher), which is not supported; encrypt it with AES: openssl pkcs8 -topk8 -v2 aes-256-cbc \
                -provider legacy -provider default -in OLD -out NEW
                """)
        }
        guard let password = request.password else { throw .privateKeyNeedsPassword }
        throw .wrongPrivateKeyPassword(
            password.isEmpty
                ? "it is empty"
                : password.count > PasswordRequest.longest
                    ? "it is longer than \(PasswordRequest.longest) bytes" : "it does not open the key")
    }

    deinit {
        EVP_PKEY_free(pointer)
    }

    /// Why a key could not be read. The kind of file decides which reason is likely.
    private static func reason(_ pem: [UInt8]) -> String {
        let labels = PEM.labels(of: pem)
        guard let label = labels.first(where: { $0.hasSuffix("PRIVATE KEY") }) else {
            if labels.contains(where: PEM.isCertificate) { return "it holds a certificate and no private key: were the two swapped?" }
            return PEM.looksLikeDER(pem) ? "it is in DER form: PEM is needed" : "it holds no PEM private key"
        }
        return "its \(label) block is damaged or of an unknown kind (\(OpenSSLErrorQueue.takeReason()))"
    }

    /// The text without the line break that text editors add.
    private static func withoutFinalLineBreak(_ text: [UInt8]) -> [UInt8] {
        var end = text.endIndex
        if end > 0, text[end - 1] == UInt8(ascii: "\n") { end -= 1 }
        if end > 0, text[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        return Array(text[..<end])
    }
}

/// OpenSSL's request for the password of a key, and the answer.
private struct PasswordRequest {
    /// The size of OpenSSL's own buffer.
    static let longest = Int(PEM_BUFSIZE)

    let password: [UInt8]?
    private(set) var wasMade = false

    init(password: [UInt8]?) {
        self.password = password
    }

    /// - Returns: the password's length, or -1 without one that fits.
    mutating func answer(into buffer: UnsafeMutableRawBufferPointer) -> Int32 {
        wasMade = true
        guard let password, !password.isEmpty, password.count <= buffer.count else { return -1 }
        buffer.copyBytes(from: password)
        return Int32(password.count)
    }
}
