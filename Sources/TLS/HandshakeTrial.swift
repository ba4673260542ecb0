/// A handshake in memory, between a server's context and a client that accepts every certificate. It finds what no look at single settings
/// finds: a key of a kind that no suite fits, a chain that is too long for clients.
public enum HandshakeTrial {
    /// Tries a handshake with a client of the usual settings, which are those of Go and so of Prometheus; if that fails, with one that has the
    /// server's own suites and curves.
    /// - Parameters:
    ///   - context: of the server; its handshakes are not counted.
    ///   - settings: those of the context.
    /// - Returns: why clients of the usual settings fail; `nil` when they do not.
    /// - Throws: `noClientCanConnect` when the other client fails too.
    public static func run(on context: TLSContext, _ settings: TLSServerSettings) throws(TLSSettingsError) -> String? {
        var usualClient = permissiveClient
        usualClient.signatureSchemes = usualSignatureSchemes
        guard let failure = try failure(of: context, with: usualClient) else { return nil }
        guard let last = try Self.failure(of: context, with: client(like: settings)) else { return failure }
        throw .noClientCanConnect(last)
    }

    /// It reads no authorities.
    private static let permissiveClient = TLSClientSettings(trustRoots: .system(SystemAuthorities()), verifiesPeer: false)

    /// Those of Go. It cannot use RSA-PSS keys (whose schemes are `rsa_pss_pss_…`) and Ed448.
    private static let usualSignatureSchemes =
        ["sha256", "sha384", "sha512"].flatMap { ["rsa_pss_rsae_\($0)", "rsa_pkcs1_\($0)"] }
        + ["ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "ed25519"]

    private static func client(like server: TLSServerSettings) -> TLSClientSettings {
        var settings = permissiveClient
        settings.minVersion = server.minVersion
        settings.maxVersion = server.maxVersion
        settings.cipherSuites = server.cipherSuites
        settings.curves = server.curves.isEmpty ? Curves.defaults : server.curves
        // In TLS 1.2 a client must have the curve of the certificate's key, too.
        if let leaf = try? PEM.certificates(in: server.certificateChain).first, let curve = leaf.curve, Curves.has(curve) {
            settings.curves.append(curve)
        }
        return settings
    }

    /// - Returns: why the handshake failed; `nil` when the client was content with all that it got.
    private static func failure(of context: TLSContext, with settings: TLSClientSettings) throws(TLSSettingsError) -> String? {
        let clientContext = try TLSContext(client: settings)
        do throws(TLSError) {
            let server = try TLSConnection(context, as: .server)
            let client = try TLSConnection(clientContext, as: .client(hostname: ""))
            // A full handshake takes two turns of each side, and one more if the client has to send another key (RFC 8446 section 2.1).
            for _ in 0..<4 {
                switch step(of: client, to: server) {
                case .completed: return nil
                case .failed(let error, _): return error.description
                case .wantsMore: break
                }
                // That the client has no certificate is found last: the server's part was fine.
                if case .failed(let error, let failure) = step(of: server, to: client) {
                    return failure == .noCertificate ? nil : error.description
                }
            }
            return "it does not end"
        } catch {
            throw .openSSLFailed(error.description)
        }
    }

    private static func step(of connection: TLSConnection, to peer: TLSConnection) -> TLSConnection.HandshakeResult {
        let result = connection.handshake()
        if connection.pendingCiphertext > 0 { peer.receive(connection.takeCiphertext()) }
        return result
    }
}
