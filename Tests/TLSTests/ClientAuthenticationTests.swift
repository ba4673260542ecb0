import COpenSSL
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import TLS

struct ClientAuthenticationTests {
    private static let good = Contexts.make { try Contexts.ca.clientCertificate(names: ["prom.example"]) }
    private static let foreign = Contexts.make { try Contexts.otherCA.clientCertificate() }
    private static let expired = Contexts.make { try Contexts.ca.clientCertificate(validity: .expired) }

    private func server(
        _ kind: ClientAuthentication, authorities: String? = Contexts.ca.certificatePEM,
        _ change: (inout TLSServerSettings) -> Void = { _ in }
    ) throws -> TLSContext {
        try Contexts.server { settings in
            settings.clientAuthentication = kind
            settings.clientAuthorities = authorities.map { Array($0.utf8) }
            change(&settings)
        }
    }

    /// What a server reports of a client that sends its whole chain.
    private func errors(of client: ThrowawayCertificate, at server: TLSContext) throws -> [TLSError] {
        let pair = try BackToBack(
            client: Contexts.client {
                $0.certificateChain = Array(client.chainPEM.utf8)
                $0.privateKey = Array(client.privateKeyPEM.utf8)
            }, server: server)
        try pair.connect()
        return pair.server.recorder.errors
    }

    /// - Returns: why the server refused; `nil` when it accepted the client and received its bytes.
    private func connect(
        _ certificate: ThrowawayCertificate?, to server: TLSContext, version: Int32? = nil
    ) throws -> TLSHandshakeFailure? {
        let served = try ServedClient(OpenSSLClient(version: version, certificate: certificate), to: server)
        defer { served.end() }
        let outcome = try #require(served.outcomes.all.first)
        guard let outcome else {
            try served.exchange(served.client.write("hello"))
            #expect(served.server.recorder.text == "hello")
            return nil
        }
        #expect(served.outcomes.all.count == 1)
        #expect(served.server.recorder.received.readableBytes == 0)
        #expect(!served.server.channel.isActive)
        #expect(served.client.failure != nil, "the client heard no alert")
        return outcome
    }

    @Test("each type accepts the clients that Go's type accepts", arguments: [Int32(0x0303), 0x0304])
    func types(version: Int32) throws {
        let (good, foreign, expired) = (Self.good, Self.foreign, Self.expired)
        // Without a certificate, with a valid one, one of another authority, an expired one.
        let expected: [(ClientAuthentication, [TLSHandshakeFailure?])] = [
            (.none, [nil, nil, nil, nil]),
            (.request, [nil, nil, nil, nil]),
            (.requireAny, [.noCertificate, nil, nil, nil]),
            (.verifyIfGiven, [nil, nil, .certificateUntrusted, .certificateExpired]),
            (.requireAndVerify, [.noCertificate, nil, .certificateUntrusted, .certificateExpired]),
        ]
        for (kind, outcomes) in expected {
            let context = try server(kind)
            for (certificate, outcome) in zip([nil, good, foreign, expired], outcomes) {
                let got = try connect(certificate, to: context, version: version)
                #expect(got == outcome, "\(kind)")
            }
        }
    }

    @Test("the names of a client count when its certificate was verified, and then alone", arguments: [Int32(0x0303), 0x0304])
    func verifiedNames(version: Int32) throws {
        func names(_ kind: ClientAuthentication, _ certificate: ThrowawayCertificate?) throws -> [String] {
            let served = try ServedClient(OpenSSLClient(version: version, certificate: certificate), to: server(kind))
            defer { served.end() }
            #expect(served.outcomes.all == [nil])
            return served.server.tls.clientNames.compactMap(\.exactText)
        }
        #expect(try names(.requireAndVerify, Self.good) == ["prom.example"])
        #expect(try names(.verifyIfGiven, Self.good) == ["prom.example"])
        #expect(try names(.verifyIfGiven, nil) == [])
        for kind in [ClientAuthentication.request, .requireAny] { #expect(try names(kind, Self.good) == []) }
        #expect(try names(.none, Self.good) == [])
        let certificate = try Contexts.ca.clientCertificate(names: ["a.example", "192.0.2.1", "2001:db8:0::1"])
        #expect(try names(.requireAndVerify, certificate) == ["a.example", "192.0.2.1", "2001:db8::1"])
    }

    @Test(
        "certificates of thousands of extensions, each of which takes memory, are refused by every type",
        arguments: [ClientAuthentication.request, .requireAny, .verifyIfGiven, .requireAndVerify])
    func manyExtensions(kind: ClientAuthentication) throws {
        let context = try server(kind)
        #expect(try errors(of: Contexts.ca.clientCertificate(comments: 400), at: context) == [])
        #expect(
            try errors(of: Contexts.ca.clientCertificate(comments: 500), at: context)
                == [.peerNotVerified("its certificates have more than 500 names and extensions")])
        #expect(try connect(Contexts.ca.clientCertificate(comments: 500), to: context) == .certificateUntrusted)
    }

