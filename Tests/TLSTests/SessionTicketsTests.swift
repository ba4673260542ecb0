import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import TLS

struct SessionTicketsTests {
    /// A clock that the test moves.
    private final class Clock: Sendable {
        private let seconds = Atomic<Int64>(1_000_000)
        var now: Int64 { seconds.load(ordering: .relaxed) }
        func advance(by time: Int64) { seconds.add(time, ordering: .relaxed) }
    }

    private static let certificate = Contexts.make { try Contexts.ca.clientCertificate(names: ["prom.example"]) }
    private static let wallClock: Int64 = { TLSServerSettings.testNow() }()

    private func tickets(_ clock: Clock = Clock()) -> SessionTickets {
        let base = Self.wallClock
        return SessionTickets(uptime: { clock.now }, now: { base + clock.now - 1_000_000 })
    }

    private func server(_ tickets: SessionTickets, _ change: (inout TLSServerSettings) -> Void = { _ in }) throws -> TLSContext {
        try Contexts.server { settings in
            settings.tickets = tickets
            change(&settings)
        }
    }

    /// Connects and returns the session, which must be resumable.
    private func session(
        _ server: TLSContext, version: Int32, certificate: ThrowawayCertificate? = nil, resuming: OpenSSLClient.Session? = nil
    ) throws -> OpenSSLClient.Session {
        let client = try OpenSSLClient(version: version, certificate: certificate, resuming: resuming)
        _ = try serve(client, by: server)
        #expect(client.isConnected)
        let session = try #require(client.session())
        #expect(session.isResumable)
        return session
    }

    /// Whether the session was resumed. The handshake must succeed in any case.
    private func resumes(
        _ session: OpenSSLClient.Session, _ server: TLSContext, version: Int32, certificate: ThrowawayCertificate? = nil
    ) throws -> Bool {
        let client = try OpenSSLClient(version: version, certificate: certificate, resuming: session)
        let served = try serve(client, by: server)
        #expect(served.outcomes.all == [nil])
        #expect(served.isResumed == client.isResumed)
        return client.isResumed
    }

    private static let versions: [Int32] = [0x0303, 0x0304]

    @Test("a session is resumed, also by another context with the same keys", arguments: versions)
    func resumption(version: Int32) throws {
        let tickets = tickets()
        let session = try session(server(tickets), version: version)
        #expect(try resumes(session, server(tickets), version: version))
    }

    @Test("sessions are resumed after the certificate has changed", arguments: versions)
    func rotationOfCertificate(version: Int32) throws {
        let tickets = tickets()
        let session = try session(server(tickets), version: version)
        let renewed = try Contexts.ca.serverCertificate()
        let context = try server(tickets) {
            $0.certificateChain = Array(renewed.chainPEM.utf8)
            $0.privateKey = Array(renewed.privateKeyPEM.utf8)
        }
        #expect(try resumes(session, context, version: version))
    }

    @Test("with other keys there is a whole handshake", arguments: versions)
    func otherKeys(version: Int32) throws {
        let session = try session(server(tickets()), version: version)
        #expect(try !resumes(session, server(tickets()), version: version))
    }

    @Test("a client with a certificate resumes", arguments: versions)
    func withClientCertificate(version: Int32) throws {
        let tickets = tickets()
        let context = try server(tickets) { $0.verify() }
        let session = try session(context, version: version, certificate: Self.certificate)
        #expect(try resumes(session, server(tickets) { $0.verify() }, version: version, certificate: Self.certificate))
    }

    @Test("a client whose ticket would fit into no ClientHello gets none, and always makes a full handshake", arguments: versions)
    func largeClientCertificate(version: Int32) throws {
        for (names, isResumed) in [(300, true), (700, false)] {
            let certificate = try Contexts.ca.clientCertificate(names: (1000..<1000 + names).map { "host\($0).clients.example" })
            let context = try server(tickets()) { $0.verify() }
            let client = try OpenSSLClient(version: version, certificate: certificate)
            _ = try serve(client, by: context)
            #expect(client.isConnected)
            let session = try #require(client.session())
            #expect(session.isResumable == isResumed)
            #expect(try resumes(session, context, version: version, certificate: certificate) == isResumed)
        }
    }

