import COpenSSL

/// One `X509_CRL*`, owned.
final class RevocationList {
    let pointer: OpaquePointer

    init(takingOwnership pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        X509_CRL_free(pointer)
    }

    /// After this moment, in seconds since 1970-01-01 UTC, it says nothing any more; `nil` when it never ends.
    var nextUpdate: Int64? {
        X509_CRL_get0_nextUpdate(pointer).map { X509Certificate.epochSeconds($0) }
    }

    /// Whether an authority of this list carries the issuer's name, and none of those has signed it: it would be of no use, silently.
    func isForged(among authorities: [X509Certificate]) -> Bool {
        let issuer = X509_CRL_get_issuer(pointer)
        let namesakes = authorities.filter { X509_NAME_cmp(X509_get_subject_name($0.pointer), issuer) == 0 }
        guard !namesakes.isEmpty else { return false }
        defer { OpenSSLErrorQueue.clear() }
        return !namesakes.contains { X509_CRL_verify(pointer, X509_get0_pubkey($0.pointer)) == 1 }
    }
}
