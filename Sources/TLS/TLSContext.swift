import COpenSSL

/// An immutable `SSL_CTX`, shared by connections of any event loop.
public final class TLSContext: Sendable {
    /// The certificate that is shown to peers, then those that follow it in its file. Callers can warn about them. Empty for a client
    /// without a certificate.
    public let chain: [TLSCertificate]
    /// The first certificate of the chain that did not sign the one before it, counted from 0; `nil` when all did.
    public let brokenLink: Int?
    /// Whether the versions allow TLS 1.2, but no suite fits the certificate's key.
    public let lacksTLS12Suite: Bool
    /// When the revocation lists are in force; `nil` without one. At other times clients of an authority are refused whose list is not.
    public let revocations: RevocationPeriod?

    /// The certificate that is shown to peers; `nil` for a client without one.
    public var certificate: TLSCertificate? { chain.first }

    /// Whether connections of this context look at the peer's certificate. A client verifies it and its name. A server only asks for one, also
    /// when it accepts every certificate; whether it verifies it, `verifiesClients` says.
    let verifiesPeer: Bool
    /// Of a server: whether a client's certificate, if there is one, has been verified. Of a client: false.
    let verifiesClients: Bool
    /// The limit of all handshakes together.
    let handshakeLimit: HandshakeLimit?
    /// The addresses of the certificates that peers are verified with, and whether others of them have the same name. Without those of the
    /// system. The `SSL_CTX` holds the certificates.
    let authorities: [UInt: Bool]

    // Safe to share: set up in `init`, before any other code can see it. Afterwards it is only passed to SSL_new, which uses OpenSSL's own
    // locks and reference counts.
    nonisolated(unsafe) private let pointer: OpaquePointer

    /// Kept here because OpenSSL's callbacks hold them unretained.
    private let callbackArguments: [any AnyObject & Sendable]

    /// - Throws: `TLSSettingsError` that says which of the settings is wrong and why.
    public init(server settings: TLSServerSettings) throws(TLSSettingsError) {
        guard settings.minVersion <= settings.maxVersion else { throw .minVersionAboveMaxVersion }
        let offered = try OfferedProtocols(settings.applicationProtocols)
        let builder = try ContextBuilder(method: TLS_server_method(), minVersion: settings.minVersion, maxVersion: settings.maxVersion)
        try builder.choose(suites: settings.cipherSuites, curves: settings.curves, byServersOrder: settings.prefersOwnCipherSuites)
        try builder.use(
            certificateChain: settings.certificateChain, privateKey: settings.privateKey, password: settings.privateKeyPassword)
        let lacksSuite = settings.minVersion == .tls12 && !builder.hasTLS12SuiteForKey
        guard !lacksSuite || settings.maxVersion != .tls12 else { throw .noCipherSuiteForKey }
        try builder.prepareServer(offering: offered)
        let policy = try builder.authenticateClients(settings)
        let callbacks = TicketCallbacks(tickets: settings.tickets ?? SessionTickets(), policy: policy)
        try builder.resumeSessions(of: settings.sessionIdentity, callbacks)
        chain = builder.chain.map(\.facts)
        brokenLink = builder.brokenLink
        lacksTLS12Suite = lacksSuite
        revocations = policy.revocations
        verifiesPeer = settings.clientAuthentication.asks
        verifiesClients = settings.clientAuthentication.verifies
        handshakeLimit = settings.handshakeLimit
        authorities = builder.authorities
        callbackArguments = [offered, policy, callbacks]
        pointer = builder.take()
    }

