import NIOCore
import NIOEmbedded
import TLS

/// A client and a server. The fuzzer changes, repeats, drops, swaps and inserts records between them, from the first byte on or after the
/// handshake. Only data that was sent arrives, and only an end that was sent.
enum TLSRecordsFuzzer {
    /// One direction of the connection. The fuzzer changes its bytes.
    private final class Way {
        let from: TLSEnd
        let to: TLSEnd
        /// Bytes that were sent and have not arrived.
        var bytes: [UInt8] = []

        init(from: TLSEnd, to: TLSEnd) {
            self.from = from
            self.to = to
        }

        func collect() { bytes += from.takeOutbound() }

        func deliver(_ count: Int = .max) {
            let piece = bytes.prefix(count)
            bytes.removeFirst(piece.count)
            if !piece.isEmpty { to.receive(piece) }
        }

        /// The length of the first record, its header included, or of all there is.
        var firstRecord: Int {
            guard bytes.count >= 5 else { return bytes.count }
            return min(5 + Int(bytes[3]) << 8 + Int(bytes[4]), bytes.count)
        }

        func check() {
            let received = to.application.received
            precondition(received.count <= from.sent.count && from.sent.starts(with: received), "bytes arrived that were not sent")
            guard to.application.hasEnded else { return }
            precondition(from.isClosed || from.application.error == .truncated, "an end that was not sent")
            precondition(received.count == from.sent.count, "the end came before all bytes")
        }
    }

    static func run(_ input: UnsafeRawBufferPointer) {
        var script = input.makeIterator()
        guard let settings = script.next() else { return }
        let loop = EmbeddedEventLoop()
        let context = TLSContexts.servers[Int(settings >> 1) % TLSContexts.servers.count]
        var failures: [TLSHandshakeFailure?] = []
        let server = TLSEnd(TLSHandler(server: context, onHandshake: { failure, _ in failures.append(failure) }), loop)
        let client = TLSEnd(TLSHandler(client: TLSContexts.client, hostname: "localhost"), loop)
        let ways = [Way(from: client, to: server), Way(from: server, to: client)]
        if settings & 1 == 0 {
            talk(ways)
            precondition(client.application.isConnected && server.application.isConnected)
        }
        while let step = script.next() {
            ways.forEach { $0.collect() }
            act(Int(step >> 1), on: ways[Int(step & 1)]) { script.next().map(Int.init) ?? 0 }
            ways.forEach { $0.check() }
        }
        talk(ways)
        ways.forEach { $0.check() }
        client.end()
        server.end()
        ways.forEach { $0.check() }
        // The side that closes during the handshake gets no event.
        precondition(failures.count == 1 || (failures.isEmpty && server.isClosed))
    }

    private static func talk(_ ways: [Way]) {
        repeat {
            for way in ways {
                way.collect()
                way.deliver()
            }
            ways.forEach { $0.collect() }
        } while ways.contains { !$0.bytes.isEmpty && $0.to.channel.isActive }
    }

    private static func act(_ action: Int, on way: Way, next: () -> Int) {
        switch action % 13 {
        case 0: way.from.write(next() * 100)
        case 1: way.deliver()
        case 2: way.deliver(next())
        case 3: way.deliver(way.firstRecord)
        case 4:
            guard !way.bytes.isEmpty else { return }
            way.bytes[(next() << 8 + next()) % way.bytes.count] ^= UInt8(1 << (next() % 8))
        case 5:
            let position = min(next(), way.bytes.count)
            way.bytes.insert(contentsOf: (0..<(next() % 64)).map { _ in UInt8(next()) }, at: position)
        case 6: way.bytes.insert(contentsOf: way.bytes.prefix(way.firstRecord), at: 0)
        case 7: way.bytes.removeFirst(way.firstRecord)
        case 8:
            let first = way.bytes.prefix(way.firstRecord)
            way.bytes.removeFirst(first.count)
            way.bytes.insert(contentsOf: first, at: way.firstRecord)
        case 9: way.from.close(.output)
        case 10: way.from.close(.all)
        case 11: way.to.receiveFIN()
        default: way.to.channel.embeddedEventLoop.advanceTime(by: .milliseconds(Int64(next()) * 20))
        }
    }
}
