import Logging
import NIOCore
import NIOEmbedded
import Proxy
import TLS

@testable import Services

/// Any stream gives the same pushes and the same refusal, however it is cut, and never much more than the limit is held.
enum PushFuzzer {
    private static let limit = 600

    private struct Answer: Equatable {
        var apps: [[String: String]] = []
        var rejection: Rejection?
    }

    static func run(_ input: UnsafeRawBufferPointer, format: PushFormat) {
        guard let stream = CutStream(input) else { return }
        let whole = answer(to: stream.whole, format)
        let cut = answer(to: stream.pieces, format)
        precondition(whole == cut, "whole: \(whole)\ncut: \(cut)")
        for text in whole.apps.flatMap({ $0.values.map(\.utf8) }) {
            precondition(text.isEmpty || text.last == UInt8(ascii: "\n") && !text.contains(0))
        }
    }

    private static func answer(to pieces: [ByteBuffer], _ format: PushFormat) -> Answer {
        var decoder = format.makeDecoder(maxMessageSize: ByteCount(limit))
        var answer = Answer()
        do throws(Rejection) {
            for piece in pieces {
                decoder.feed(piece)
                while let push = try decoder.nextPush() {
                    let apps = push.apps.map { ($0.name.description, String(buffer: $0.exposition.buffer)) }
                    answer.apps.append(Dictionary(apps) { _, last in last })
                }
                // Read buffers have room for 512 bytes, and others grow by doubling.
                precondition(decoder.heldBytes <= 2 * limit + 1024, "\(decoder.heldBytes) bytes are held")
            }
            try decoder.finish()
        } catch {
            answer.rejection = error
            precondition(!error.line.contains { $0.isNewline })
        }
        return answer
    }
}

/// A connection of a receiver, with reads, pauses, drains and ends in any order: the store holds what a decoder makes of the bytes that
/// came before the end, a refusal is one line, and nothing stays counted.
///
/// Each step is a byte: its lowest three bits tell what happens, the others how much.
enum PushConnectionFuzzer {
    private static let maxMessageSize = ByteCount(600)
    private static let inflight = ByteCount(8 << 10)

    static func run(_ input: UnsafeRawBufferPointer) {
        guard input.count > 2 else { return }
        let format: PushFormat = input[0] & 1 == 0 ? .json : .capnp
        let steps = input[2...].prefix(Int(input[1]) % 32)
        var bytes = ByteBuffer(bytes: input[(2 + steps.count)...])
        let receiver = Receiver(format)
        defer { receiver.end() }
        for step in steps {
            let amount = Int(step >> 3)
            switch step & 7 {
            case 0: receiver.pass(.seconds(Int64(amount)))
            case 1: receiver.endInput()
            case 2 where amount % 3 == 2: receiver.cut()
            case 2: receiver.drain(amount % 3 == 0 ? .listenerCloses : .accessChanged)
            default:
                guard let piece = bytes.readSlice(length: min(bytes.readableBytes, 1 + amount * Int(step & 7))), piece.readableBytes > 0
                else {
                    continue
                }
                receiver.read(piece)
            }
        }
    }

    private final class Receiver {
        private let store = MetricStore(limits: StoreLimits(maxApps: 5, maxTotalSize: ByteCount(300)))
        private let expected = MetricStore(limits: StoreLimits(maxApps: 5, maxTotalSize: ByteCount(300)))
        private let metrics = SelfMetrics(version: "1", start: SystemClock.time()) { nil }
        private let channel = EmbeddedChannel()
        private var decoder: any PushDecoder
        /// What the connection has answered.
        private var answer = ""
        private var inputEnded = false
        private var isRefused = false
        /// Whether the next message is the last one that is taken.
        private var nextIsLast = false

        init(_ format: PushFormat) {
            metrics.held[.pushing].limit = inflight
            decoder = format.makeDecoder(maxMessageSize: maxMessageSize)
            let settings = ReceiverSettings(
                transport: .off, format: format, maxMessageSize: maxMessageSize,
                times: PushStateMachine.Times(idle: .seconds(10), message: .seconds(25)), handshakeTimeout: .seconds(10))
            let destination = PushStream.Destination(
                intake: Intake(store: store, clock: SystemClock.now), source: .push(listener: "l"),
                metrics: metrics.addListener("l", .receiver))
            let shared = PushHandler.Shared(
                settings: SettingsInForce(settings),
                decoding: PushDecoding(
                    turns: EventLoopTurns.OfGroup(channel.embeddedEventLoop), largeMessages: LargeMessages(budget: metrics.held[.pushing])),
                inflight: metrics.held[.pushing],
                log: ConnectionLog(logger: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }))
            let handler = PushHandler(PushStream(destination, settings), shared)
            try? channel.pipeline.syncOperations.addHandler(handler)
            if let address = try? SocketAddress(unixDomainSocketPath: "/") { channel.connect(to: address, promise: nil) }
        }

        func read(_ piece: ByteBuffer) {
            // After its answer the connection takes nothing more, and after its end the peer sends nothing.
            guard channel.isActive, answer.isEmpty, !inputEnded else { return }
            decoder.feed(piece)
            _ = try? channel.writeInbound(piece)
            // Turns that were over, if any.
            pass(.milliseconds(1))
        }

        func pass(_ time: TimeAmount) {
            channel.embeddedEventLoop.advanceTime(by: time)
            takeAnswer()
        }

        func endInput() {
            guard channel.isActive, !inputEnded else { return }
            inputEnded = true
            channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            takeAnswer()
        }

        func drain(_ event: ConnectionDrainEvent) {
            if case .accessChanged = event { nextIsLast = true }
            channel.pipeline.fireUserInboundEventTriggered(event)
            takeAnswer()
        }

        /// The time of a drain is over.
        func cut() {
            guard channel.isActive else { return }
            channel.pipeline.fireUserInboundEventTriggered(ConnectionCutEvent())
            channel.abort()
            takeAnswer()
        }

        func end() {
            _ = try? channel.finish(acceptAlreadyClosed: true)
            takeAnswer()
            precondition(metrics.held[.pushing].used == 0, "\(metrics.held[.pushing].used) bytes stay counted")
            precondition(answer.isEmpty || answer.hasSuffix("\n"), answer)
            precondition(answer.isEmpty || answer.hasPrefix("error: ") || answer.hasPrefix("HTTP/1.1 400 "), answer)
            precondition(contents(of: store) == contents(of: expected))
        }

        private func takeAnswer() {
            while let piece = try? channel.readOutbound(as: ByteBuffer.self) { answer += String(buffer: piece) }
            let source = Source.push(listener: "l")
            do {
                while !isRefused, let push = try decoder.nextPush() {
                    try expected.apply(push, from: source, at: SystemClock.now())
                    isRefused = nextIsLast
                }
            } catch {
                // Nothing that follows a refused message is read.
                isRefused = true
            }
        }

        private func contents(of store: MetricStore) -> [String: String] {
            let entries = store.snapshot(at: SystemClock.now()).entries
            return Dictionary(entries.map { ($0.name.description, String(buffer: $0.exposition.buffer)) }) { $1 }
        }
    }
}

extension PushDecoder {
    /// The next push, decoded here however large it is.
    fileprivate mutating func nextPush() throws(Rejection) -> Push? {
        switch try next() {
        case .push(let push): push
        case .undecoded(let message): try message.decode(maxApps: .max)
        case nil: nil
        }
    }
}
