import COpenSSL

/// One `EVP_PKEY*`, owned.
final class PrivateKey {
    let pointer: OpaquePointer

    /// - Parameters:
    ///   - pem: a key in any of the usual forms (PKCS #8, RSA, EC).
    ///   - password: for an encrypted one; a line break at its end does not count. Of no use otherwise.
    init(pem: [UInt8], password: [UInt8]?) throws(TLSError) {
        guard !pem.isEmpty else { throw .invalidPrivateKey("it is empty") }
        guard let input = PEM.reader(of: pem) else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
        defer { BIO_free(input) }
        OpenSSLErrorQueue.clear()
        var request = PasswordRequest(password: password.map(Self.firstLine))
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

    /// Why a key could not be read, as far as the file's kind tells it.
    private static func reason(_ pem: [UInt8]) -> String {
        let labels = PEM.labels(of: pem)
        guard let label = labels.first(where: { $0.hasSuffix("PRIVATE KEY") }) else {
            if labels.contains(where: PEM.isCertificate) { return "it holds a certificate and no private key: were the two swapped?" }
            return PEM.looksLikeDER(pem) ? "it is in DER form: PEM is needed" : "it holds no PEM private key"
        }
        return "its \(label) block is damaged or of an unknown kind (\(OpenSSLErrorQueue.takeReason()))"
    }

    /// As a text editor leaves it: without the line break.
    private static func firstLine(_ text: [UInt8]) -> [UInt8] {
        var end = text.endIndex
        if end > 0, text[end - 1] == UInt8(ascii: "\n") { end -= 1 }
        if end > 0, text[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        return Array(text[..<end])
    }
}

/// OpenSSL's question for the password of a key, and what it was told.
private struct PasswordRequest {
    /// OpenSSL's own buffer.
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
