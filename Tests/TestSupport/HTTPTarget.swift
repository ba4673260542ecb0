public import NIOCore
import NIOPosix
import Synchronization

/// A target to poll, as well or as badly behaved as a test wants: every byte of its answers is the test's.
public final class HTTPTarget: Sendable {
    /// A request's head as it came.
    public struct Request: Sendable {
        /// `GET /path HTTP/1.1`.
        public var line: String
        /// The fields by name in lower case; of a repeated one the last.
        public var headers: [String: String]
        /// Counts the connections from 0.
        public var connection: Int

        /// The request target.
        public var path: String { String(line.split(separator: " ").dropFirst().first ?? "") }
    }

    /// What is done for a request, one step after another. Without a `.close` the connection stays open.
    public enum Step: Sendable {
        case send([UInt8])
        case wait(Duration)
        case close

        /// The text's bytes.
        public static func send(_ text: String) -> Step { .send(Array(text.utf8)) }

        /// A whole response with its length.
        public static func respond(
            _ body: String, status: String = "200 OK", type: String = "text/plain; version=0.0.4; charset=utf-8", headers: String = ""
        ) -> Step {
            .send("HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
        }

        /// A redirect with a small body.
        public static func redirect(to location: String, status: String = "302 Found") -> Step {
            .send("HTTP/1.1 \(status)\r\nLocation: \(location)\r\nContent-Length: 3\r\n\r\nbye")
        }
    }

    private struct Seen {
        var requests: [Request] = []
        var connections = 0
        var open: [ObjectIdentifier: any Channel] = [:]
    }

    private let listener: any Channel
    private let box: SeenBox

    /// The requests so far, in order.
    public var requests: [Request] { box.seen.withLock { $0.requests } }
    /// The connections accepted so far.
    public var connections: Int { box.seen.withLock { $0.connections } }
    /// The connections open now.
    public var openConnections: Int { box.seen.withLock { $0.open.count } }
    /// The port listened on.
    public var port: UInt16 { UInt16(listener.localAddress?.port ?? 0) }

    /// Listens on 127.0.0.1, or on a Unix socket.
    /// - Parameters:
    ///   - oneAtATime: whether the next connection is accepted only when the last one has ended.
    ///   - prepare: adds handlers below, such as TLS.
    ///   - answer: what to do for a request.
    public static func start(
        unixSocket: String? = nil, oneAtATime: Bool = false, prepare: @escaping @Sendable (any Channel) throws -> Void = { _ in },
        answer: @escaping @Sendable (Request) -> [Step]
    ) async throws -> HTTPTarget {
        let box = SeenBox()
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.autoRead, value: !oneAtATime)
            .serverChannelOption(.maxMessagesPerRead, value: UInt(oneAtATime ? 1 : 4))
            .childChannelInitializer { channel in
                if oneAtATime, let listener = channel.parent { channel.closeFuture.whenComplete { _ in listener.read() } }
                return channel.eventLoop.makeCompletedFuture {
                    try prepare(channel)
                    try channel.pipeline.syncOperations.addHandler(Handler(seen: box, answer: answer))
                }
            }
        let listener =
            if let unixSocket {
                try await bootstrap.bind(unixDomainSocketPath: unixSocket).get()
            } else {
                try await bootstrap.bind(host: "127.0.0.1", port: 0).get()
            }
        if oneAtATime { listener.read() }
        return HTTPTarget(listener: listener, box: box)
    }

    /// Runs `body` with a target that is stopped afterwards.
    public static func with(
        unixSocket: String? = nil, oneAtATime: Bool = false, prepare: @escaping @Sendable (any Channel) throws -> Void = { _ in },
        answer: @escaping @Sendable (Request) -> [Step], _ body: (HTTPTarget) async throws -> Void
    ) async throws {
        let target = try await start(unixSocket: unixSocket, oneAtATime: oneAtATime, prepare: prepare, answer: answer)
        do {
            try await body(target)
            await target.stop()
        } catch {
            await target.stop()
            throw error
        }
    }

    /// Closes the connections that are open, as a server does that tires of idle ones.
    public func closeConnections() async {
        for channel in box.seen.withLock({ Array($0.open.values) }) { try? await channel.close() }
    }

    /// Stops listening and closes all connections.
    public func stop() async {
        try? await listener.close()
        await closeConnections()
    }

    private init(listener: any Channel, box: SeenBox) {
        self.listener = listener
        self.box = box
    }

    /// What the connections' handlers share with the target.
    private final class SeenBox: Sendable {
        let seen = Mutex(Seen())
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let box: SeenBox
        private let answer: @Sendable (Request) -> [Step]
        private var received = ""
        private var connection = 0

        init(seen: SeenBox, answer: @escaping @Sendable (Request) -> [Step]) {
            self.box = seen
            self.answer = answer
        }

        func channelActive(context: ChannelHandlerContext) {
            let channel = context.channel
            connection = box.seen.withLock { seen in
                seen.open[ObjectIdentifier(channel)] = channel
                seen.connections += 1
                return seen.connections - 1
            }
            context.fireChannelActive()
        }

        func channelInactive(context: ChannelHandlerContext) {
            _ = box.seen.withLock { $0.open.removeValue(forKey: ObjectIdentifier(context.channel)) }
            context.fireChannelInactive()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += String(buffer: unwrapInboundIn(data))
            while let end = received.firstRange(of: "\r\n\r\n") {
                let lines = received[..<end.lowerBound].split(separator: "\r\n")
                received = String(received[end.upperBound...])
                var request = Request(line: String(lines.first ?? ""), headers: [:], connection: connection)
                for line in lines.dropFirst() {
                    let parts = line.split(separator: ":", maxSplits: 1)
                    request.headers[parts[0].lowercased()] = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
                }
                box.seen.withLock { $0.requests.append(request) }
                perform(answer(request)[...], context: context)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }

        private func perform(_ steps: ArraySlice<Step>, context: ChannelHandlerContext) {
            guard let step = steps.first, context.channel.isActive else { return }
            switch step {
            case .send(let bytes):
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
                perform(steps.dropFirst(), context: context)
            case .wait(let time):
                context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(time)) { [self] in
                    perform(steps.dropFirst(), context: context)
                }
            case .close:
                context.close(promise: nil)
            }
        }
    }
}
