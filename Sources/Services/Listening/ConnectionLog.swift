import Glibc
import Logging
import NIOCore
import Proxy
import Synchronization
import TLS

/// What is logged about single connections of one listener: few lines, whatever peers do.
final class ConnectionLog: Sendable {
    private let logger: Logger
    private let limiter: LogLimiter

    /// - Parameters:
    ///   - logger: carries the listener's name.
    ///   - limiter: of all lines about the listener's connections.
    init(logger: Logger, limiter: LogLimiter = LogLimiter()) {
        self.logger = logger
        self.limiter = limiter
    }

    /// Writes a line about a connection, unless too many were written just now.
    func write(
        _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, peer channel: any Channel,
        _ metadata: @autoclosure () -> Logger.Metadata = [:]
    ) {
        write(level, message(), peer: peerName(of: channel), metadata())
    }

    /// Writes a line about a connection, unless too many were written just now.
    func write(
        _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, peer: @autoclosure () -> String,
        _ metadata: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard level >= logger.logLevel, let suppressed = limiter.admit() else { return }
        var metadata = metadata()
        metadata[LogKey.peer] = "\(peer())"
        if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        logger.log(level: level, message(), metadata: metadata)
    }

    /// For `errorCaught`: TLS failures are told at `info`, since a scanner can cause them; a reset is not worth more than `debug`. How
    /// handshakes fail is told by `HandshakeLog`, with the words for people at `debug`.
    func failed(_ error: any Error, peer channel: any Channel) {
        switch error {
        case let error as TLSError where error.endsHandshake:
            write(.debug, "TLS handshake failed", peer: channel, [LogKey.error: "\(error)"])
        case let error as TLSError: write(.info, "TLS failed", peer: channel, [LogKey.error: "\(error)"])
        default: write(.debug, "connection failed", peer: channel, [LogKey.error: "\(error)"])
        }
    }
}

/// Counts the ends of one listener's TLS handshakes, and logs failures at most once a minute for each reason, so that neither a scanner nor
/// a whole fleet with a wrong certificate can flood the log.
struct HandshakeLog: Sendable {
    private let metrics: ListenerMetrics
    private let logger: Logger
    private let limiters = Dictionary(
        uniqueKeysWithValues: TLSHandshakeFailure.allCases.map { ($0, LogLimiter(burst: 1, each: Self.quiet)) })

    static let quiet = TimeAmount.minutes(1)

    /// - Parameter logger: carries the listener's name.
    init(metrics: ListenerMetrics, logger: Logger) {
        self.metrics = metrics
        self.logger = logger
    }

    /// Notes the end of a handshake. Called on the connection's event loop.
    /// - Parameter failure: `nil` when it succeeded.
    func ended(_ failure: TLSHandshakeFailure?, channel: any Channel, at now: NIODeadline = .now()) {
        guard let failure else { return metrics.handshakeSucceeded() }
        metrics.handshakeFailed(reason: failure.word)
        guard let suppressed = limiters[failure]?.admit(at: now) else { return }
        var metadata: Logger.Metadata = [LogKey.reason: "\(failure.word)", LogKey.peer: "\(peerName(of: channel))"]
        if suppressed > 0 { metadata[LogKey.suppressed] = "\(suppressed)" }
        // A scanner can cause it, so it is no warning.
        logger.info("TLS handshake failed", metadata: metadata)
    }
}

/// Lets through a few log lines in each span of time, so that a hostile or broken peer cannot flood the log.
final class LogLimiter: Sendable {
    private struct State {
        var windowEnd = NIODeadline.uptimeNanoseconds(0)
        var left = 0
        var suppressed = 0
    }

    private let burst: Int
    private let window: TimeAmount
    /// Guards the current span's account.
    private let state = Mutex(State())

    init(burst: Int = 10, each window: TimeAmount = .seconds(10)) {
        self.burst = burst
        self.window = window
    }

    /// - Returns: whether to write a line now, and then how many were left out before it; `nil` to leave this one out too.
    func admit(at now: NIODeadline = .now()) -> Int? {
        state.withLock { state in
            if now >= state.windowEnd {
                state.windowEnd = now + window
                state.left = burst
            }
            guard state.left > 0 else {
                state.suppressed += 1
                return nil
            }
            state.left -= 1
            defer { state.suppressed = 0 }
            return state.suppressed
        }
    }
}

/// The other end, for the log: its address, or its process where it came through a Unix socket. Called on the channel's event loop.
func peerName(of channel: any Channel) -> String { Sender(peer: Sender.Peer(of: channel)).description }

extension Sender.Peer {
    /// The peer of a connection. Called on its event loop, or before it is registered with one.
    init(of channel: any Channel) {
        if let address = channel.remoteAddress, address.port != nil {
            self = .address(address)
        } else if let core = channel as? any NIOTransportAccessibleChannelCore<NIOBSDSocket.Handle> {
            self.init(of: core)
        } else {
            self = .unknown
        }
    }

    /// The peer of a connection. Called on its event loop, or before it is registered with one.
    init(of socket: any NIOTransportAccessibleChannelCore<NIOBSDSocket.Handle>) {
        // Throws once the channel is closed.
        self = (try? socket.withUnsafeTransport { Sender.Peer(descriptor: $0) }) ?? .unknown
    }

    /// The peer of a connected socket.
    init(descriptor: CInt) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
        }
        guard result == 0 else {
            self = .unknown
            return
        }
        self =
            switch CInt(storage.ss_family) {
            case AF_INET: .address(SocketAddress(withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in.self) }))
            case AF_INET6: .address(SocketAddress(withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in6.self) }))
            case AF_UNIX: PeerProcess(descriptor: descriptor).map { .process($0) } ?? .unknown
            default: .unknown
            }
    }
}

extension PeerProcess {
    /// `nil` for a socket that is no connected Unix socket.
    fileprivate init?(descriptor: CInt) {
        var credentials = Credentials()
        var length = socklen_t(MemoryLayout<Credentials>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        self.init(
            process: credentials.process, user: credentials.user, group: credentials.group,
            supplementaryGroups: Self.supplementaryGroups(descriptor))
    }

    /// `struct ucred` of unix(7), which the C library declares for GNU sources only.
    private struct Credentials {
        var process: pid_t = 0
        var user: uid_t = 0
        var group: gid_t = 0
    }

    private static func supplementaryGroups(_ descriptor: CInt) -> [gid_t] {
        // Most processes have few; with less room than needed, the call fails and tells the size (socket(7), SO_PEERGROUPS).
        var capacity = 32
        while true {
            var size = socklen_t(capacity * MemoryLayout<gid_t>.size)
            var failure: CInt = 0
            let groups = [gid_t](unsafeUninitializedCapacity: capacity) { buffer, count in
                failure = getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, buffer.baseAddress, &size) == 0 ? 0 : errno
                count = failure == 0 ? Int(size) / MemoryLayout<gid_t>.size : 0
            }
            guard failure == ERANGE, Int(size) > capacity * MemoryLayout<gid_t>.size else { return groups }
            capacity = Int(size) / MemoryLayout<gid_t>.size
        }
    }
}
