import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import TLS

/// Several authorities of one name: an old one beside its successor, and one that was renewed.
struct NamesakesTests {
    private static let versions: [Int32] = [0x0303, 0x0304]

    private func server(
        _ authorities: [ThrowawayCA], _ change: (inout TLSServerSettings) -> Void = { _ in }
    ) throws -> TLSContext {
        try Contexts.server {
            $0.clientAuthentication = .requireAndVerify
            $0.clientAuthorities = Array(authorities.map(\.certificatePEM).joined().utf8)
            change(&$0)
        }
    }

    /// Why a server refuses the client; `nil` when it does not.
    private func refusal(
        of client: ThrowawayCertificate, by server: TLSContext, version: Int32? = nil
    ) throws -> TLSHandshakeFailure? {
        let outcomes = try serve(OpenSSLClient(version: version, certificate: client), by: server).outcomes.all
        #expect(outcomes.count == 1)
        return try #require(outcomes.first)
    }

    @Test("clients of each of two authorities of one name are admitted, in any order of the file", arguments: versions)
    func twoKeys(version: Int32) throws {
        let (old, new, foreign) = (try ThrowawayCA(), try ThrowawayCA(), try ThrowawayCA())
        for authorities in [[old, new], [new, old]] {
            let context = try server(authorities)
            for authority in authorities {
                for identifier in [nil, "keyid:always", "keyid,issuer:always"] {
                    let client = try authority.clientCertificate(issuerIdentifier: identifier)
                    #expect(try refusal(of: client, by: context, version: version) == nil)
                }
                let intermediate = try authority.intermediate()
                let trusting = try server(authorities + [intermediate])
                #expect(try refusal(of: intermediate.clientCertificate(), by: trusting, version: version) == nil)
                let ended = try authority.clientCertificate(validity: .expired)
                #expect(try refusal(of: ended, by: context, version: version) == .certificateExpired)
                let ofServer = try authority.serverCertificate()
                #expect(try refusal(of: ofServer, by: context, version: version) == .certificateUntrusted)
            }
            // One that has the name and is not in the file.
            for identifier in [nil, "keyid:always", "keyid,issuer:always"] {
                let client = try foreign.clientCertificate(issuerIdentifier: identifier)
                #expect(try refusal(of: client, by: context, version: version) == .certificateUntrusted)
            }
            let intermediate = try foreign.intermediate()
            #expect(try refusal(of: intermediate.clientCertificate(), by: context, version: version) == .certificateUntrusted)
        }
    }