    /// - Throws: `TLSSettingsError` that says which of the settings is wrong and why.
    public init(client settings: TLSClientSettings) throws(TLSSettingsError) {
        guard settings.minVersion <= settings.maxVersion else { throw .minVersionAboveMaxVersion }
        let offered = try OfferedProtocols(settings.applicationProtocols)
        let builder = try ContextBuilder(method: TLS_client_method(), minVersion: settings.minVersion, maxVersion: settings.maxVersion)
        try builder.offerSuitesOfOldServers()
        try builder.choose(suites: settings.cipherSuites, curves: settings.curves, byServersOrder: false)
        try builder.accept(signatureSchemes: settings.signatureSchemes)
        switch (settings.certificateChain, settings.privateKey) {
        case (let chain?, let key?): try builder.use(certificateChain: chain, privateKey: key, password: nil)
        case (nil, nil): break
        case (_?, nil): throw .invalidPrivateKey("the certificate has no private key beside it")
        case (nil, _?): throw .invalidCertificate("the private key has no certificate beside it")
        }
        try builder.prepareClient(trusting: settings.trustRoots, verifies: settings.verifiesPeer, offering: offered)
        chain = builder.chain.map(\.facts)
        brokenLink = builder.brokenLink
        lacksTLS12Suite = false
        revocations = nil
        verifiesPeer = settings.verifiesPeer
        verifiesClients = false
        handshakeLimit = settings.handshakeLimit
        authorities = builder.authorities
        callbackArguments = [offered]
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
final class ContextBuilder {
    private var pointer: OpaquePointer?
    /// What was given as certificate and its intermediates.
    private(set) var chain: [X509Certificate] = []
    /// See `TLSContext.authorities`.
    private(set) var authorities: [UInt: Bool] = [:]
    /// The configured suites of TLS 1.2; empty means the defaults, which fit every key.
    private var tls12Suites: [CipherSuites.Suite] = []

    init(method: OpaquePointer?, minVersion: TLSProtocolVersion, maxVersion: TLSProtocolVersion) throws(TLSSettingsError) {
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

    func use(certificateChain: [UInt8], privateKey: [UInt8], password: [UInt8]?) throws(TLSSettingsError) {
        do {
            chain = try PEM.certificates(in: certificateChain)
        } catch {
            throw .invalidCertificate(error.reason)
        }
        let leaf = chain[0]
        let key = try PrivateKey(pem: privateKey, password: password)
        guard X509_check_private_key(leaf.pointer, key.pointer) == 1 else {
            OpenSSLErrorQueue.clear()
            if let position = chain.firstIndex(where: { X509_check_private_key($0.pointer, key.pointer) == 1 }) {
                OpenSSLErrorQueue.clear()
                throw .invalidCertificate("the one that belongs to the key is number \(position + 1) in the file: it must come first")
            }
            OpenSSLErrorQueue.clear()
            throw .certificateDoesNotMatchKey
        }
        guard SSL_CTX_use_certificate(pointer, leaf.pointer) == 1 else { throw .invalidCertificate(leaf.refusal()) }
        for (index, intermediate) in chain.enumerated().dropFirst() {
            guard copenssl_ctx_add1_chain_cert(pointer, intermediate.pointer) == 1 else {
                throw .invalidCertificate("number \(index + 1) in the file: \(intermediate.refusal())")
            }
        }
        guard SSL_CTX_use_PrivateKey(pointer, key.pointer) == 1 else { throw .invalidPrivateKey(OpenSSLErrorQueue.takeReason()) }
    }

    /// See `TLSContext.brokenLink`.
    var brokenLink: Int? {
        chain.indices.dropFirst().first { X509_check_issued(chain[$0].pointer, chain[$0 - 1].pointer) != X509_V_OK }
    }

    var hasTLS12SuiteForKey: Bool {
        guard let leaf = chain.first, !tls12Suites.isEmpty else { return true }
        let kind = EVP_PKEY_get_base_id(X509_get0_pubkey(leaf.pointer))
        return tls12Suites.contains { $0.fits(keysOfKind: kind) }
    }

    /// - Parameter signatureSchemes: empty means OpenSSL's defaults.
    func accept(signatureSchemes: [String]) throws(TLSSettingsError) {
        guard !signatureSchemes.isEmpty else { return }
        try require(copenssl_ctx_set1_sigalgs_list(pointer, signatureSchemes.joined(separator: ":")))
    }

    /// - Parameters:
    ///   - suites: the suites of one version of TLS replace only the defaults of that version.
    ///   - curves: empty means the defaults.
    func choose(suites names: [String], curves: [String], byServersOrder: Bool) throws(TLSSettingsError) {
        var suites: [CipherSuites.Suite] = []
        for name in names {
            guard let suite = CipherSuites.suite(named: name) else { throw .unknownCipherSuite(name) }
            suites.append(suite)
        }
        tls12Suites = suites.filter { !$0.isTLS13 }
        let tls13Suites = suites.filter(\.isTLS13)
        if !tls12Suites.isEmpty {
            try require(SSL_CTX_set_cipher_list(pointer, tls12Suites.map(\.openSSLName).joined(separator: ":")))
            if tls12Suites.contains(where: \.needsDHParameters) { copenssl_ctx_set_dh_auto(pointer) }
        }
        if !tls13Suites.isEmpty {
            try require(SSL_CTX_set_ciphersuites(pointer, tls13Suites.map(\.openSSLName).joined(separator: ":")))
        }
        if byServersOrder {
            // A client without AES in hardware puts ChaCha20 first. An order from the configuration is kept.
            let chacha = names.isEmpty ? copenssl_op_prioritize_chacha() : 0
            SSL_CTX_set_options(pointer, copenssl_op_cipher_server_preference() | chacha)
        }
        for name in curves where !Curves.has(name) { throw .unknownCurve(name) }
        // OpenSSL refuses a list that names one curve twice, under the same name or another one. The second mention says nothing new.
        var list: String?
        for name in curves.map(Curves.openSSLName) {
            let longer = list.map { "\($0):\(name)" } ?? name
            if copenssl_ctx_set1_groups_list(pointer, longer) == 1 { list = longer } else { OpenSSLErrorQueue.clear() }
        }
    }

    func prepareServer(offering protocols: OfferedProtocols) throws(TLSSettingsError) {
        copenssl_ctx_set_max_cert_list(pointer, HandshakeReader.maxCertificateMessage.client)
        // Sessions are resumed by tickets, which cost no memory here. A cache would keep up to 20,000 sessions per context.
        copenssl_ctx_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_OFF))
        // Go sends one ticket too. OpenSSL's default of two costs time in each handshake, and clients keep only the last.
        try require(SSL_CTX_set_num_tickets(pointer, 1))
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

    /// Makes the context ask for certificates and verify them.
    func authenticateClients(_ settings: TLSServerSettings) throws(TLSSettingsError) -> ClientPolicy {
        let kind = settings.clientAuthentication
        guard kind.asks else { return ClientPolicy(authentication: kind, allowedNames: [], revocations: nil) }
        SSL_CTX_set_verify(
            pointer, kind.requires ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER, TLSConnection.noteVerification)
        let authorities = try settings.clientAuthorities.map { pem throws(TLSSettingsError) in
            try trust(pem, withRevocations: settings.clientRevocations != nil, TLSSettingsError.invalidClientAuthorities)
        }
        guard authorities != nil || !kind.verifies else { throw .invalidClientAuthorities("there are none to verify clients with") }
        try nameAuthorities(authorities ?? [])
        let lists = try settings.clientRevocations.map { pem throws(TLSSettingsError) in try check(revocations: pem, of: authorities ?? [])
        }
        let policy = ClientPolicy(
            authentication: kind, allowedNames: settings.allowedClientNames,
            revocations: lists.flatMap { RevocationPeriod($0, of: authorities ?? []) })
        SSL_CTX_set_cert_verify_callback(pointer, ClientPolicy.judge, Unmanaged.passUnretained(policy).toOpaque())
        return policy
    }

    /// Tells clients which of their certificates to send.
    private func nameAuthorities(_ authorities: [X509Certificate]) throws(TLSSettingsError) {
        let bytes = authorities.reduce(0) { $0 + Int(i2d_X509_NAME(X509_get_subject_name($1.pointer), nil)) }
        // Every client must be able to take the message. Without names, a client sends the certificate that it has (RFC 8446 section 4.2.4).
        guard bytes <= 32 << 10 else { return }
        for authority in authorities {
            guard SSL_CTX_add_client_CA(pointer, authority.pointer) == 1 else {
                throw .invalidClientAuthorities(OpenSSLErrorQueue.takeReason())
            }
        }
    }

    /// Makes the context check certificates against revocation lists.
    private func check(revocations pem: [UInt8], of authorities: [X509Certificate]) throws(TLSSettingsError) -> [RevocationList] {
        let lists: [RevocationList]
        do {
            lists = try PEM.revocationLists(in: pem)
        } catch {
            throw .invalidRevocationList(error.reason)
        }
        let store = SSL_CTX_get_cert_store(pointer)
        for (index, list) in lists.enumerated() {
            guard !list.isForged(among: authorities) else {
                throw .invalidRevocationList("list \(index + 1) is not signed by the authority whose name it bears")
            }
            guard X509_STORE_add_crl(store, list.pointer) == 1 else { throw .invalidRevocationList(OpenSSLErrorQueue.takeReason()) }
        }
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL))
        return lists
    }

