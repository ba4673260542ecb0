import COpenSSL
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import TLS

struct VerificationTests {
    /// The client's only error, or `nil` when it is connected.
    private func connect(
        _ certificate: ThrowawayCertificate, to hostname: String, trusting ca: ThrowawayCA = Contexts.ca
    ) throws -> TLSError? {
        let pair = try BackToBack(
            client: TLSContext(client: Contexts.clientSettings(trusting: ca)), hostname: hostname, server: Contexts.server(certificate))
        try pair.connect()
        guard let error = pair.client.recorder.errors.first else {
            #expect(pair.client.recorder.story == [.handshake(nil)])
            return nil
        }
        #expect(pair.client.recorder.story == [.error(error), .inactive])
        // The server receives an alert, and never a completed handshake that the client does not know of.
        if case .alertReceived = pair.server.recorder.errors.first {} else { Issue.record("the server heard \(pair.server.recorder.seen)") }
        return error
    }

    @Test(
        "names that the certificate is for",
        arguments: [
            ("exporter.example", "exporter.example"), ("exporter.example", "exporter.example."), ("exporter.example", "EXPORTER.example"),
            ("*.example.org", "a.example.org"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::1", "[::1]"), ("fe80::1", "fe80::1%eth0"),
        ])
    func rightName(_ name: String, _ hostname: String) throws {
        #expect(try connect(Contexts.ca.serverCertificate(names: [name]), to: hostname) == nil)
    }

    @Test(
        "names that it is not for",
        arguments: [
            ("exporter.example", "other.example"), ("*.example.org", "a.b.example.org"), ("*.example.org", "example.org"),
            ("ex*.example.org", "exporter.example.org"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "localhost"), ("localhost", "127.0.0.1"),
        ])
    func wrongName(_ name: String, _ hostname: String) throws {
        let error = try connect(Contexts.ca.serverCertificate(names: [name]), to: hostname)
        #expect(error == .peerNotVerified("it is for \(name), not for \(hostname)"))
    }

    @Test("the common name does not count")
    func commonName() throws {
        let error = try connect(Contexts.ca.serverCertificate(names: [], commonName: "localhost"), to: "localhost")
        #expect(error == .peerNotVerified("it names no host (subjectAltName) and localhost was expected"))
    }

    @Test("a name that nothing can be checked for is refused before anything is sent", arguments: ["", ".", "a\u{0}b", ".localhost"])
    func unusableName(_ hostname: String) throws {
        let pair = try BackToBack(hostname: hostname)
        try pair.client.activate()
        #expect(try pair.client.takeOutbound()?.readableBytes ?? 0 == 0)
        guard case .peerNotVerified = pair.client.recorder.errors.first else {
            Issue.record("saw \(pair.client.recorder.seen)")
            return
        }
    }

    @Test("another authority is not trusted")
    func otherAuthority() throws {
        let error = try connect(Contexts.serverCertificate, to: "localhost", trusting: Contexts.otherCA)
        #expect(error == .peerNotVerified("unable to get local issuer certificate (CN=throwaway server)"))
    }

    @Test("expired and not yet valid certificates have errors of their own")
    func time() throws {
        let expired = try connect(Contexts.ca.serverCertificate(validity: .expired), to: "localhost")
        #expect(expired == .peerNotVerified("certificate has expired (CN=throwaway server)"))
        let early = try connect(Contexts.ca.serverCertificate(validity: .notYet), to: "localhost")
        #expect(early == .peerNotVerified("certificate is not yet valid (CN=throwaway server)"))
    }

    @Test("a client's certificate is not accepted from a server")
    func purpose() throws {
        let error = try connect(Contexts.ca.clientCertificate(names: ["localhost"]), to: "localhost")
        guard case .peerNotVerified = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("an intermediate in the server's file completes the chain, without it the chain is broken")
    func intermediate() throws {
        let certificate = try Contexts.ca.intermediate().serverCertificate()
        #expect(try connect(certificate, to: "localhost") == nil)
        var settings = Contexts.serverSettings(certificate)
        settings.certificateChain = Array(certificate.certificatePEM.utf8)
        let pair = try BackToBack(server: TLSContext(server: settings))
        try pair.connect()
        #expect(pair.client.recorder.errors.count == 1)
    }

    @Test("an intermediate can be trusted by itself, as in Prometheus")
    func trustedIntermediate() throws {
        let intermediate = try Contexts.ca.intermediate()
        #expect(try connect(intermediate.serverCertificate(), to: "localhost", trusting: intermediate) == nil)
    }

    @Test("an intermediate is trusted beside its root too, as in Prometheus, also after the root has expired")
    func trustedIntermediateBesideItsRoot() throws {
        let root = try ThrowawayCA(name: "Old CA", validity: .expired)
        let intermediate = try root.intermediate()
        func connect(_ certificate: ThrowawayCertificate) throws -> [TLSError] {
            let pair = try BackToBack(
                client: Contexts.client { $0.trustRoots = .certificates(Array((root.certificatePEM + intermediate.certificatePEM).utf8)) },
                server: Contexts.server(certificate))
            try pair.connect()
            return pair.client.recorder.errors
        }
        #expect(try connect(intermediate.serverCertificate()) == [])
        #expect(try connect(root.serverCertificate()) == [.peerNotVerified("certificate has expired (CN=Old CA)")])
        let expired = try connect(intermediate.serverCertificate(validity: .expired))
        #expect(expired == [.peerNotVerified("certificate has expired (CN=throwaway server)")])
    }

    @Test("without verification each certificate is accepted")
    func unverified() throws {
        let pair = try BackToBack(
            client: Contexts.client { $0.verifiesPeer = false }, hostname: "",
            server: Contexts.server(Contexts.otherCA.serverCertificate(names: ["other.example"], validity: .expired)))
        try pair.connect()
        #expect(pair.client.recorder.story == [.handshake(nil)])
    }

    @Test("the system's authorities do not include the tests' authority")
    func systemRoots() throws {
        let pair = try BackToBack(client: Contexts.client { $0.trustRoots = .system(SystemAuthorities()) })
        try pair.connect()
        guard case .peerNotVerified = pair.client.recorder.errors.first else {
            Issue.record("saw \(pair.client.recorder.seen)")
            return
        }
    }

    @Test("no handshake reads a file: the system's authorities are read when the context is made")
    func systemRootsAreReadBefore() async throws {
        try await withTemporaryFolder { folder in
            // The name that OpenSSL looks for: a hash of the subject.
            let name = try #require(Self.hashedName(of: Contexts.ca.certificatePEM))
            try folder.write("roots/\(name)", Contexts.ca.certificatePEM)
            let authorities = SystemAuthorities(folder: folder.path("roots"))
            #expect(!authorities.areOutOfDate)
            let context = try Contexts.client { $0.trustRoots = .system(authorities) }
            try FileManager.default.removeItem(atPath: folder.path("roots"))
            let pair = try BackToBack(client: context)
            try pair.connect()
            #expect(pair.client.recorder.story == [.handshake(nil)])
            #expect(authorities.areOutOfDate)
            // Made now, there are none.
            let late = try BackToBack(client: Contexts.client { $0.trustRoots = .system(SystemAuthorities(folder: folder.path("roots"))) })
            try late.connect()
            #expect(late.client.recorder.errors.count == 1)
        }
    }

    private static func hashedName(of pem: String) -> String? {
        guard let certificate = try? PEM.certificates(in: Array(pem.utf8)).first else { return nil }
        let hash = String(X509_NAME_hash_ex(X509_get_subject_name(certificate.pointer), nil, nil, nil), radix: 16)
        return String(repeating: "0", count: 8 - hash.count) + hash + ".0"
    }

    @Test("addresses are never sent as server name")
    func serverNameIndication() {
        #expect(HostnameVerification("exporter.example.").serverNameIndication == "exporter.example")
        #expect(HostnameVerification("127.0.0.1").serverNameIndication == nil)
        #expect(HostnameVerification("[::1]") == .ipAddress("::1"))
        #expect(HostnameVerification("fe80::1%eth0") == .ipAddress("fe80::1"))
        let longest = String(repeating: "a", count: 253)
        #expect(HostnameVerification(longest) == .dnsName(longest))
        #expect(HostnameVerification(longest + "a") == .unusable)
    }
}