    @Test("after a change of any rule no session of the old rules is resumed", arguments: versions)
    func rules(version: Int32) throws {
        let certificate = Self.certificate
        let empty = try Contexts.ca.revocationList()
        let changes: [(String, (inout TLSServerSettings) -> Void)] = [
            ("type", { $0.clientAuthentication = .verifyIfGiven }),
            ("authority", { $0.clientAuthorities = Array((Contexts.ca.certificatePEM + Contexts.otherCA.certificatePEM).utf8) }),
            ("revocations", { $0.clientRevocations = Array(empty.utf8) }),
            ("names", { $0.allowedClientNames = ["prom.example"] }),
            ("suites", { $0.cipherSuites = ["ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384"] }),
            ("curves", { $0.curves = ["CurveP256"] }),
            ("scope", { $0.sessionScope = "receiver" }),
        ]
        for (name, change) in changes {
            let tickets = tickets()
            let session = try session(server(tickets) { $0.verify() }, version: version, certificate: certificate)
            let changed = try server(tickets) {
                $0.verify()
                change(&$0)
            }
            #expect(try !resumes(session, changed, version: version, certificate: certificate), "\(name)")
        }
    }

    @Test("a session from before certificates were required is not resumed", arguments: versions)
    func tightening(version: Int32) throws {
        let tickets = tickets()
        let session = try session(server(tickets), version: version)
        let client = try OpenSSLClient(version: version, resuming: session)
        #expect(try serve(client, by: server(tickets) { $0.verify() }).outcomes.all == [.noCertificate])
    }

    @Test("a revoked client cannot resume its session", arguments: versions)
    func revocation(version: Int32) throws {
        let certificate = Self.certificate
        let tickets = tickets()
        let session = try session(server(tickets) { $0.verify() }, version: version, certificate: certificate)
        let list = try Contexts.ca.revocationList(revoking: [certificate])
        let context = try server(tickets) {
            $0.verify()
            $0.clientRevocations = Array(list.utf8)
        }
        let client = try OpenSSLClient(version: version, certificate: certificate, resuming: session)
        #expect(try serve(client, by: context).outcomes.all == [.certificateRevoked])
    }

    @Test("no session outlives the client's certificate", arguments: versions)
    func endOfCertificate(version: Int32) throws {
        let clock = Clock()
        let tickets = tickets(clock)
        let context = try server(tickets) { $0.verify() }
        let brief = try Contexts.ca.clientCertificate(validity: .ends(in: 600))
        let session = try session(context, version: version, certificate: brief)
        #expect(try resumes(session, context, version: version, certificate: brief))
        clock.advance(by: 599)
        #expect(try resumes(session, context, version: version, certificate: brief))
        // Some time after the end: the certificate was made later than the clock.
        clock.advance(by: 120)
        // By the real clock the certificate is still valid, so the whole handshake succeeds.
        #expect(try !resumes(session, context, version: version, certificate: brief))
    }

    @Test("no session outlives the revocation list", arguments: versions)
    func endOfList(version: Int32) throws {
        let clock = Clock()
        let list = try Contexts.ca.revocationList(validity: .ends(in: 600))
        let context = try server(tickets(clock)) {
            $0.verify()
            $0.clientRevocations = Array(list.utf8)
        }
        let session = try session(context, version: version, certificate: Self.certificate)
        #expect(try resumes(session, context, version: version, certificate: Self.certificate))
        clock.advance(by: 900)
        #expect(try !resumes(session, context, version: version, certificate: Self.certificate))
    }

