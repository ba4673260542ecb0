import COpenSSL
import Glibc
import Synchronization

/// Decides whether a client's certificate is accepted, and how long the decision is valid.
/// Immutable; OpenSSL calls it on any event loop.
final class ClientPolicy: Sendable {
    let authentication: ClientAuthentication
    /// The certificate must have one of them; empty allows any.
    private let allowedNames: Set<AlternativeName>
    /// When the revocation lists are in force.
    let revocations: RevocationPeriod?

    init(authentication: ClientAuthentication, allowedNames: [String], revocations: RevocationPeriod?) {
        self.authentication = authentication
        self.allowedNames = Set(allowedNames.map(AlternativeName.init(configured:)))
        self.revocations = revocations
    }

    /// OpenSSL's callback to judge a whole chain.
    static let judge: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { store, argument in
        guard let store, let argument else { return 0 }
        // The check may succeed and leave errors, such as that of a list that does not count. OpenSSL would take them for its own when the
        // handshake then waits for more bytes. After a failure it adds its own error.
        defer { OpenSSLErrorQueue.clear() }
        guard isOfOrdinaryStructure(store) else {
            X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
            TLSConnection.checked(by: store)?.note("its certificates have more than \(maxParts) names and extensions")
            return 0
        }
        guard Unmanaged<ClientPolicy>.fromOpaque(argument).takeUnretainedValue().admits(store) else { return 0 }
        guard let ssl = TLSConnection.ssl(checking: store), let certificate = X509_STORE_CTX_get0_cert(store) else { return 1 }
        if !SessionTickets.fits(certificate) { SSL_set_num_tickets(ssl, 0) }
        return 1
    }

    /// The most extensions, and parts of the names of subjects and issuers, that all certificates of a client have together. Ordinary ones
    /// have about twenty each. A certificate of 32 KiB can have thousands, and OpenSSL keeps 190 bytes for each of them.
    private static let maxParts = 500

    private static func isOfOrdinaryStructure(_ store: OpaquePointer) -> Bool {
        let chain = X509_STORE_CTX_get0_untrusted(store)
        let certificates = (0..<max(0, OPENSSL_sk_num(chain))).compactMap { OPENSSL_sk_value(chain, $0).map { OpaquePointer($0) } }
        let parts = certificates.reduce(0) { sum, certificate in
            sum + X509_get_ext_count(certificate) + X509_NAME_entry_count(X509_get_subject_name(certificate))
                + X509_NAME_entry_count(X509_get_issuer_name(certificate))
        }
        return parts <= maxParts
    }

    private func admits(_ store: OpaquePointer) -> Bool {
        if authentication.verifies {
            guard X509_verify_cert(store) == 1, !rejectsRevokedAnchor(store) else { return false }
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

    /// Refuses a chain whose trusted certificate is named by a list of its issuer. If the issuer is not in the chain, OpenSSL looks into
    /// some of the lists, or into none, because it lacks the key that signed them. Here they count without it: they are the operator's.
    private func rejectsRevokedAnchor(_ store: OpaquePointer) -> Bool {
        guard revocations != nil, let chain = X509_STORE_CTX_get0_chain(store),
            let anchor = OPENSSL_sk_value(chain, OPENSSL_sk_num(chain) - 1).map({ OpaquePointer($0) }),
            let lists = X509_STORE_CTX_get1_crls(store, X509_get_issuer_name(anchor))
        else { return false }
        defer { OPENSSL_sk_pop_free(lists) { X509_CRL_free($0.map { OpaquePointer($0) }) } }
        let isRevoked = (0..<OPENSSL_sk_num(lists)).contains { index in
            OPENSSL_sk_value(lists, index).map { RevocationList.revokes(OpaquePointer($0), anchor) } ?? false
        }
        guard isRevoked else { return false }
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED)
        TLSConnection.checked(by: store)?.note(problem: X509_V_ERR_CERT_REVOKED, of: anchor)
        return true
    }

    /// Until when, in seconds since 1970-01-01 UTC, a client that was admitted just now would be admitted again.
    func admissionEnds(_ ssl: OpaquePointer) -> Int64 {
        // Without a certificate there is no chain, and nothing that ends.
        guard authentication.verifies, let chain = SSL_get0_verified_chain(ssl) else { return .max }
        let certificates = (0..<OPENSSL_sk_num(chain)).compactMap { index in OPENSSL_sk_value(chain, index).map { OpaquePointer($0) } }
        var end = certificates.map { X509Certificate.epochSeconds(X509_get0_notAfter($0)) }.min() ?? .max
        guard let revocations else { return end }
        // Each needs the list of the next one. The last one is trusted itself and needs none.
        for issuer in certificates.dropFirst() { end = min(end, revocations.end(of: issuer)) }
        return end
    }
}

/// The name that a server's certificate must be for (RFC 6125). As in browsers and in Go, a wildcard stands for one whole label, never for
/// a part of one, and only the subjectAltName counts, never the common name.
enum HostnameVerification: Equatable {
    case dnsName(String)
    case ipAddress(String)
    /// The name cannot be used for verification.
    case unusable

