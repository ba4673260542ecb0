import COpenSSL

/// An immutable `SSL_CTX`, shared by connections of any event loop.
public final class TLSContext: Sendable {
    /// The certificate that is shown to peers, so that callers can warn before it expires; `nil` for a client without one.
    public let certificate: TLSCertificate?

    /// Whether connections of this context check the peer's certificate and name.
    let verifiesPeer: Bool

    // Safe to share: set up in `init` alone, before anyone else can see it; afterwards it is only passed to SSL_new, which takes
    // OpenSSL's own locks and reference counts.
    nonisolated(unsafe) private let pointer: OpaquePointer

    /// Kept here because OpenSSL's callback holds it unretained.
    private let offeredProtocols: OfferedProtocols

    /// - Throws: `TLSError` that says which of the settings is wrong and why.
    public init(server settings: TLSServerSettings) throws(TLSError) {
        guard settings.minVersion <= settings.maxVersion else { throw .minVersionAboveMaxVersion }
        let offered = try OfferedProtocols(settings.applicationProtocols)
        let builder = try ContextBuilder(method: TLS_server_method(), minVersion: settings.minVersion, maxVersion: settings.maxVersion)
        certificate = try builder.use(certificateChain: settings.certificateChain, privateKey: settings.privateKey)
        try builder.prepareServer(offering: offered)
        verifiesPeer = false
        offeredProtocols = offered
        pointer = builder.take()
    }

    /// - Throws: `TLSError` that says which of the settings is wrong and why.
    public init(client settings: TLSClientSettings) throws(TLSError) {
        let offered = try OfferedProtocols(settings.applicationProtocols)
        let builder = try ContextBuilder(method: TLS_client_method(), minVersion: settings.minVersion, maxVersion: .tls13)
        switch (settings.certificateChain, settings.privateKey) {
        case (let chain?, let key?): certificate = try builder.use(certificateChain: chain, privateKey: key)
        case (nil, nil): certificate = nil
        case (_?, nil): throw .invalidPrivateKey("the certificate has no private key beside it")
        case (nil, _?): throw .invalidCertificate("the private key has no certificate beside it")
        }
        try builder.prepareClient(trusting: settings.verifiesPeer ? settings.trustRoots : nil, offering: offered)
        verifiesPeer = settings.verifiesPeer
        offeredProtocols = offered
        pointer = builder.take()
    }

    deinit {
        SSL_CTX_free(pointer)
    }

    /// One more `SSL` of this context, for the caller to free.
    func makeSSL() -> OpaquePointer? {
        SSL_new(pointer)
    }
}

/// Owns an `SSL_CTX` while it is being set up, so that a setting that fails leaks nothing.
private final class ContextBuilder {
    private var pointer: OpaquePointer?

    init(method: OpaquePointer?, minVersion: TLSProtocolVersion, maxVersion: TLSProtocolVersion) throws(TLSError) {
        OpenSSLErrorQueue.clear()
        pointer = SSL_CTX_new(method)
        guard pointer != nil else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
        try setSecureDefaults()
        try require(copenssl_ctx_set_min_proto_version(pointer, minVersion.openSSLValue))
        try require(copenssl_ctx_set_max_proto_version(pointer, maxVersion.openSSLValue))
    }

    deinit {
        SSL_CTX_free(pointer)
    }

    func take() -> OpaquePointer {
        defer { pointer = nil }
        // `init` throws without a pointer, and `take` is the last call on a builder.
        return pointer!
    }

    func use(certificateChain: [UInt8], privateKey: [UInt8]) throws(TLSError) -> TLSCertificate {
        let chain: [X509Certificate]
        do {
            chain = try PEM.certificates(in: certificateChain)
        } catch {
            throw .invalidCertificate(error.reason)
        }
        let leaf = chain[0]
        let key = try PrivateKey(pem: privateKey)
        guard X509_check_private_key(leaf.pointer, key.pointer) == 1 else {
            OpenSSLErrorQueue.clear()
            if let position = chain.firstIndex(where: { X509_check_private_key($0.pointer, key.pointer) == 1 }) {
                OpenSSLErrorQueue.clear()
                throw .invalidCertificate("the one that belongs to the key is number \(position + 1) in the file: it must come first")
            }
            OpenSSLErrorQueue.clear()
            throw .certificateDoesNotMatchKey
        }
        guard SSL_CTX_use_certificate(pointer, leaf.pointer) == 1 else { throw .invalidCertificate(OpenSSLErrorQueue.takeReason()) }
        for intermediate in chain.dropFirst() {
            guard copenssl_ctx_add1_chain_cert(pointer, intermediate.pointer) == 1 else {
                throw .invalidCertificate(OpenSSLErrorQueue.takeReason())
            }
        }
        guard SSL_CTX_use_PrivateKey(pointer, key.pointer) == 1 else { throw .invalidPrivateKey(OpenSSLErrorQueue.takeReason()) }
        return leaf.facts
    }

