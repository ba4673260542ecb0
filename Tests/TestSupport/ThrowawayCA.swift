import COpenSSL
public import Foundation

/// A certificate authority that lives as long as a test.
public struct ThrowawayCA: Sendable {
    /// The kinds of key a certificate can have.
    public enum KeyKind: Sendable, CaseIterable {
        /// P-256.
        case ecdsa
        /// 2048 bits; takes some 50 ms to make.
        case rsa
        /// The same, for signatures with PSS alone.
        case rsaPSS
        case ed25519
        case p521
    }

    /// When a certificate is valid.
    public enum Validity: Sendable {
        /// From yesterday on, for sixty days: long enough that nothing warns of the end.
        case valid
        /// Until an hour ago.
        case expired
        /// From tomorrow on.
        case notYet
        /// From yesterday until so many seconds from now.
        case ends(in: Int)

        var seconds: (from: Int, to: Int) {
            let day = 86400
            switch self {
            case .valid: return (-day, 60 * day)
            case .expired: return (-day, -3600)
            case .notYet: return (day, 2 * day)
            case .ends(let seconds): return (-day, seconds)
            }
        }
    }

    /// What could not be made, and why.
    public struct Failure: Error {
        let what: String
    }

    /// The authority's own certificate and key.
    public let authority: ThrowawayCertificate
    /// The intermediates that a peer must be sent: empty for a root.
    private let intermediates: String

    /// The authority's certificate, for clients to trust.
    public var certificatePEM: String {
        authority.certificatePEM
    }