    @Test("a server's certificate is not accepted from a client")
    func purpose() throws {
        #expect(try connect(Contexts.serverCertificate, to: server(.requireAndVerify)) == .certificateUntrusted)
    }

    @Test("an intermediate may be the authority without its root, and then the root's other clients are refused")
    func intermediateAuthority() throws {
        let intermediate = try Contexts.ca.intermediate()
        let context = try server(.requireAndVerify, authorities: intermediate.certificatePEM)
        #expect(try connect(intermediate.clientCertificate(), to: context) == nil)
        #expect(try connect(Self.good, to: context) == .certificateUntrusted)
    }

    @Test("an intermediate beside its root is an authority too, also after the root has expired")
    func intermediateBesideItsRoot() throws {
        let root = try ThrowawayCA(name: "Old CA", validity: .expired)
        let intermediate = try root.intermediate()
        for authorities in [root.certificatePEM + intermediate.certificatePEM, intermediate.certificatePEM + root.certificatePEM] {
            let context = try server(.requireAndVerify, authorities: authorities)
            #expect(try connect(intermediate.clientCertificate(), to: context) == nil)
            #expect(try connect(intermediate.clientCertificate(validity: .expired), to: context) == .certificateExpired)
            #expect(try connect(root.clientCertificate(), to: context) == .certificateExpired)
            #expect(try connect(Self.good, to: context) == .certificateUntrusted)
        }
    }

    @Test("names of each kind are accepted, exactly as they are written")
    func allowedNames() throws {
        let certificate = try Contexts.ca.clientCertificate(
            names: ["a.example", "192.0.2.1", "2001:db8::1", "ops@example.org", "spiffe://example/app", "10.0.0.1.nip.example"])
        for name in ["a.example", "192.0.2.1", "2001:db8::1", "2001:DB8:0::0:1", "ops@example.org", "spiffe://example/app"] {
            let context = try server(.requireAndVerify) { $0.allowedClientNames = ["other.example", name] }
            #expect(try connect(certificate, to: context) == nil, "\(name)")
        }
        for name in ["A.example", "*.example", "example", "192.0.2.2", "Ops@example.org", "spiffe://example/ap", "spiffe://example/app/"] {
            let context = try server(.requireAndVerify) { $0.allowedClientNames = [name] }
            #expect(try connect(certificate, to: context) == .nameNotAllowed, "\(name)")
        }
    }

