import COpenSSL

/// OpenSSL's own client in memory, for what the program's client never does: resuming sessions, odd cipher suites and versions.
/// Not for several threads at once.
public final class OpenSSLClient {
    /// A session to resume later.
    public final class Session {
        fileprivate let pointer: OpaquePointer

        fileprivate init(takingOwnership pointer: OpaquePointer) {
            self.pointer = pointer
        }

        deinit {
            SSL_SESSION_free(pointer)
        }

        /// Whether there is a ticket, or anything else to resume by.
        public var isResumable: Bool { SSL_SESSION_is_resumable(pointer) == 1 }
    }

    /// Why the handshake failed, in OpenSSL's words.
    public private(set) var failure: String?
    /// Whether the handshake is complete.
    public var isConnected: Bool { SSL_is_init_finished(connection) == 1 && failure == nil }
    /// Whether a session was taken up again.
    public var isResumed: Bool { SSL_session_reused(connection) == 1 }
    /// IANA's name of the cipher suite.
    public var cipherSuite: String {
        SSL_CIPHER_standard_name(SSL_get_current_cipher(connection)).map { String(cString: $0) } ?? ""
    }
    /// The group of the key exchange, by OpenSSL's name.
    public var group: String {
        // SSL_get_negotiated_group is a macro.
        let identifier = Int32(truncatingIfNeeded: SSL_ctrl(connection, SSL_CTRL_GET_NEGOTIATED_GROUP, 0, nil))
        return OBJ_nid2sn(identifier).map { String(cString: $0) } ?? "\(identifier)"
    }

    private let context: OpaquePointer
    private let connection: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    /// - Parameters:
    ///   - version: the only one offered; `nil` offers TLS 1.2 and 1.3.
    ///   - suites: of TLS 1.2, by OpenSSL's names.
    ///   - suites13: of TLS 1.3.
    ///   - certificate: sent when it is asked for.
    public init(
        version: Int32? = nil, suites: String? = nil, suites13: String? = nil, groups: String? = nil,
        certificate: ThrowawayCertificate? = nil, resuming session: Session? = nil
    ) throws {
        guard let context = SSL_CTX_new(TLS_client_method()), let connection = SSL_new(context), let input = BIO_new(BIO_s_mem()),
            let output = BIO_new(BIO_s_mem())
        else { throw ThrowawayCA.Failure(what: "client") }
        self.context = context
        self.connection = connection
        self.input = input
        self.output = output
        SSL_set_bio(connection, input, output)
        if let version {
            SSL_ctrl(connection, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(version), nil)
            SSL_ctrl(connection, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
        }
        if let suites, SSL_set_cipher_list(connection, suites) != 1 { throw ThrowawayCA.Failure(what: "suites") }
        if let suites13, SSL_set_ciphersuites(connection, suites13) != 1 { throw ThrowawayCA.Failure(what: "suites") }
        if let groups {
            let set = groups.withCString { SSL_ctrl(connection, SSL_CTRL_SET_GROUPS_LIST, 0, UnsafeMutableRawPointer(mutating: $0)) }
            guard set == 1 else { throw ThrowawayCA.Failure(what: "groups") }
        }
        if let certificate {
            let leaf = try ThrowawayCA.readCertificate(certificate.certificatePEM)
            defer { X509_free(leaf) }
            let key = try ThrowawayCA.readKey(certificate.privateKeyPEM)
            defer { EVP_PKEY_free(key) }
            guard SSL_use_certificate(connection, leaf) == 1, SSL_use_PrivateKey(connection, key) == 1 else {
                throw ThrowawayCA.Failure(what: "client certificate")
            }
        }
        if let session, SSL_set_session(connection, session.pointer) != 1 { throw ThrowawayCA.Failure(what: "session") }
        SSL_set_connect_state(connection)
    }

    deinit {
        // Otherwise OpenSSL takes the connection for a broken one, and its session for spoiled.
        SSL_set_shutdown(connection, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        SSL_free(connection)
        SSL_CTX_free(context)
    }

    /// Takes bytes from the server, goes on as far as it can, and gives those for it.
    public func step(_ bytes: [UInt8] = []) -> [UInt8] {
        if !bytes.isEmpty { BIO_write(input, bytes, Int32(bytes.count)) }
        ERR_clear_error()
        if failure == nil {
            var buffer = [UInt8](repeating: 0, count: 1 << 14)
            let result =
                SSL_is_init_finished(connection) == 1 ? SSL_read(connection, &buffer, Int32(buffer.count)) : SSL_do_handshake(connection)
            if result <= 0, SSL_get_error(connection, result) == SSL_ERROR_SSL {
                failure = ERR_reason_error_string(ERR_peek_error()).map { String(cString: $0) } ?? "unknown"
            }
            // What came behind the handshake: tickets.
            if result == 1, SSL_is_init_finished(connection) == 1 { _ = SSL_read(connection, &buffer, Int32(buffer.count)) }
        }
        return take()
    }

    /// Sends application data.
    public func write(_ text: String) -> [UInt8] {
        _ = SSL_write(connection, text, Int32(text.utf8.count))
        return take()
    }

    /// Asks for another handshake on the connection, as TLS 1.2 allows.
    public func renegotiate() -> [UInt8] {
        SSL_renegotiate(connection)
        _ = SSL_do_handshake(connection)
        return take()
    }

    /// The session as it is now, to be resumed by another client.
    public func session() -> Session? {
        SSL_get1_session(connection).map { Session(takingOwnership: $0) }
    }

    private func take() -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 14)
        while true {
            let count = BIO_read(output, &buffer, Int32(buffer.count))
            guard count > 0 else { return bytes }
            bytes += buffer[..<Int(count)]
        }
    }
}
