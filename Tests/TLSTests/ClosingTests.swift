import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import TLS

/// close_notify in both directions, in one, and in none.
struct ClosingTests {
    private static let versions = [TLSProtocolVersion.tls12, .tls13]

    private func pair(_ version: TLSProtocolVersion, halfOpen: Bool = true) throws -> BackToBack {
        let pair = try BackToBack(server: Contexts.server { $0.maxVersion = version }, halfOpen: halfOpen)
        try pair.connect()
        return pair
    }

    @Test("close_notify follows the last byte, and is the end of what was sent", arguments: versions, [true, false])
    func closeNotify(_ version: TLSProtocolVersion, byClient: Bool) throws {
        let pair = try pair(version)
        let (from, to) = byClient ? (pair.client, pair.server) : (pair.server, pair.client)
        _ = from.write("last words")
        from.channel.close(promise: nil)
        try pair.interact()
        #expect(!from.channel.isActive)
        #expect(to.recorder.story == [.handshake(nil), .bytes("last words"), .inputClosed])
        // Half closed: the other side may still answer.
        #expect(to.channel.isActive)
        // After the end of TLS, the end of TCP is not reported.
        to.receiveFIN()
        #expect(to.recorder.story == [.handshake(nil), .bytes("last words"), .inputClosed])
        to.channel.close(promise: nil)
        #expect(to.recorder.story.suffix(2) == [.shutdownCompleted, .inactive])
    }

    @Test("one direction ends, the other goes on, then both have ended", arguments: versions)
    func oneDirection(_ version: TLSProtocolVersion) throws {
        let pair = try pair(version)
        _ = pair.client.write("question")
        pair.client.channel.close(mode: .output, promise: nil)
        try pair.interact()
        #expect(pair.server.recorder.story == [.handshake(nil), .bytes("question"), .inputClosed])
        #expect(pair.client.bottom.closes == [.output])
        #expect(throws: ChannelError.outputClosed) { try pair.client.write("more").wait() }
        _ = pair.server.write("answer")
        try pair.interact()
        #expect(pair.client.recorder.text == "answer")
        pair.server.channel.close(promise: nil)
        try pair.interact()
        #expect(pair.client.recorder.story == [.handshake(nil), .bytes("answer"), .inputClosed, .shutdownCompleted, .inactive])
        #expect(pair.server.recorder.story.suffix(2) == [.shutdownCompleted, .inactive])
        #expect(pair.client.recorder.errors.isEmpty && pair.server.recorder.errors.isEmpty)
    }

    @Test("without half-closed connections, the peer's end closes the connection", arguments: versions)
    func notHalfOpen(_ version: TLSProtocolVersion) throws {
        let pair = try pair(version, halfOpen: false)
        pair.client.channel.close(mode: .output, promise: nil)
        try pair.interact()
        #expect(pair.server.recorder.story == [.handshake(nil), .inputClosed, .shutdownCompleted, .inactive])
        #expect(pair.client.recorder.story == [.handshake(nil), .inputClosed, .shutdownCompleted, .inactive])
    }

    @Test("an end without close_notify is a truncation, never an end of input", arguments: versions, [true, false])
    func truncation(_ version: TLSProtocolVersion, byFIN: Bool) throws {
        let pair = try pair(version)
        _ = pair.client.write("half a mess")
        try pair.interact()
        if byFIN { pair.server.receiveFIN() } else { pair.server.loseTransport() }
        pair.loop.run()
        let expected: [Seen] = [.handshake(nil), .bytes("half a mess"), .error(.truncated), .inactive]
        #expect(Array(pair.server.recorder.story.prefix(4)) == expected)
        #expect(!pair.server.recorder.seen.contains(.inputClosed))
    }

    @Test("a cut record is a truncation too, and nothing of it is delivered", arguments: versions)
    func cutRecord(_ version: TLSProtocolVersion) throws {
        let pair = try pair(version)
        _ = pair.client.write("never whole")
        let record = try #require(try pair.client.takeOutbound())
        pair.server.receive(try #require(record.getSlice(at: record.readerIndex, length: record.readableBytes - 1)))
        pair.server.receiveFIN()
        pair.loop.run()
        #expect(pair.server.recorder.story == [.handshake(nil), .error(.truncated), .inactive])
    }

    @Test("bytes after close_notify are not read", arguments: versions)
    func afterCloseNotify(_ version: TLSProtocolVersion) throws {
        let pair = try pair(version)
        pair.client.channel.close(promise: nil)
        var bytes = try #require(try pair.client.takeOutbound())
        bytes.writeRepeatingByte(0x17, count: 100)
        pair.server.receive(bytes)
        #expect(pair.server.recorder.story == [.handshake(nil), .inputClosed])
    }

    @Test("a peer that takes nothing does not delay a close for ever")
    func closeTimeout() throws {
        let pair = try BackToBack(
            client: TLSHandler(client: Contexts.client, hostname: "localhost"),
            server: TLSHandler(server: Contexts.server, closeTimeout: .seconds(3)))
        try pair.connect()
        pair.server.channel.isWritable = false
        let written = pair.server.write("stuck")
        pair.server.channel.close(promise: nil)
        pair.loop.advanceTime(by: .milliseconds(2999))
        #expect(pair.server.channel.isActive)
        pair.loop.advanceTime(by: .milliseconds(1))
        #expect(!pair.server.channel.isActive)
        #expect(throws: (any Error).self) { try written.wait() }
    }
}
