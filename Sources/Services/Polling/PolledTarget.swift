import Proxy

/// A target with all that polling it needs, made before anything changes: what can fail has not failed.
struct PolledTarget: Sendable {
    let target: Target
    let request: PollRequest
    /// For `https`, and for redirects to it; `nil` refuses both.
    let tls: TargetTLS?

    /// - Parameters:
    ///   - files: the contents of the files that `target` names, by path.
    ///   - version: of exporter-proxy.
    init(target: Target, files: [String: [UInt8]] = [:], tls: TargetTLS?, version: String) throws(PollRequest.InvalidRequest) {
        self.target = target
        self.request = try PollRequest(target: target, files: files, version: version)
        self.tls = tls
    }
}