    /// - Parameter identity: the rules of a new handshake; a session made under other rules is not resumed.
    func resumeSessions(of identity: [UInt8], _ callbacks: TicketCallbacks) throws(TLSSettingsError) {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        try require(EVP_Digest(identity, identity.count, &digest, &count, EVP_sha256(), nil))
        try require(SSL_CTX_set_session_id_context(pointer, digest, count))
        guard let pointer else { return }
        callbacks.install(in: pointer)
    }

    /// - Parameter verifies: false trusts every certificate.
    func prepareClient(
        trusting roots: TLSClientSettings.TrustRoots, verifies: Bool, offering protocols: OfferedProtocols
    ) throws(TLSSettingsError) {
        copenssl_ctx_set_max_cert_list(pointer, HandshakeReader.maxCertificateMessage.server)
        copenssl_ctx_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_OFF))
        if !protocols.isEmpty {
            // Unlike similar calls, this one returns 0 on success.
            guard SSL_CTX_set_alpn_protos(pointer, protocols.wireFormat, UInt32(protocols.wireFormat.count)) == 0 else {
                throw .openSSLFailed(OpenSSLErrorQueue.takeReason())
            }
        }
        if verifies {
            SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, TLSConnection.noteVerification)
        } else {
            SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
        }
        switch roots {
        case .system(let authorities): if verifies { try authorities.install(in: pointer) }
        // Also if they are not used: a wrong file is an error in any case.
        case .certificates(let pem): _ = try trust(pem, withRevocations: false, TLSSettingsError.invalidTrustRoots)
        }
    }

    /// As in Go, and so in Prometheus, each certificate of the file is trusted, also an intermediate without its root, beside a root that
    /// has expired, or beside another certificate of the same name.
    private func trust(
        _ pem: [UInt8], withRevocations: Bool, _ error: (String) -> TLSSettingsError
    ) throws(TLSSettingsError) -> [X509Certificate] {
        let certificates: [X509Certificate]
        do {
            certificates = try PEM.certificates(in: pem)
        } catch let unreadable {
            throw error(unreadable.reason)
        }
        let store = SSL_CTX_get_cert_store(pointer)
        for certificate in certificates {
            guard X509_STORE_add_cert(store, certificate.pointer) == 1 else { throw error(OpenSSLErrorQueue.takeReason()) }
        }
        for namesakes in Dictionary(grouping: certificates, by: { X509_subject_name_hash($0.pointer) }).values {
            // The store holds the first of equal ones only.
            var held: [X509Certificate] = []
            for certificate in namesakes where !held.contains(where: { X509_cmp($0.pointer, certificate.pointer) == 0 }) {
                held.append(certificate)
            }
            for certificate in held { authorities[UInt(bitPattern: certificate.pointer)] = held.count > 1 }
        }
        X509_STORE_set_check_issued(store, TLSConnection.judgeIssuer)
        // With the flag a chain ends at the first trusted certificate. With revocation lists it must go on to the root, if that is at hand:
        // the root's list is then required for the intermediate.
        let endsAtRoot =
            withRevocations
            && certificates.allSatisfy { certificate in
                certificates.contains { X509_check_issued($0.pointer, certificate.pointer) == X509_V_OK }
            }
        if !endsAtRoot { X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN)) }
        return certificates
    }

    private func setSecureDefaults() throws(TLSSettingsError) {
        SSL_CTX_set_options(pointer, copenssl_op_no_renegotiation() | copenssl_op_no_compression())
        // NO_AUTO_CHAIN: the chain is that of the file. Searching for one would cost time in each handshake.
        let modes =
            SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN
        copenssl_ctx_set_mode(pointer, Int(modes))
        try require(SSL_CTX_set_cipher_list(pointer, Self.secureSuites))
        try require(SSL_CTX_set_ciphersuites(pointer, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"))
        try require(copenssl_ctx_set1_groups_list(pointer, Curves.defaults.joined(separator: ":")))
    }

    /// Adds the suites of TLS 1.2 that Go's clients, and so Prometheus, offer after the secure ones: CBC, then RSA key exchange.
    func offerSuitesOfOldServers() throws(TLSSettingsError) {
        try require(
            SSL_CTX_set_cipher_list(
                pointer,
                """
                \(Self.secureSuites):ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:\
                ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA:AES128-SHA256
                """))
    }

    /// Forward secrecy and authenticated encryption, as Go's defaults for TLS 1.2.
    private static let secureSuites = """
        ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
        ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
        """

    private func require(_ result: Int32) throws(TLSSettingsError) {
        guard result == 1 else { throw .openSSLFailed(OpenSSLErrorQueue.takeReason()) }
    }
}
