import NIOCore
import Testing

@testable import Proxy

@Suite("Owners")
struct OwnersTests {
    private struct Unknown: Error, CustomStringConvertible {
        let description: String
    }

    private static let ids: [String: UInt32] = ["backup": 34, "adm": 4]

    private static func owners(_ rules: OwnerRule...) throws -> Owners {
        func look(_ name: String) throws(Unknown) -> UInt32 {
            guard let id = ids[name] else { throw Unknown(description: "unknown \(name)") }
            return id
        }
        return try Owners(rules, user: look, group: look)
    }

    private static func rule(_ apps: String..., change: (inout OwnerRule) -> Void = { _ in }) -> OwnerRule {
        var rule = OwnerRule(apps: apps.map(AppPattern.init))
        change(&rule)
        return rule
    }

    private static func process(user: UInt32 = 1000, group: UInt32 = 1000, _ supplementary: UInt32...) -> Sender {
        Sender(peer: .process(PeerProcess(process: 1, user: user, group: group, supplementaryGroups: supplementary)))
    }

    private static let stranger = Sender(peer: .unknown)

    private func rejection(_ app: String, _ sender: Sender, _ owners: Owners) throws -> Rejection? {
        owners.rejection(of: try #require(AppName(app)), from: sender)
    }

    @Test("the first rule that names an app decides; an app that none names is anyone's")
    func first() throws {
        let owners = try Self.owners(
            Self.rule("backup", "b*") { $0.users = [.name("backup")] }, Self.rule("*p") { $0.users = [.id(7)] }, Self.rule("closed"))
        #expect(try rejection("backup", Self.process(user: 34), owners) == nil)
        #expect(try rejection("backup", Self.process(user: 7), owners) == .notOwner(app: "backup", owners: "user backup"))
        #expect(try rejection("lamp", Self.process(user: 7), owners) == nil)
        #expect(try rejection("lamp", Self.process(user: 0), owners) == .notOwner(app: "lamp", owners: "user 7"))
        #expect(try rejection("closed", Self.process(user: 34), owners) == .notOwner(app: "closed", owners: "no peer"))
        #expect(try rejection("other", Self.stranger, owners) == nil)
        #expect(try rejection("closed", Self.stranger, Owners.none) == nil)
    }

    @Test("any of a rule's owners may push, each by its own proof")
    func proofs() throws {
        let owners = try Self.owners(
            Self.rule("*") {
                $0.users = [.id(7)]
                $0.groups = [.name("adm")]
                $0.clientSANs = [.text("backup.example")]
                $0.basicAuthUsers = ["alice"]
            })
        for sender in [
            Self.process(user: 7), Self.process(group: 4), Self.process(user: 5, group: 5, 1, 4),
            Sender(peer: .unknown, certificateNames: [.text("x"), .text("backup.example")]), Sender(peer: .unknown, user: "alice"),
        ] { #expect(try rejection("a", sender, owners) == nil) }
        let words = "user 7, group adm, client certificate backup.example or basic auth user alice"
        // A number of a user is none of a group, a name of a certificate none of a user, and root is no exception.
        for sender in [
            Self.stranger, Self.process(user: 4, group: 7, 7), Self.process(user: 0, group: 0, 0),
            Sender(peer: .unknown, certificateNames: [.text("alice")]), Sender(peer: .unknown, user: "backup.example"),
        ] { #expect(try rejection("a", sender, owners) == .notOwner(app: "a", owners: words)) }
    }

    @Test("an address in client_sans counts in any of its forms, and no DNS name that looks like it does")
    func addresses() throws {
        let text = """
            [receiver]
            [[receiver.owners]]
            apps = ["*"]
            client_sans = ["2001:DB8:0:0::1", "10.0.0.5", "A.example"]
            """
        let decoded = try ConfigDecoder(file: "config.toml", folder: "/").decode(FileReading(bytes: Array(text.utf8)))
        let owners = try Self.owners(try #require(decoded.config.receiver.owners.first))
        func mayPush(_ name: CertificateName) throws -> Bool {
            try rejection("a", Sender(peer: .unknown, certificateNames: [name]), owners) == nil
        }
        for name in [CertificateName.address("2001:db8::1"), .address("10.0.0.5"), .text("A.example")] {
            #expect(try mayPush(name), "\(name)")
        }
        for name in [CertificateName.text("2001:db8::1"), .text("2001:DB8:0:0::1"), .text("10.0.0.5"), .text("a.example")] {
            #expect(try !mayPush(name), "\(name)")
        }
    }

    @Test("every account that the system does not know is told by its place")
    func unknown() throws {
        let rules = [Self.rule("a") { $0.users = [.name("x")] }, Self.rule("b") { $0.groups = [.id(1), .name("nobody-knows")] }]
        let error = #expect(throws: Owners.UnknownAccounts.self) {
            try Owners(
                rules, user: { (_) throws(Unknown) in throw Unknown(description: "unknown user") },
                group: { (_) throws(Unknown) in throw Unknown(description: "unknown group") })
        }
        #expect(error?.accounts.map(\.rule) == [0, 1])
        #expect(error?.accounts.map(\.isGroup) == [false, true])
        #expect(error?.accounts.map(\.index) == [0, 1])
        #expect(error?.accounts.map(\.reason) == ["unknown user", "unknown group"])
    }

    @Test("a push that names one app of another peer is refused whole; new rules hold at once")
    func intake() throws {
        let store = MetricStore()
        let intake = Intake(store: store) { Moment(time: Timestamp(nanoseconds: 1), instant: Instant(nanoseconds: 1)) }
        let push = Push(
            apps: try ["mine", "theirs"].map { (try #require(AppName($0)), Exposition(addingNewlineTo: ByteBuffer(string: "\($0) 1"))) })
        let sender = Self.process(user: 5)
        intake.setOwners(try Self.owners(Self.rule("theirs") { $0.users = [.id(6)] }))
        let theirs = try #require(AppName("theirs"))
        let rejection = Rejection.notOwner(app: "theirs", owners: "user 6")
        #expect(throws: rejection) { try intake.apply(push, from: sender, through: .push(listener: "l")) }
        #expect(throws: rejection) { try intake.checkOwner(of: theirs, sender) }
        #expect(store.app(named: theirs) == nil)
        #expect(rejection.line.hasPrefix("app theirs belongs to user 6"))
        intake.setOwners(.none)
        try intake.apply(push, from: sender, through: .push(listener: "l"))
        try intake.checkOwner(of: theirs, sender)
        #expect(store.app(named: theirs) != nil)
    }
}