    @Test("an authority that is twice in the file is no other authority of its name")
    func twice() throws {
        let (one, other) = (try ThrowawayCA(), try ThrowawayCA())
        let alone = try server([one, one, one])
        #expect(alone.authorities.count == 1 && alone.authorities.values.allSatisfy { !$0 })
        let both = try server([one, other, one])
        #expect(both.authorities.count == 2 && both.authorities.values.allSatisfy(\.self))
        for authority in [one, other] { #expect(try refusal(of: authority.clientCertificate(), by: both) == nil) }
    }

    @Test("clients of an authority that has expired are refused, also beside its successor", arguments: versions)
    func expiredNamesake(version: Int32) throws {
        let (old, new) = (try ThrowawayCA(validity: .expired), try ThrowawayCA())
        for authorities in [[old, new], [new, old]] {
            let context = try server(authorities)
            #expect(try refusal(of: old.clientCertificate(), by: context, version: version) == .certificateExpired)
            #expect(try refusal(of: new.clientCertificate(), by: context, version: version) == nil)
        }
    }

    @Test("certificates with the serial number of an authority that was renewed with its key are accepted", arguments: versions)
    func renewed(version: Int32) throws {
        let old = try ThrowawayCA()
        let new = try old.renewed()
        for identifier in ["keyid,issuer:always", "issuer:always"] {
            let client = try old.clientCertificate(issuerIdentifier: identifier)
            for authorities in [[new], [old, new], [new, old]] {
                #expect(try refusal(of: client, by: server(authorities), version: version) == nil)
            }
            // The same name, and another key.
            #expect(try refusal(of: client, by: server([ThrowawayCA()]), version: version) == .certificateUntrusted)
            let foreign = try ThrowawayCA().clientCertificate(issuerIdentifier: identifier)
            #expect(try refusal(of: foreign, by: server([new]), version: version) == .certificateUntrusted)
            // The same key, and another name.
            #expect(try refusal(of: client, by: server([old.renewed(name: "Another CA")]), version: version) == .certificateUntrusted)
        }
    }

    @Test("targets with certificates of either authority are accepted")
    func targets() throws {
        func error(_ certificate: ThrowawayCertificate, trusting authorities: [ThrowawayCA]) throws -> TLSError? {
            let client = try Contexts.client {
                $0.trustRoots = .certificates(Array(authorities.map(\.certificatePEM).joined().utf8))
            }
            let pair = try BackToBack(client: client, server: Contexts.server(certificate))
            try pair.connect()
            return pair.client.recorder.errors.first
        }
        let (old, new) = (try ThrowawayCA(), try ThrowawayCA())
        for authorities in [[old, new], [new, old]] {
            for authority in authorities { #expect(try error(authority.serverCertificate(), trusting: authorities) == nil) }
            #expect(try error(ThrowawayCA().serverCertificate(), trusting: authorities) != nil)
        }
        let certificate = try old.serverCertificate(issuerIdentifier: "keyid,issuer:always")
        #expect(try error(certificate, trusting: [old.renewed()]) == nil)
        #expect(try error(certificate, trusting: [new]) != nil)
    }

    /// OpenSSL asks for the first authority twice, and takes the last one without a signature, as it does by itself.
    @Test("only so many signatures are verified to find an issuer", arguments: [0, 1])
    func limit(excess: Int) throws {
        let authorities = try (0..<TLSConnection.maxIssuerChecks + excess).map { _ in try ThrowawayCA() }
        let context = try server(authorities)
        let refusals = try authorities.compactMap { try refusal(of: $0.clientCertificate(), by: context) }
        #expect(refusals == Array(repeating: .certificateUntrusted, count: excess))
    }

    // MARK: Revocation lists

    @Test("of two authorities of one name, the list that ends first counts for the warning, and the one that begins last")
    func period() throws {
        let (old, new) = (try ThrowawayCA(), try ThrowawayCA())
        func period(_ lists: String...) throws -> RevocationPeriod {
            try #require(try server([old, new]) { $0.clientRevocations = Array(lists.joined().utf8) }.revocations)
        }
        for namesKey in [false, true] {
            let (ended, current) = (
                try old.revocationList(validity: .expired, namesKey: namesKey), try new.revocationList(namesKey: namesKey)
            )
            #expect(try period(ended, current).end == period(ended).end)
            #expect(try period(current, ended).end == period(ended).end)
            #expect(try period(ended, current, old.revocationList(namesKey: namesKey)).end != period(ended).end)
            let early = try old.revocationList(validity: .notYet, namesKey: namesKey)
            #expect(try period(current, early).begin == period(early).begin)
        }
    }

    @Test("of an authority that is not in the file, the list with its key's identifier counts, or else the one that ends first")
    func unknownKeys() throws {
        let root = try ThrowawayCA()
        let (old, new) = (try root.intermediate(), try root.intermediate())
        let brief = ThrowawayCA.Validity.ends(in: 600)
        func ends(namesKey: Bool) throws -> [Int64] {
            let pem = try old.revocationList(validity: brief, namesKey: namesKey) + new.revocationList(namesKey: namesKey)
            let period = try #require(RevocationPeriod(PEM.revocationLists(in: Array(pem.utf8)), of: []))
            return try [old, new].map { authority in
                let certificates = try PEM.certificates(in: Array(authority.authority.certificatePEM.utf8))
                return withExtendedLifetime(certificates) { period.end(of: certificates[0].pointer) }
            }
        }
        let named = try ends(namesKey: true)
        #expect(named[0] < named[1])
        let unnamed = try ends(namesKey: false)
        #expect(unnamed[0] == unnamed[1])
        #expect(unnamed[0] < named[1])
    }

    /// A clock that the test moves.
    private final class Clock: Sendable {
        private let seconds = Atomic<Int64>(0)
        var now: Int64 { seconds.load(ordering: .relaxed) }
        func advance(by time: Int64) { seconds.add(time, ordering: .relaxed) }
    }

    @Test("no session outlives the list of its authority, whatever list a namesake has", arguments: versions)
    func sessions(version: Int32) throws {
        let (old, new) = (try ThrowawayCA(), try ThrowawayCA())
        let lists = try old.revocationList(validity: .ends(in: 600), namesKey: true) + new.revocationList(namesKey: true)
        for (authority, outlives) in [(old, false), (new, true)] {
            let clock = Clock()
            let base = SessionTickets().now()
            let context = try server([old, new]) {
                $0.clientRevocations = Array(lists.utf8)
                $0.tickets = SessionTickets(uptime: { clock.now }, now: { base + clock.now })
            }
            let certificate = try authority.clientCertificate(issuerIdentifier: "keyid:always")
            let first = try OpenSSLClient(version: version, certificate: certificate)
            #expect(try serve(first, by: context).outcomes.all == [nil])
            let session = try #require(first.session())
            #expect(session.isResumable)
            clock.advance(by: 900)
            let second = try OpenSSLClient(version: version, certificate: certificate, resuming: session)
            #expect(try serve(second, by: context).outcomes.all == [nil])
            #expect(second.isResumed == outlives)
        }
    }
}
