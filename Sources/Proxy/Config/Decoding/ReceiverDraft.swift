/// The table `[receiver]`.
struct ReceiverDraft: Sendable {
    var config = ReceiverConfig()
    var receivesOnUnixSocket = false
    var unixSocket = UnixSocketConfig()
    var receivesOnTCPSocket = false
    var tcpSocket = ListenAddress(host: "127.0.0.1", port: 6554)
    var tls: TLSMode?
    var tlsServer: TLSServerDraft?

    /// The longest path that fits into `sockaddr_un`, with its end mark; unix(7).
    static let maxSocketPathLength = 107

    func config(with reader: inout ConfigReader) -> ReceiverConfig {
        var config = self.config
        if receivesOnUnixSocket {
            let length = unixSocket.path.utf8.count
            if length > ReceiverDraft.maxSocketPathLength {
                let key = "receiver.receiver_unix_socket"
                reader.refuse(
                    key,
                    "\(key) is \(length) bytes long with its folder; the path of a Unix socket has at most \(ReceiverDraft.maxSocketPathLength)"
                )
            }
            config.unixSocket = unixSocket
        }
        if receivesOnTCPSocket { config.tcpSocket = tcpSocket }
        config.tls = TLSServerDraft.listenerTLS(tls, tlsServer, of: "receiver", isUsed: receivesOnTCPSocket, with: &reader)
        return config
    }
}