    /// - Parameter hostname: a DNS name with or without its final dot, or an IP address; IPv6 with or without brackets and zone.
    init(_ hostname: String) {
        var name = Substring(hostname)
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        if AlternativeName.address(String(name.prefix { $0 != "%" })) != nil {
            // A zone names the interface to the address; certificates do not contain it.
            self = .ipAddress(String(name.prefix { $0 != "%" }))
            return
        }
        if name.hasSuffix(".") { name = name.dropLast() }
        // An empty name would switch OpenSSL's check off, a NUL would hide the rest, and a dot in front would stand for any labels.
        guard !name.isEmpty, !name.hasPrefix("."), name.utf8.count <= 253, !name.utf8.contains(0) else {
            self = .unusable
            return
        }
        self = .dnsName(String(name))
    }

    /// What Server Name Indication may carry: a DNS name, never an address (RFC 6066 section 3).
    var serverNameIndication: String? {
        if case .dnsName(let name) = self { name } else { nil }
    }

    /// Makes the handshake on `ssl` check the name.
    /// - Returns: false when it cannot, so that the connection must not be made.
    func apply(to ssl: OpaquePointer) -> Bool {
        let parameters = SSL_get0_param(ssl)
        X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
        return switch self {
        case .dnsName(let name): X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count) == 1
        case .ipAddress(let address): X509_VERIFY_PARAM_set1_ip_asc(parameters, address) == 1
        case .unusable: false
        }
    }
}

/// OpenSSL's results of the check of the peer's certificate.
extension TLSConnection {
    /// The index that OpenSSL keeps for applications (`SSL_set_app_data`).
    static let selfIndex: Int32 = 0

    /// OpenSSL's verify callback: records what is wrong with which certificate. It changes one result: a certificate that is trusted itself
    /// needs no revocation list, so nothing that is wrong with a list counts there. If its issuer is not in the chain, OpenSSL takes a list
    /// with the issuer's name, and verifies it with the key of the certificate itself, which fails.
    static let noteVerification: @convention(c) (Int32, OpaquePointer?) -> Int32 = { verdict, store in
        guard verdict == 0, let store else { return verdict }
        let problem = X509_STORE_CTX_get_error(store)
        if RevocationList.isMissing(problem), let chain = X509_STORE_CTX_get0_chain(store),
            X509_STORE_CTX_get_error_depth(store) == OPENSSL_sk_num(chain) - 1
        {
            X509_STORE_CTX_set_error(store, X509_V_OK)
            return 1
        }
        checked(by: store)?.note(problem: problem, of: X509_STORE_CTX_get_current_cert(store))
        return verdict
    }

    /// The most signatures that are verified to find issuers, in one handshake. A peer can send a hundred certificates that all name an
    /// authority, and needs no key for that.
    static let maxIssuerChecks = 16

    /// OpenSSL's callback to judge whether the second certificate may have issued the first one. OpenSSL takes the first one that may, and
    /// verifies the signature later. Its own callback compares names and key identifiers. So it takes the wrong one of two authorities of
    /// one name, if no identifiers tell them apart, and none if an identifier has the serial number of an authority that was renewed. In
    /// these two cases the signature decides here, but only about a trusted certificate: its key is not a peer's.
    static let judgeIssuer: @convention(c) (OpaquePointer?, OpaquePointer?, OpaquePointer?) -> Int32 = { store, certificate, issuer in
        guard let store, let certificate, let issuer else { return 0 }
        let verdict = X509_check_issued(issuer, certificate)
        // OpenSSL's own callback does not look at the usage of the key, which is checked later.
        let mayBe = [X509_V_OK, X509_V_ERR_KEYUSAGE_NO_CERTSIGN, X509_V_ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE].contains(verdict)
        guard mayBe || verdict == X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH, certificate != issuer, let connection = checked(by: store),
            let hasNamesakes = connection.context.authorities[UInt(bitPattern: issuer)]
        else { return mayBe ? 1 : 0 }
        let isIdentified = X509_get0_authority_key_id(certificate) != nil && X509_get0_subject_key_id(issuer) != nil
        guard !mayBe || (hasNamesakes && !isIdentified), connection.issuerChecks < maxIssuerChecks else { return mayBe ? 1 : 0 }
        connection.issuerChecks += 1
        // OpenSSL would take the error of a wrong signature for its own.
        ERR_set_mark()
        defer { ERR_pop_to_mark() }
        return X509_verify(certificate, X509_get0_pubkey(issuer)) == 1 ? 1 : 0
    }

    /// The connection whose peer's certificate is being checked.
    static func checked(by store: OpaquePointer) -> TLSConnection? {
        guard let ssl = ssl(checking: store), let owner = SSL_get_ex_data(ssl, selfIndex) else { return nil }
        return Unmanaged<TLSConnection>.fromOpaque(owner).takeUnretainedValue()
    }

