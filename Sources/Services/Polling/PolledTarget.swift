import Proxy

/// A target with all that polling it needs. Everything that can fail has succeeded when there is one.
struct PolledTarget: Sendable {
    let target: Target
    let request: PollRequest
    /// For `https`, and for redirects to it; `nil` refuses both.
    let tls: TargetTLS?

    /// - Parameter version: of exporter-proxy.
    init(target: Target, tls: TargetTLS?, version: String) throws(PollRequest.InvalidRequest) {
        self.target = target
        self.request = try PollRequest(target: target, version: version)
        self.tls = tls
    }

    /// What a connection to the target's own origin depends on. Targets of one origin share a connection only when this is equal.
    struct ConnectionTerms: Equatable {
        fileprivate let context: ObjectIdentifier?
        fileprivate let serverName: String?
        fileprivate let proxy: HTTPProxy?
    }

    /// What a connection to the target's own origin depends on.
    var connectionTerms: ConnectionTerms {
        let isHTTPS = target.url.origin.isHTTPS
        return ConnectionTerms(
            context: isHTTPS ? tls.map { ObjectIdentifier($0.own) } : nil, serverName: isHTTPS ? tls?.serverName : nil,
            proxy: target.proxyURL)
    }
}
