import Glibc
import NIOCore

/// Waits until the peer has acknowledged our end of a TCP connection, or has reset the connection. Used on one event loop.
///
/// A peer that closes its socket before it has read all bytes resets the connection. Whether it has read all is therefore certain only once
/// our end is acknowledged. The socket is kept until then, also after its channel has closed.
final class EndAcknowledgement {
    /// Between two looks at the socket, which tells of no such change by itself.
    private static let pause = TimeAmount.milliseconds(5)

    private let descriptor: CInt
    private let eventLoop: any EventLoop
    /// `nil` once it has been called, and after `stop`.
    private var ended: ((_ isAcknowledged: Bool) -> Void)?

    /// - Returns: `nil` for a channel that is closed.
    init?(of channel: any Channel) {
        let copy = SocketOfChannel(channel)?.withDescriptor { fcntl($0, F_DUPFD_CLOEXEC, 0) }
        guard let copy, copy >= 0 else { return nil }
        descriptor = copy
        eventLoop = channel.eventLoop
    }

    deinit {
        close(descriptor)
    }

    /// Begins to wait.
    /// - Parameter ended: called once, perhaps at once, with `false` after a reset.
    func wait(_ ended: @escaping (_ isAcknowledged: Bool) -> Void) {
        self.ended = ended
        look()
    }

    /// The channel is closed. That alone ends no connection whose socket is kept.
    func channelClosed() {
        shutdown(descriptor, CInt(SHUT_WR))
    }

    /// Waits no longer.
    func stop() {
        ended = nil
    }

    private func look() {
        guard let ended else { return }
        // The error first: a reset sets it before the state.
        let error = option(SOL_SOCKET, SO_ERROR, CInt(0))
        let state = option(CInt(IPPROTO_TCP), TCP_INFO, TCPState())
        guard error == 0, state.awaitsAcknowledgement else {
            self.ended = nil
            // The connection may have been reset since the error was read.
            return ended(error == 0 && option(SOL_SOCKET, SO_ERROR, CInt(0)) == 0)
        }
        _ = eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in look() }
    }

    /// - Returns: `value` if the socket has no such option.
    private func option<Value: BitwiseCopyable>(_ level: CInt, _ name: CInt, _ value: Value) -> Value {
        var value = value
        var length = socklen_t(MemoryLayout<Value>.size)
        getsockopt(descriptor, level, name, &value, &length)
        return value
    }
}

/// The first byte of `struct tcp_info` (tcp(7)). The kernel copies only as many bytes as fit.
struct TCPState: Sendable, BitwiseCopyable {
    /// As numbered in the kernel (include/net/tcp_states.h).
    private static let established: UInt8 = 1
    private static let finWait1: UInt8 = 4
    private static let closeWait: UInt8 = 8
    private static let lastAck: UInt8 = 9
    private static let closing: UInt8 = 11

    var state: UInt8 = 0

    /// Whether the peer had not received our end when it sent its own.
    var isOursUnacknowledged: Bool { [Self.closeWait, Self.lastAck, Self.closing].contains(state) }

    /// Whether our end is not acknowledged, or not sent.
    var awaitsAcknowledgement: Bool { isOursUnacknowledged || state == Self.established || state == Self.finWait1 }
}