    func prepareServer(offering protocols: OfferedProtocols) throws(TLSError) {
        SSL_CTX_set_options(pointer, copenssl_op_cipher_server_preference() | copenssl_op_prioritize_chacha())
        // Resumption is by tickets alone, which cost no memory here: a cache would keep up to 20,000 sessions per context.
        copenssl_ctx_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_OFF))
        // One ticket is what Go sends too; OpenSSL's two cost time in each handshake and clients keep only the last.
        try require(SSL_CTX_set_num_tickets(pointer, 1))
        // Resuming without a context of one's own fails as soon as client certificates are asked for.
        let sessionContext = Array("exporter-proxy".utf8)
        try require(SSL_CTX_set_session_id_context(pointer, sessionContext, UInt32(sessionContext.count)))
        guard !protocols.isEmpty else { return }
        SSL_CTX_set_alpn_select_cb(
            pointer,
            { _, chosen, chosenLength, clientList, clientLength, offered in
                guard let chosen, let chosenLength, let offered, let clientList else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                let offeredProtocols = Unmanaged<OfferedProtocols>.fromOpaque(offered).takeUnretainedValue()
                let clientProtocols = UnsafeBufferPointer(start: clientList, count: Int(clientLength))
                guard let range = offeredProtocols.choose(from: clientProtocols) else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                chosen.pointee = clientList + range.lowerBound
                chosenLength.pointee = UInt8(range.count)
                return SSL_TLSEXT_ERR_OK
            }, Unmanaged.passUnretained(protocols).toOpaque())
    }

    /// - Parameter roots: `nil` trusts anyone.
    func prepareClient(trusting roots: TLSClientSettings.TrustRoots?, offering protocols: OfferedProtocols) throws(TLSError) {
        copenssl_ctx_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_OFF))
        if !protocols.isEmpty {
            // Unlike its neighbours this call returns 0 when it worked.
            guard SSL_CTX_set_alpn_protos(pointer, protocols.wireFormat, UInt32(protocols.wireFormat.count)) == 0 else {
                throw .openSSLFailed(OpenSSLErrorQueue.takeReason())
            }
        }
        guard let roots else {
            SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
            return
        }
        SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, TLSConnection.noteVerification)
        switch roots {
        case .system:
            guard SSL_CTX_set_default_verify_paths(pointer) == 1 else { throw .invalidTrustRoots(OpenSSLErrorQueue.takeReason()) }
        case .certificates(let pem):
            try trust(pem)
        }
    }

    private func trust(_ pem: [UInt8]) throws(TLSError) {
        let certificates: [X509Certificate]
        do {
            certificates = try PEM.certificates(in: pem)
        } catch {
            throw .invalidTrustRoots(error.reason)
        }
        let store = SSL_CTX_get_cert_store(pointer)
        for certificate in certificates {
            guard X509_STORE_add_cert(store, certificate.pointer) == 1 else { throw .invalidTrustRoots(OpenSSLErrorQueue.takeReason()) }
        }
        // As in Go, and so in Prometheus: whatever the file names is trusted, also an intermediate without its root.
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
    }

    private func setSecureDefaults() throws(TLSError) {
        SSL_CTX_set_options(pointer, copenssl_op_no_renegotiation() | copenssl_op_no_compression())
        // NO_AUTO_CHAIN: the chain is what the file says; searching for one would cost time in each handshake.
        let modes =
            SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN
        copenssl_ctx_set_mode(pointer, Int(modes))
        // Forward secrecy and authenticated encryption alone, as Go's defaults for TLS 1.2.
        try require(
            SSL_CTX_set_cipher_list(
                pointer,
                """
                ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
                """))
        try require(SSL_CTX_set_ciphersuites(pointer, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"))
        try require(copenssl_ctx_set1_groups_list(pointer, "X25519:P-256:P-384"))
    }

    private func require(_ result: Int32) throws(TLSError) {
        guard result == 1 else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
    }
}
