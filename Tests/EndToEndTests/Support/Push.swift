import TestSupport

/// How nc leaves.
enum NetcatEnd: String {
    /// Closes its side at the end of the input, and waits for the proxy to close too: then all is applied.
    case waiting = "-N"
    /// Leaves at once, as in the clients' README.
    case leaving = "-q0"
}

/// Pushes bytes with nc over the Unix socket; returns what the proxy answered.
func pushOverUnixSocket(_ bytes: [UInt8], to proxy: ProxyProcess, _ end: NetcatEnd = .waiting) async throws -> String {
    guard let socket = proxy.unixSocket else { throw CurlFailed(description: "the proxy has no Unix socket") }
    return try await run(Tools.netcat, [end.rawValue, "-U", socket], input: bytes).output
}

/// Pushes bytes with nc over TCP; returns what the proxy answered.
func pushOverTCP(_ bytes: [UInt8], to proxy: ProxyProcess, _ end: NetcatEnd = .waiting) async throws -> String {
    try await run(Tools.netcat, [end.rawValue, "-s", "127.0.0.1", "127.0.0.1", proxy.tcpPort], input: bytes).output
}

/// Pushes text with nc over the Unix socket; returns what the proxy answered.
func pushOverUnixSocket(_ text: String, to proxy: ProxyProcess) async throws -> String {
    try await pushOverUnixSocket(Array(text.utf8), to: proxy)
}