    @Test("only lists that the client needs end its session: those of the authorities below the trusted certificate", arguments: versions)
    func endOfOtherLists(version: Int32) throws {
        let intermediate = try Contexts.ca.intermediate()
        let client = try intermediate.clientCertificate()
        let brief = ThrowawayCA.Validity.ends(in: 600)
        let (own, roots) = (try intermediate.revocationList(), try Contexts.ca.revocationList())
        let (briefOwn, briefRoots) = (try intermediate.revocationList(validity: brief), try Contexts.ca.revocationList(validity: brief))
        let (other, ended) = (try Contexts.otherCA.revocationList(validity: brief), try Contexts.otherCA.revocationList(validity: .expired))
        let chain = intermediate.certificatePEM + Contexts.ca.certificatePEM
        /// Whether a session is resumed when the brief lists have ended.
        func resumes(_ authorities: String, _ lists: String, _ certificate: ThrowawayCertificate?) throws -> Bool {
            let clock = Clock()
            let context = try server(tickets(clock)) {
                $0.clientAuthentication = .verifyIfGiven
                $0.clientAuthorities = Array(authorities.utf8)
                $0.clientRevocations = Array(lists.utf8)
            }
            let session = try session(context, version: version, certificate: certificate)
            clock.advance(by: 900)
            return try self.resumes(session, context, version: version, certificate: certificate)
        }
        #expect(try resumes(chain, own + roots + other, client))
        #expect(try resumes(chain, own + roots + ended, client))
        #expect(try !resumes(chain, briefOwn + roots, client))
        #expect(try !resumes(chain, own + briefRoots, client))
        #expect(try resumes(intermediate.certificatePEM, own + briefRoots, client))
        #expect(try !resumes(intermediate.certificatePEM, briefOwn + roots, client))
        #expect(try resumes(client.certificatePEM, briefOwn, client))
        // Without a certificate nothing can be revoked.
        #expect(try resumes(chain, briefOwn + briefRoots, nil))
    }

    @Test("no session outlives the trusted certificate; the issuer of that one does not count", arguments: versions)
    func endOfAuthority(version: Int32) throws {
        let root = try ThrowawayCA(validity: .ends(in: 600))
        let intermediate = try root.intermediate()
        for (certificate, outlives) in [(try intermediate.clientCertificate(), true), (try root.clientCertificate(), false)] {
            let clock = Clock()
            let context = try server(tickets(clock)) {
                $0.verify()
                $0.clientAuthorities = Array((root.certificatePEM + intermediate.certificatePEM).utf8)
            }
            let session = try session(context, version: version, certificate: certificate)
            // Some time after the end: the certificate was made later than the clock.
            clock.advance(by: 720)
            #expect(try resumes(session, context, version: version, certificate: certificate) == outlives)
        }
    }

    @Test("a client can resume from ticket to ticket for a day", arguments: versions)
    func chain(version: Int32) throws {
        let clock = Clock()
        let context = try server(tickets(clock))
        var last = try session(context, version: version)
        var hours = 0
        while hours < 30 {
            clock.advance(by: 3600)
            hours += 1
            let client = try OpenSSLClient(version: version, resuming: last)
            _ = try serve(client, by: context)
            guard client.isResumed else { break }
            last = try #require(client.session())
        }
        #expect(hours == 24)
    }

    @Test("a key makes tickets for an hour and opens them for two more", arguments: versions)
    func rotationOfKeys(version: Int32) throws {
        let clock = Clock()
        let context = try server(tickets(clock))
        let first = try session(context, version: version)
        clock.advance(by: SessionTickets.rotation - 1)
        let second = try session(context, version: version)
        clock.advance(by: SessionTickets.lifetime)
        #expect(try resumes(first, context, version: version))
        #expect(try resumes(second, context, version: version))
        clock.advance(by: 1)
        #expect(try !resumes(second, context, version: version))
    }

    @Test("an old ticket is replaced by one of the new key", arguments: versions)
    func renewal(version: Int32) throws {
        let clock = Clock()
        let context = try server(tickets(clock))
        let first = try session(context, version: version)
        clock.advance(by: SessionTickets.rotation + 1)
        let renewed = try session(context, version: version, resuming: first)
        clock.advance(by: SessionTickets.lifetime)
        #expect(try resumes(renewed, context, version: version))
        #expect(try !resumes(first, context, version: version))
    }

    @Test("each use of TLS 1.3 brings a fresh ticket")
    func freshTickets() throws {
        let context = try server(tickets())
        var last = try session(context, version: 0x0304)
        for _ in 0..<3 {
            let client = try OpenSSLClient(version: 0x0304, resuming: last)
            _ = try serve(client, by: context)
            #expect(client.isResumed)
            last = try #require(client.session())
            #expect(last.isResumable)
        }
    }
}

extension TLSServerSettings {
    fileprivate mutating func verify() {
        clientAuthentication = .requireAndVerify
        clientAuthorities = Array(Contexts.ca.certificatePEM.utf8)
    }

    fileprivate static func testNow() -> Int64 { SessionTickets().now() }
}
