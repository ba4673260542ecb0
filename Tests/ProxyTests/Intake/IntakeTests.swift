import NIOCore
import Testing

@testable import Proxy

@Suite("Intake")
struct IntakeTests {
    private let store = MetricStore(limits: StoreLimits(maxApps: 2))
    private let intake: Intake
    private static let now = Moment(time: Timestamp(nanoseconds: 1_000), instant: Instant(nanoseconds: 7))

    init() {
        intake = Intake(store: store) { Self.now }
    }

    private func push(_ names: String...) throws -> Push {
        Push(apps: try names.map { (try #require(AppName($0)), Exposition(addingNewlineTo: ByteBuffer(string: "\($0) 1"))) })
    }

    @Test("a push is stored with the receiver, the sender and the time")
    func pushed() throws {
        let process = PeerProcess(process: 12, user: 1000, group: 1000, supplementaryGroups: [27])
        try intake.apply(try push("a"), from: Sender(peer: .process(process)), through: .push(listener: "/run/r.sock"))
        let entry = try #require(store.snapshot(at: Self.now).entries.first)
        #expect(entry.source == .push(listener: "/run/r.sock"))
        #expect(entry.sender?.peer == .process(process))
        #expect(entry.lastUpdate == Self.now)
    }

    @Test("a refused push leaves what was stored")
    func refused() throws {
        let sender = Sender(peer: .unknown)
        try intake.apply(try push("a"), from: sender, through: .push(listener: "l"))
        #expect(throws: Rejection.tooManyApps(limit: 2)) {
            try intake.apply(try push("b", "c"), from: sender, through: .push(listener: "l"))
        }
        #expect(store.snapshot(at: Self.now).entries.map(\.name.description) == ["a"])
    }

    @Test("a poll is recorded with the time, and has no sender")
    func polled() throws {
        let url = TargetURL(origin: .http(host: "127.0.0.1", port: 1027), pathAndQuery: "/metrics")
        store.register(Target(url: url, name: try #require(AppName("t"))))
        intake.record(.success(Exposition(addingNewlineTo: ByteBuffer(string: "t 1"))), for: url)
        let entry = try #require(store.snapshot(at: Self.now).entries.first)
        #expect(entry.lastUpdate == Self.now)
        #expect(entry.sender == nil)
    }

    @Test("a sender is named by its address or its process")
    func names() throws {
        let process = PeerProcess(process: 512, user: 1000, group: 100, supplementaryGroups: [])
        #expect(Sender(peer: .address(try SocketAddress(ipAddress: "127.0.0.1", port: 40112))).description == "127.0.0.1:40112")
        #expect(Sender(peer: .address(try SocketAddress(ipAddress: "::1", port: 7))).description == "[::1]:7")
        #expect(Sender(peer: .process(process)).description == "process 512 of user 1000")
        #expect(Sender(peer: .unknown).description == "unknown")
    }
}