    fileprivate static func ssl(checking store: OpaquePointer) -> OpaquePointer? {
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()).map { OpaquePointer($0) }
    }

    /// - Parameter names: the names in the client's certificate, none of which is allowed.
    func note(clientNamesNotAllowed names: [String]) {
        verificationFailure =
            names.isEmpty
            ? "it has no subjectAltName, and only certain names are allowed"
            : "it is for \(Self.list(names)), none of which is allowed"
    }

    /// - Parameter reason: why the client's certificates are refused.
    fileprivate func note(_ reason: String) { verificationFailure = reason }

    fileprivate func note(problem: Int32, of certificate: OpaquePointer?) {
        guard verificationFailure == nil else { return }
        let reason = String(cString: X509_verify_cert_error_string(Int(problem)))
        guard let certificate else {
            verificationFailure = reason
            return
        }
        guard problem == X509_V_ERR_HOSTNAME_MISMATCH || problem == X509_V_ERR_IP_ADDRESS_MISMATCH else {
            let subject = X509Certificate.subject(of: certificate)
            verificationFailure = subject.isEmpty ? reason : "\(reason) (\(subject))"
            return
        }
        let names = X509Certificate.names(of: certificate)
        verificationFailure =
            names.isEmpty
            ? "it names no host (subjectAltName) and \(expectedName) was expected"
            : "it is for \(Self.list(names)), not for \(expectedName)"
    }

    /// The first eight names.
    private static func list(_ names: [String]) -> String {
        names.prefix(8).joined(separator: ", ") + (names.count > 8 ? " and others" : "")
    }
}

/// The certificate authorities that this machine trusts, where OpenSSL looks for them: a file and a folder, which the environment variables
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace.
///
/// All are read at once when the first context needs them, and shared by all contexts, so that no handshake reads a file.
public final class SystemAuthorities: SharedSetting, Sendable {
    /// The state of the file and the folder when this object was made.
    private let found: [Place]
    // Safe to share: filled before it is stored here. Afterwards OpenSSL reads it under the lock that each store has.
    private nonisolated(unsafe) let store: OpaquePointer?
    /// Guards the first read.
    private let isRead = Mutex(false)

    private let find: @Sendable () -> [Place]

    /// Finds the file and the folder. Reads no certificate.
    public convenience init() {
        self.init {
            let file = Self.path(X509_get_default_cert_file_env(), X509_get_default_cert_file())
            // Several folders may be named.
            let folders = Self.path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()).split(separator: ":")
            return [Place(path: file, isFolder: false)] + folders.map { Place(path: String($0), isFolder: true) }
        }
    }

    /// The authorities of only one folder.
    convenience init(folder: String) {
        self.init { [Place(path: folder, isFolder: true)] }
    }

    private init(_ find: @escaping @Sendable () -> [Place]) {
        self.find = find
        found = find()
        store = X509_STORE_new()
    }

    deinit {
        X509_STORE_free(store)
    }

    /// Whether the file or the folder have changed since this object was made. Blocks.
    public var areOutOfDate: Bool { find() != found }

    /// Makes a context trust them. Reads them at the first call. Blocks.
    func install(in context: OpaquePointer?) throws(TLSSettingsError) {
        guard let store else { throw .openSSLFailed("there is no memory for the certificate authorities") }
        isRead.withLock { isRead in
            guard !isRead else { return }
            isRead = true
            for place in found { place.read(into: store) }
            // A file without certificates is not an error: the system has no authorities then, and each handshake fails with that reason.
            OpenSSLErrorQueue.clear()
        }
        SSL_CTX_set1_cert_store(context, store)
    }

    private static func path(_ variable: UnsafePointer<CChar>?, _ usual: UnsafePointer<CChar>?) -> String {
        if let variable, let value = getenv(variable) { return String(cString: value) }
        return usual.map { String(cString: $0) } ?? ""
    }
}

/// A file or a folder of authorities, and its state at one moment.
private struct Place: Equatable, Sendable {
    let path: String
    let isFolder: Bool
    private let inode: UInt64
    private let size: Int64
    private let changed: [Int]

    init(path: String, isFolder: Bool) {
        self.path = path
        self.isFolder = isFolder
        var status = stat()
        guard stat(path, &status) == 0 else {
            inode = 0
            size = -1
            changed = []
            return
        }
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        changed = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }

    func read(into store: OpaquePointer) {
        guard size >= 0 else { return }
        guard isFolder else {
            X509_STORE_load_file(store, path)
            return
        }
        for name in Self.certificates(in: path) { X509_STORE_load_file(store, "\(path)/\(name)") }
    }

    /// The file names that OpenSSL looks for: a hash of the subject and a number, such as `5ed36f99.0`.
    private static func certificates(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0].utf8.count == 8, parts[0].allSatisfy(\.isHexDigit), UInt(parts[1]) != nil else { continue }
            names.append(name)
        }
        return names
    }
}
