import Glibc
import NIOCore

/// How much of a response its reader has taken, sampled now and then: equal samples mean that nothing moved.
struct WriteProgress: Equatable {
    /// Pieces handed to the channel.
    var pieces: Int
    /// Bytes that the channel has not been able to hand to the kernel.
    var buffered: Int
    /// Bytes that the peer has acknowledged. The kernel's buffer is large and asks for more only when a third of it is free:
    /// without this a slow reader would look like one that takes nothing.
    var acknowledged: UInt64

    /// Called on the channel's event loop.
    init(of channel: any Channel, pieces: Int) {
        self.pieces = pieces
        buffered = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        var acknowledged: UInt64 = 0
        (channel as? any SocketOptionProvider)?
            .unsafeGetSocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_INFO))
            .assumeIsolated()
            // On the channel's own event loop the answer is there at once.
            .whenSuccess { (info: TCPInfo) in acknowledged = info.bytesAcknowledged }
        self.acknowledged = acknowledged
    }
}

/// The beginning of `struct tcp_info` (linux/tcp.h); Glibc's own is older and ends before `tcpi_bytes_acked`.
private struct TCPInfo: Sendable {
    /// 8 one-byte fields, 24 of four bytes, and the two pacing rates.
    private var before: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    private var more: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
    var bytesAcknowledged: UInt64 = 0
}
