import COpenSSL

/// An immutable `SSL_CTX`, shared by connections of any event loop.
public final class TLSContext: Sendable {
    /// The certificate that is shown to peers and those that stand behind it in its file, so that callers can warn of what is wrong with
    /// them; empty for a client without one.
    public let chain: [TLSCertificate]
    /// The first certificate of the chain that did not sign the one before it, counted from 0; `nil` when all did.
    public let brokenLink: Int?
    /// Whether TLS 1.2 can be negotiated by its version, but by no suite that fits the certificate's key.
    public let lacksTLS12Suite: Bool
    /// When the first of the revocation lists ends, in seconds since 1970-01-01 UTC: no client is admitted from then on.
    public let revocationsEnd: Int64?

    /// The certificate that is shown to peers, so that callers can warn before it expires; `nil` for a client without one.
    public var certificate: TLSCertificate? { chain.first }

    /// Whether connections of this context check the peer's certificate and name.
    let verifiesPeer: Bool

    // Safe to share: set up in `init` alone, before anyone else can see it; afterwards it is only passed to SSL_new, which takes
    // OpenSSL's own locks and reference counts.
    nonisolated(unsafe) private let pointer: OpaquePointer

    /// Kept here because OpenSSL's callbacks hold them unretained.
    private let callbackArguments: [any AnyObject & Sendable]

    /// - Throws: `TLSError` that says which of the settings is wrong and why.
    public init(server settings: TLSServerSettings) throws(TLSError) {
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
        revocationsEnd = policy.revocationsEnd
        verifiesPeer = settings.clientAuthentication.asks
        callbackArguments = [offered, policy, callbacks]
        pointer = builder.take()
    }

    /// - Throws: `TLSError` that says which of the settings is wrong and why.
    public init(client settings: TLSClientSettings) throws(TLSError) {
        let offered = try OfferedProtocols(settings.applicationProtocols)
        let builder = try ContextBuilder(method: TLS_client_method(), minVersion: settings.minVersion, maxVersion: .tls13)
        switch (settings.certificateChain, settings.privateKey) {
        case (let chain?, let key?): try builder.use(certificateChain: chain, privateKey: key, password: nil)
        case (nil, nil): break
        case (_?, nil): throw .invalidPrivateKey("the certificate has no private key beside it")
        case (nil, _?): throw .invalidCertificate("the private key has no certificate beside it")
        }
        try builder.prepareClient(trusting: settings.verifiesPeer ? settings.trustRoots : nil, offering: offered)
        chain = builder.chain.map(\.facts)
        brokenLink = builder.brokenLink
        lacksTLS12Suite = false
        revocationsEnd = nil
        verifiesPeer = settings.verifiesPeer
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
