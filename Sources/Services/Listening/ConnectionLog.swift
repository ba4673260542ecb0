import Logging
import NIOCore
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
