import COpenSSL

/// One `EVP_PKEY*`, owned.
final class PrivateKey {
    let pointer: OpaquePointer

    /// - Parameter pem: an unencrypted key in any of the usual forms (PKCS #8, RSA, EC).
    init(pem: [UInt8]) throws(TLSError) {
        guard !pem.isEmpty else { throw .invalidPrivateKey("it is empty") }
        guard let input = PEM.reader(of: pem) else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
        defer { BIO_free(input) }
        OpenSSLErrorQueue.clear()
        var askedForPassword = false
        let key = withUnsafeMutablePointer(to: &askedForPassword) { asked in
            // Without a callback OpenSSL would stop and ask for the password on the terminal.
            PEM_read_bio_PrivateKey(
                input, nil,
                { _, _, _, asked in
                    asked?.assumingMemoryBound(to: Bool.self).pointee = true
                    return -1
                }, asked)
        }
        defer { OpenSSLErrorQueue.clear() }
        if let key {
            pointer = key
            return
        }
        if askedForPassword {
            throw .invalidPrivateKey("it is encrypted: write an unencrypted one with \"openssl pkey -in KEY -out NEW\"")
        }
        throw .invalidPrivateKey(Self.reason(pem))
    }

    deinit {
        EVP_PKEY_free(pointer)
    }

    /// Why a key could not be read, as far as the file's kind tells it.
    private static func reason(_ pem: [UInt8]) -> String {
        let labels = PEM.labels(of: pem)
        guard let label = labels.first(where: { $0.hasSuffix("PRIVATE KEY") }) else {
            if labels.contains(where: PEM.isCertificate) { return "it holds a certificate and no private key: were the two swapped?" }
            return PEM.looksLikeDER(pem) ? "it is in DER form: PEM is needed" : "it holds no PEM private key"
        }
        return "its \(label) block is damaged or of an unknown kind (\(OpenSSLErrorQueue.takeReason()))"
    }
}
