import COpenSSL
import Glibc

/// Decides about a client's certificate during its handshake, and how long what was decided may be taken for granted afterwards.
/// Immutable, called by OpenSSL on any event loop.
final class ClientPolicy: Sendable {
    let authentication: ClientAuthentication
    /// One of them must be in the certificate; empty admits any.
    private let allowedNames: Set<AlternativeName>
    /// When the first of the revocation lists ends, in seconds since 1970-01-01 UTC.
    let revocationsEnd: Int64?

    init(authentication: ClientAuthentication, allowedNames: [String], revocationsEnd: Int64?) {
        self.authentication = authentication
        self.allowedNames = Set(allowedNames.map(AlternativeName.init(configured:)))
        self.revocationsEnd = revocationsEnd
    }

    /// OpenSSL's call to judge a whole chain.
    static let judge: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { store, argument in
        guard let store, let argument else { return 0 }
        return Unmanaged<ClientPolicy>.fromOpaque(argument).takeUnretainedValue().admits(store) ? 1 : 0
    }

    private func admits(_ store: OpaquePointer) -> Bool {
        if authentication.verifies {
            guard X509_verify_cert(store) == 1 else { return false }
        } else {
            X509_STORE_CTX_set_error(store, X509_V_OK)
        }
        guard !allowedNames.isEmpty else { return true }
        let names = X509_STORE_CTX_get0_cert(store).map { AlternativeName.all(of: $0) } ?? []
        guard allowedNames.isDisjoint(with: names) else { return true }
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
        TLSConnection.checked(by: store)?.note(clientNamesNotAllowed: names.map(\.text))
        return false
    }

    /// Until when, in seconds since 1970-01-01 UTC, a client that was admitted just now would be admitted again.
    func admissionEnds(_ ssl: OpaquePointer) -> Int64 {
        guard authentication.verifies else { return .max }
        var end = revocationsEnd ?? .max
        guard let chain = SSL_get0_verified_chain(ssl) else { return end }
        for index in 0..<OPENSSL_sk_num(chain) {
            guard let certificate = OPENSSL_sk_value(chain, index) else { continue }
            end = min(end, X509Certificate.epochSeconds(X509_get0_notAfter(OpaquePointer(certificate))))
        }
        return end
    }
}
