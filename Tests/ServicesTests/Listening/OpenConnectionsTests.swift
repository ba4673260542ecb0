import NIOCore
import NIOEmbedded
import Testing

@testable import Services

@Suite("OpenConnections")
struct OpenConnectionsTests {
    private let connections = OpenConnections()
    private let channel = EmbeddedChannel()

    /// The pipeline of the connection is made.
    /// - Returns: why it must end at once; `nil` when it need not.
    private func setUp() -> ConnectionDrainEvent? {
        connections.setUp(channel) { { _ in } }.drain
    }

    @Test("a connection that was read from before a change of access ends, however late it gets its pipeline", arguments: [true, false])
    func changeAfterFirstRead(changes: Bool) {
        connections.begin(channel) {}
        connections.keep({ _ in }, for: channel)
        if changes { _ = connections.changeAccess {} }
        connections.insert(channel)
        #expect(setUp() == (changes ? .accessChanged : nil))
    }

    @Test("room is made while the listener closes, and not while it goes on, or its socket does")
    func makeRoom() {
        connections.makeRoom()
        connections.insert(channel)
        #expect(setUp() == nil)
        for (event, expected) in [(ConnectionDrainEvent.listenerCloses, ConnectionDrainEvent.othersWait), (.socketGoesOn, .socketGoesOn)] {
            _ = connections.drainForGood(event, on: channel.eventLoop)
            connections.makeRoom()
            #expect(setUp() == expected)
        }
        connections.remove(channel)
    }

    @Test("a connection that was only accepted before a change of access has the new settings")
    func changeAfterAccept() {
        connections.insert(channel)
        _ = connections.changeAccess {}
        #expect(setUp() == nil)
    }
}