    @Test("the subject does not count as a name, and a certificate without names is refused")
    func commonName() throws {
        let context = try server(.requireAndVerify) { $0.allowedClientNames = ["prom"] }
        let served = try serve(OpenSSLClient(certificate: Contexts.ca.clientCertificate(commonName: "prom")), by: context)
        #expect(served.outcomes.all == [.nameNotAllowed])
        #expect(
            served.server.recorder.errors
                == [.peerNotVerified("it has no subjectAltName, and only certain names are allowed")])
    }

    @Test("a DNS name that looks like an address is not that address")
    func addressLookalike() throws {
        let lookalike = AlternativeName(configured: "192.0.2.1")
        #expect(lookalike != AlternativeName(configured: "192.0.2.01"))
        #expect(AlternativeName(configured: "::1") == AlternativeName(configured: "0:0:0:0:0:0:0:1"))
    }

    @Test("allowed names are compared without verification too")
    func allowedNamesOfAny() throws {
        let context = try server(.requireAny) { $0.allowedClientNames = ["prom.example"] }
        #expect(try connect(Self.good, to: context) == nil)
        #expect(try connect(Self.foreign, to: context) == .nameNotAllowed)
    }

    @Test("a revoked client is refused, others are accepted", arguments: [Int32(0x0303), 0x0304])
    func revocation(version: Int32) throws {
        let good = Self.good
        let revoked = try Contexts.ca.clientCertificate()
        let list = try Contexts.ca.revocationList(revoking: [revoked])
        let context = try server(.requireAndVerify) { $0.clientRevocations = Array(list.utf8) }
        #expect(try connect(good, to: context, version: version) == nil)
        #expect(try connect(revoked, to: context, version: version) == .certificateRevoked)
    }

    @Test("without a current list of its authority no client is accepted")
    func revocationUnknown() throws {
        let good = Self.good
        let old = try Contexts.ca.revocationList(validity: .expired)
        #expect(try connect(good, to: server(.requireAndVerify) { $0.clientRevocations = Array(old.utf8) }) == .revocationUnknown)
        let other = try Contexts.otherCA.revocationList()
        #expect(try connect(good, to: server(.requireAndVerify) { $0.clientRevocations = Array(other.utf8) }) == .revocationUnknown)
    }

    @Test("a trusted intermediate needs only its own list; below a root, the root's list is needed too")
    func revocationOfIntermediates() throws {
        let intermediate = try Contexts.ca.intermediate()
        let client = try intermediate.clientCertificate()
        let own = try intermediate.revocationList()
        let both = own + (try Contexts.ca.revocationList())
        let trustsIntermediate = try server(.requireAndVerify, authorities: intermediate.certificatePEM) {
            $0.clientRevocations = Array(own.utf8)
        }
        #expect(try connect(client, to: trustsIntermediate) == nil)
        let chain = intermediate.certificatePEM + Contexts.ca.certificatePEM
        let trustsBoth = try server(.requireAndVerify, authorities: chain) { $0.clientRevocations = Array(both.utf8) }
        #expect(try connect(client, to: trustsBoth) == nil)
        let ownAlone = try server(.requireAndVerify, authorities: chain) { $0.clientRevocations = Array(own.utf8) }
        #expect(try connect(client, to: ownAlone) == .revocationUnknown)
        let rootsAlone = try server(.requireAndVerify, authorities: chain) { $0.clientRevocations = Array(both.dropFirst(own.count).utf8) }
        #expect(try connect(client, to: rootsAlone) == .revocationUnknown)
        let withoutIntermediate = try Contexts.ca.revocationList(revoking: [intermediate.authority]) + own
        let trustsRoot = try server(.requireAndVerify) { $0.clientRevocations = Array(withoutIntermediate.utf8) }
        #expect(try errors(of: client, at: trustsRoot) == [.peerNotVerified("certificate revoked (CN=Throwaway Intermediate CA)")])
    }

    /// A root, its intermediate, and the ways to trust the intermediate itself: alone, and beside its root if another issuer is missing.
    private struct Trusted {
        let root: ThrowawayCA
        let intermediate: ThrowawayCA
        let authorities: [String]

        init() throws {
            root = try ThrowawayCA()
            intermediate = try root.intermediate()
            let all = root.certificatePEM + intermediate.certificatePEM
            authorities = [intermediate.certificatePEM, all + (try Contexts.otherCA.intermediate().certificatePEM)]
        }
    }

    @Test("a list of the issuer of a trusted certificate harms no client, whatever is wrong with it")
    func listOfTrustedCertificate() throws {
        let trusted = try Trusted()
        let (root, intermediate) = (trusted.root, trusted.intermediate)
        let client = try intermediate.clientCertificate()
        let revoked = try intermediate.clientCertificate()
        let own = try intermediate.revocationList(revoking: [revoked])
        let lists = try [
            root.revocationList(), root.revocationList(validity: .expired), root.revocationList(validity: .notYet),
            root.revocationList(namesKey: true), root.revocationList(validity: .expired, namesKey: true),
            root.revocationList(onlyOfUsers: true),
        ]
        for (index, list) in lists.enumerated() {
            for authorities in trusted.authorities {
                let context = try server(.requireAndVerify, authorities: authorities) { $0.clientRevocations = Array((own + list).utf8) }
                #expect(try connect(client, to: context) == nil, "list \(index)")
                #expect(try connect(revoked, to: context) == .certificateRevoked, "list \(index)")
            }
        }
        // The client's certificate is trusted itself. It may not sign lists.
        let context = try server(.requireAndVerify, authorities: client.certificatePEM) { $0.clientRevocations = Array(own.utf8) }
        #expect(try connect(client, to: context) == nil)
        // A root issued the client's certificate, and says of itself nothing.
        let users = try Contexts.ca.revocationList(onlyOfUsers: true)
        #expect(try connect(Self.good, to: server(.requireAndVerify) { $0.clientRevocations = Array(users.utf8) }) == nil)
    }

    @Test("a list that does not count harms no client, however its bytes are cut", arguments: [TLSProtocolVersion.tls12, .tls13])
    func listOfTrustedCertificateInPieces(_ version: TLSProtocolVersion) throws {
        let trusted = try Trusted()
        let client = try trusted.intermediate.clientCertificate()
        let lists = try trusted.intermediate.revocationList() + trusted.root.revocationList()
        for authorities in trusted.authorities {
            let context = try server(.requireAndVerify, authorities: authorities) {
                $0.clientRevocations = Array(lists.utf8)
                $0.maxVersion = version
            }
            let sent = try Contexts.client {
                $0.certificateChain = Array(client.chainPEM.utf8)
                $0.privateKey = Array(client.privateKeyPEM.utf8)
            }
            let pair = try BackToBack(client: sent, server: context)
            try pair.server.activate()
            try pair.client.activate()
            try pair.interact(pieceSize: 1)
            #expect(pair.server.recorder.story == [.handshake(nil)])
        }
    }

    @Test("a trusted certificate is refused if a list of its issuer names it", arguments: [false, true])
    func revokedTrustedCertificate(namesKey: Bool) throws {
        let trusted = try Trusted()
        let client = try trusted.intermediate.clientCertificate()
        let own = try trusted.intermediate.revocationList()
        let revoked = [trusted.intermediate.authority]
        let both = trusted.root.certificatePEM + trusted.intermediate.certificatePEM
        for validity in [ThrowawayCA.Validity.valid, .expired] {
            let list = try own + trusted.root.revocationList(revoking: revoked, validity: validity, namesKey: namesKey)
            for authorities in trusted.authorities {
                let context = try server(.requireAndVerify, authorities: authorities) { $0.clientRevocations = Array(list.utf8) }
                let served = try serve(OpenSSLClient(certificate: client), by: context)
                #expect(served.outcomes.all == [.certificateRevoked])
                #expect(served.server.recorder.errors == [.peerNotVerified("certificate revoked (CN=Throwaway Intermediate CA)")])
            }
        }
        let list = try own + trusted.root.revocationList(revoking: revoked, namesKey: namesKey)
        let belowRoot = try server(.requireAndVerify, authorities: both) { $0.clientRevocations = Array(list.utf8) }
        #expect(try connect(client, to: belowRoot) == .certificateRevoked)
        // Nothing tells of the list that it is of another authority, unless it names its key.
        let namesake = try own + ThrowawayCA().revocationList(revoking: revoked, namesKey: namesKey)
        let alone = try server(.requireAndVerify, authorities: trusted.authorities[0]) { $0.clientRevocations = Array(namesake.utf8) }
        #expect(try connect(client, to: alone) == (namesKey ? nil : .certificateRevoked))
        // The list of a namesake hides no other.
        let hidden = try namesake + trusted.root.revocationList(revoking: revoked, namesKey: namesKey) + ThrowawayCA().revocationList()
        let context = try server(.requireAndVerify, authorities: trusted.authorities[0]) { $0.clientRevocations = Array(hidden.utf8) }
        #expect(try connect(client, to: context) == .certificateRevoked)
    }

    @Test("below the trusted certificate a list that is wrong admits no client, and hides no other list")
    func wrongLists() throws {
        let root = try ThrowawayCA()
        let intermediate = try root.intermediate()
        let client = try intermediate.clientCertificate()
        /// Why a client is refused that sends its intermediate; `nil` when it is not.
        func refusal(_ lists: String...) throws -> TLSError? {
            let context = try server(.requireAndVerify, authorities: root.certificatePEM) {
                $0.clientRevocations = Array(lists.joined().utf8)
            }
            return try errors(of: client, at: context).first
        }
        func refused(_ reason: String, _ subject: String) -> TLSError { .peerNotVerified("\(reason) (CN=\(subject))") }
        let (user, authority) = ("throwaway client", "Throwaway Intermediate CA")
        let (own, roots) = (try intermediate.revocationList(), try root.revocationList())
        #expect(try refusal(own, roots) == nil)
        #expect(try refusal(own) == refused("unable to get certificate CRL", authority))
        #expect(try refusal(roots) == refused("unable to get certificate CRL", user))
        #expect(try refusal(own, root.revocationList(validity: .expired)) == refused("CRL has expired", authority))
        #expect(try refusal(own, root.revocationList(validity: .notYet)) == refused("CRL is not yet valid", authority))
        #expect(try refusal(own, root.revocationList(onlyOfUsers: true)) == refused("different CRL scope", authority))
        #expect(try refusal(intermediate.revocationList(validity: .expired), roots) == refused("CRL has expired", user))
        let forged = try ThrowawayCA(name: authority).revocationList()
        #expect(try refusal(forged, roots) == refused("CRL signature failure", user))
        // Of several lists OpenSSL takes one. Neither order lets the client in.
        let revoking = try intermediate.revocationList(revoking: [client])
        #expect(try refusal(revoking, forged, roots) != nil)
        #expect(try refusal(forged, revoking, roots) != nil)
        #expect(try refusal(own, root.revocationList(revoking: [intermediate.authority])) == refused("certificate revoked", authority))
        for problem in [X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_DIFFERENT_CRL_SCOPE] {
            #expect(TLSHandshakeFailure(verifyResult: Int(problem)) == .revocationUnknown)
        }
    }

    @Test("an authority's outdated list does not count beside a current one; the first end of the current lists is known")
    func revocationPeriod() throws {
        let other = try ThrowawayCA(name: "Another CA")
        func period(_ lists: String...) throws -> RevocationPeriod? {
            try server(.requireAndVerify) { $0.clientRevocations = Array(lists.joined().utf8) }.revocations
        }
        let (expired, current) = (try Contexts.ca.revocationList(validity: .expired), try Contexts.ca.revocationList())
        let both = try #require(try period(expired, current))
        #expect(try period(current)?.end == both.end)
        #expect(try connect(Self.good, to: server(.requireAndVerify) { $0.clientRevocations = Array((expired + current).utf8) }) == nil)
        let ofBoth = try #require(try period(current, other.revocationList(validity: .ends(in: 60))))
        let (end, endOfBoth) = (try #require(both.end), try #require(ofBoth.end))
        #expect(endOfBoth < end)
        let early = try #require(try period(Contexts.ca.revocationList(validity: .notYet)))
        #expect(early.begin > both.begin)
        #expect(try server(.requireAndVerify).revocations == nil)
    }

    @Test("names of authorities that fit into no handshake are left out, and clients still connect")
    func manyAuthorities() throws {
        // Each name has some 80 bytes; a list has at most 65,535 (RFC 8446 section 4.2.4).
        let authorities = try (0..<850).map { try ThrowawayCA(name: "\(1000 + $0)" + String(repeating: "a", count: 60)).certificatePEM }
        let context = try server(.requireAndVerify, authorities: authorities.joined() + Contexts.ca.certificatePEM)
        for version in [Int32(0x0303), 0x0304] { #expect(try connect(Self.good, to: context, version: version) == nil) }
    }

    @Test("a list that its authority did not sign is refused at once")
    func forgedList() throws {
        let impostor = try ThrowawayCA()
        let list = try impostor.revocationList()
        #expect(throws: TLSSettingsError.invalidRevocationList("list 1 is not signed by the authority whose name it bears")) {
            try server(.requireAndVerify) { $0.clientRevocations = Array(list.utf8) }
        }
        #expect(throws: TLSSettingsError.invalidRevocationList("it holds no PEM revocation list (X509 CRL)")) {
            try server(.requireAndVerify) { $0.clientRevocations = Array(Contexts.ca.certificatePEM.utf8) }
        }
    }

    @Test("verification needs authorities")
    func noAuthorities() throws {
        for kind in ClientAuthentication.allCases where kind.verifies {
            #expect(throws: TLSSettingsError.invalidClientAuthorities("there are none to verify clients with")) {
                try server(kind, authorities: nil)
            }
        }
        #expect(throws: TLSSettingsError.invalidClientAuthorities("it holds no PEM certificate")) {
            try server(.requireAndVerify, authorities: "hello")
        }
    }
}