    /// A root.
    public init(name: String = "Throwaway CA", key: KeyKind = .ecdsa, validity: Validity = .valid) throws {
        authority = try Self.make(
            subject: name, key: key, validity: validity, issuer: nil, intermediates: "",
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"),
            ])
        intermediates = ""
    }

    /// The same root with another certificate of the same key.
    public func renewed(name: String = "Throwaway CA") throws -> ThrowawayCA {
        let certificate = try Self.make(
            subject: name, key: .ecdsa, validity: .valid, issuer: nil, intermediates: "",
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"),
            ], privateKeyPEM: authority.privateKeyPEM)
        return ThrowawayCA(authority: certificate, intermediates: "")
    }

    private init(authority: ThrowawayCertificate, intermediates: String) {
        self.authority = authority
        self.intermediates = intermediates
    }

    /// An authority below this one; its certificates come with its own as intermediate.
    public func intermediate(name: String = "Throwaway Intermediate CA", key: KeyKind = .ecdsa) throws -> ThrowawayCA {
        let certificate = try Self.make(
            subject: name, key: key, validity: .valid, issuer: authority, intermediates: intermediates,
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid:always"),
            ])
        return ThrowawayCA(authority: certificate, intermediates: certificate.chainPEM)
    }

    /// A server's certificate.
    /// - Parameters:
    ///   - names: DNS names (a wildcard too) and IP addresses, for the subjectAltName; none leaves it out.
    ///   - commonName: the subject.
    ///   - issuerIdentifier: what it says of its issuer's key, in the words of x509v3_config(5).
    public func serverCertificate(
        names: [String] = ["localhost", "127.0.0.1", "::1"], commonName: String = "throwaway server", key: KeyKind = .ecdsa,
        validity: Validity = .valid, rsaBits: Int32 = 2048, issuerIdentifier: String? = nil
    ) throws -> ThrowawayCertificate {
        try leaf(commonName, names, "serverAuth", key, validity, rsaBits, issuerIdentifier: issuerIdentifier)
    }

    /// A client's certificate.
    /// - Parameters:
    ///   - names: e-mail addresses and URIs too.
    ///   - comments: the number of extensions that say nothing.
    ///   - issuerIdentifier: what it says of its issuer's key, in the words of x509v3_config(5).
    public func clientCertificate(
        commonName: String = "throwaway client", names: [String] = [], key: KeyKind = .ecdsa, validity: Validity = .valid,
        comments: Int = 0, issuerIdentifier: String? = nil
    ) throws -> ThrowawayCertificate {
        try leaf(commonName, names, "clientAuth", key, validity, 2048, comments: comments, issuerIdentifier: issuerIdentifier)
    }

    private func leaf(
        _ commonName: String, _ names: [String], _ usage: String, _ key: KeyKind, _ validity: Validity, _ rsaBits: Int32,
        comments: Int = 0, issuerIdentifier: String?
    ) throws -> ThrowawayCertificate {
        var extensions = [
            (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"), (NID_ext_key_usage, usage),
        ]
        extensions += Array(repeating: (NID_netscape_comment, "x"), count: comments)
        if let issuerIdentifier { extensions.append((NID_authority_key_identifier, issuerIdentifier)) }
        if !names.isEmpty {
            let list = names.map { "\(Self.kind(of: $0)):\($0)" }
            extensions.append((NID_subject_alt_name, list.joined(separator: ",")))
        }
        return try Self.make(
            subject: commonName, key: key, validity: validity, issuer: authority, intermediates: intermediates, extensions: extensions,
            rsaBits: rsaBits)
    }

    /// This authority's revocation list, in PEM.
    /// - Parameters:
    ///   - certificates: those revoked; only their serial numbers count.
    ///   - validity: until when it says something.
    ///   - namesKey: whether it names the key that signed it.
    ///   - onlyOfUsers: whether it is about no certificate of an authority.
    public func revocationList(
        revoking certificates: [ThrowawayCertificate] = [], validity: Validity = .valid, namesKey: Bool = false, onlyOfUsers: Bool = false
    ) throws -> String {
        guard let list = X509_CRL_new() else { throw Failure(what: "revocation list") }
        defer { X509_CRL_free(list) }
        let issuer = try Self.readCertificate(authority.certificatePEM)
        defer { X509_free(issuer) }
        let key = try Self.readKey(authority.privateKeyPEM)
        defer { EVP_PKEY_free(key) }
        X509_CRL_set_version(list, 1)
        X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer))
        let time = ASN1_TIME_new()
        defer { ASN1_TIME_free(time) }
        X509_gmtime_adj(time, validity.seconds.from)
        X509_CRL_set1_lastUpdate(list, time)
        for certificate in certificates {
            let revoked = try Self.readCertificate(certificate.certificatePEM)
            defer { X509_free(revoked) }
            let entry = X509_REVOKED_new()
            X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked))
            X509_REVOKED_set_revocationDate(entry, time)
            X509_CRL_add0_revoked(list, entry)
        }
        X509_gmtime_adj(time, validity.seconds.to)
        X509_CRL_set1_nextUpdate(list, time)
        var extensions: [(Int32, String)] = namesKey ? [(NID_authority_key_identifier, "keyid:always")] : []
        if onlyOfUsers { extensions.append((NID_issuing_distribution_point, "critical,onlyuser:TRUE")) }
        for (identifier, value) in extensions {
            var context = v3_ext_ctx()
            X509V3_set_ctx(&context, issuer, nil, nil, list, 0)
            guard let item = X509V3_EXT_conf_nid(nil, &context, identifier, value) else { throw Failure(what: "extension \(value)") }
            X509_CRL_add_ext(list, item, -1)
            X509_EXTENSION_free(item)
        }
        guard X509_CRL_sign(list, key, EVP_sha256()) > 0 else { throw Failure(what: "signature of a revocation list") }
        return try Self.text { PEM_write_bio_X509_CRL($0, list) }
    }

    /// The kind of subjectAltName, as OpenSSL names it.
    private static func kind(of name: String) -> String {
        if isIPAddress(name) { return "IP" }
        if name.contains("://") { return "URI" }
        return name.contains("@") ? "email" : "DNS"
    }

    private static func isIPAddress(_ text: String) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 16)
        return inet_pton(AF_INET, text, &bytes) == 1 || inet_pton(AF_INET6, text, &bytes) == 1
    }

    /// - Parameters:
    ///   - issuer: `nil` for a certificate that signs itself.
    ///   - privateKeyPEM: its key; `nil` makes one.
    private static func make(
        subject: String, key kind: KeyKind, validity: Validity, issuer: ThrowawayCertificate?, intermediates: String,
        extensions: [(Int32, String)], rsaBits: Int32 = 2048, privateKeyPEM: String? = nil
    ) throws -> ThrowawayCertificate {
        let key = try privateKeyPEM.map { try readKey($0) } ?? makeKey(kind, rsaBits)
        defer { EVP_PKEY_free(key) }
        guard let certificate = X509_new() else { throw Failure(what: "certificate") }
        defer { X509_free(certificate) }
        let issuerCertificate = try issuer.map { try readCertificate($0.certificatePEM) }
        defer { X509_free(issuerCertificate) }
        let issuerKey = try issuer.map { try readKey($0.privateKeyPEM) }
        defer { EVP_PKEY_free(issuerKey) }

        X509_set_version(certificate, 2)
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), UInt64.random(in: 1..<(1 << 62)))
        let seconds = validity.seconds
        X509_gmtime_adj(X509_getm_notBefore(certificate), seconds.from)
        X509_gmtime_adj(X509_getm_notAfter(certificate), seconds.to)
        X509_set_pubkey(certificate, key)
        let bytes = Array(subject.utf8)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_FLAG | 0, bytes, Int32(bytes.count), -1, 0)
        X509_set_issuer_name(certificate, X509_get_subject_name(issuerCertificate ?? certificate))
        for (identifier, value) in extensions {
            var context = v3_ext_ctx()
            X509V3_set_ctx(&context, issuerCertificate ?? certificate, certificate, nil, nil, 0)
            guard let item = X509V3_EXT_conf_nid(nil, &context, identifier, value) else { throw Failure(what: "extension \(value)") }
            X509_add_ext(certificate, item, -1)
            X509_EXTENSION_free(item)
        }
        let signer = issuerKey ?? key
        // Ed25519 hashes by itself and refuses a digest.
        let digest = EVP_PKEY_get_id(signer) == EVP_PKEY_ED25519 ? nil : EVP_sha256()
        guard X509_sign(certificate, signer, digest) > 0 else { throw Failure(what: "signature") }
        let pem = try text { PEM_write_bio_X509($0, certificate) }
        return ThrowawayCertificate(
            certificatePEM: pem, chainPEM: pem + intermediates,
            privateKeyPEM: try text { PEM_write_bio_PKCS8PrivateKey($0, key, nil, nil, 0, nil, nil) },
            encryptedPrivateKeyPEM: try text { PEM_write_bio_PKCS8PrivateKey($0, key, EVP_aes_256_cbc(), "secret", 6, nil, nil) })
    }

    private static func makeKey(_ kind: KeyKind, _ rsaBits: Int32) throws -> OpaquePointer {
        let type =
            switch kind {
            case .ecdsa, .p521: EVP_PKEY_EC
            case .rsa: EVP_PKEY_RSA
            case .rsaPSS: EVP_PKEY_RSA_PSS
            case .ed25519: EVP_PKEY_ED25519
            }
        guard let context = EVP_PKEY_CTX_new_id(type, nil) else { throw Failure(what: "key context") }
        defer { EVP_PKEY_CTX_free(context) }
        EVP_PKEY_keygen_init(context)
        switch kind {
        case .ecdsa: EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1)
        case .p521: EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_secp521r1)
        case .rsa, .rsaPSS: EVP_PKEY_CTX_set_rsa_keygen_bits(context, rsaBits)
        case .ed25519: break
        }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen(context, &key) == 1, let key else { throw Failure(what: "key") }
        return key
    }

    private static func text(_ write: (OpaquePointer) -> Int32) throws -> String {
        guard let output = BIO_new(BIO_s_mem()) else { throw Failure(what: "memory") }
        defer { BIO_free(output) }
        guard write(output) == 1 else { throw Failure(what: "PEM") }
        var bytes = [UInt8](repeating: 0, count: 64 * 1024)
        let count = BIO_read(output, &bytes, Int32(bytes.count))
        return String(decoding: bytes.prefix(Int(max(0, count))), as: UTF8.self)
    }

    private static func reading<Result>(_ pem: String, _ read: (OpaquePointer) -> Result?) throws -> Result {
        guard let input = BIO_new(BIO_s_mem()) else { throw Failure(what: "memory") }
        defer { BIO_free(input) }
        BIO_write(input, pem, Int32(pem.utf8.count))
        guard let result = read(input) else { throw Failure(what: "own PEM") }
        return result
    }

    static func readCertificate(_ pem: String) throws -> OpaquePointer {
        try reading(pem) { PEM_read_bio_X509($0, nil, nil, nil) }
    }

    static func readKey(_ pem: String) throws -> OpaquePointer {
        try reading(pem) { PEM_read_bio_PrivateKey($0, nil, nil, nil) }
    }
}

/// A certificate with its key, all in PEM.
public struct ThrowawayCertificate: Sendable {
    /// The certificate alone.
    public let certificatePEM: String
    /// The certificate and its intermediates, without the root.
    public let chainPEM: String
    /// PKCS #8, unencrypted.
    public let privateKeyPEM: String
    /// PKCS #8, with the password `secret`.
    public let encryptedPrivateKeyPEM: String

    /// Writes `NAME.pem` (the chain) and `NAME.key` (readable by the owner alone) into a folder that exists.
    @discardableResult
    public func write(to folder: URL, name: String) throws -> (certificate: URL, privateKey: URL) {
        let certificate = folder.appendingPathComponent("\(name).pem")
        let privateKey = folder.appendingPathComponent("\(name).key")
        try Data(chainPEM.utf8).write(to: certificate)
        try Data(privateKeyPEM.utf8).write(to: privateKey)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: privateKey.path)
        return (certificate, privateKey)
    }
}
