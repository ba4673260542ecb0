import HTTP
public import NIOCore

/// The request to a target: its bytes are made once and sent at each poll.
public struct PollRequest: Sendable {
    /// Only the text format, because OpenMetrics and protobuf cannot be joined to it. The wildcard is for servers that otherwise answer
    /// 406.
    static let accept = "text/plain;version=0.0.4;q=1,*/*;q=0.1"

    /// The target itself.
    public let url: TargetURL
    /// The request for `url`, with everything that the target's own origin may receive.
    public let bytes: ByteBuffer

    /// The fields for any server.
    private let commonFields: String
    /// Configured fields and `Authorization`, only for the target's own origin. Any configured field may contain a token.
    private let privateFields: String
    /// The fields for the HTTP proxy (`Proxy-Authorization`); `nil` without one.
    private let proxyFields: String?

    /// - Parameters:
    ///   - target: with the contents of the files that it names.
    ///   - version: of exporter-proxy, for `User-Agent`.
    ///   - instance: this proxy.
    /// - Throws: what is wrong with a header, a password or a token; never shows its value.
    public init(
        target: Target, version: String, instance: String = ProgramInstance.id
    ) throws(InvalidRequest) {
        guard target.url.isFitForRequest else { throw InvalidRequest("the URL of target \(target.name) has spaces or control characters") }
        var common = "User-Agent: exporter-proxy/\(version)\r\nAccept: \(PollRequest.accept)\r\nAccept-Encoding: gzip\r\n"
        common += "X-Prometheus-Scrape-Timeout-Seconds: \(target.timeout.decimalSeconds)\r\n"
        common += "X-Exporter-Proxy-Instance: \(instance)\r\n"
        if !target.keepAlive { common += "Connection: close\r\n" }
        self.commonFields = common
        self.privateFields = try PollRequest.privateFields(of: target)
        self.proxyFields = try target.proxyURL.map { proxy throws(InvalidRequest) in try PollRequest.fields(for: proxy, of: target.name) }
        self.url = target.url
        self.bytes = PollRequest.bytes(for: target.url, fields: common + privateFields, proxyFields)
    }

    /// The request to send on a hop.
    public func bytes(for hop: RedirectPolicy.Hop) -> ByteBuffer {
        if hop.isTrusted, hop.url == url { return bytes }
        return PollRequest.bytes(for: hop.url, fields: hop.isTrusted ? commonFields + privateFields : commonFields, proxyFields)
    }

    /// The request to the HTTP proxy before TLS begins, for an `https` origin (RFC 9110 §9.3.6).
    public func tunnelRequest(to origin: TargetURL.Origin) -> ByteBuffer {
        let authority = TargetURL(origin: origin, pathAndQuery: "/").endpoint
        return ByteBuffer(string: "CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\(proxyFields ?? "")\r\n")
    }

    /// - Parameter proxyFields: the fields for an HTTP proxy that gets this request; through a tunnel the origin gets it.
    private static func bytes(for url: TargetURL, fields: String, _ proxyFields: String?) -> ByteBuffer {
        var (target, fields) = (url.pathAndQuery, fields)
        if case .http = url.origin, let proxyFields {
            // RFC 9112 §3.2.2.
            target = "http://\(url.hostField)\(target)"
            fields += proxyFields
        }
        // RFC 9112 §3: the Host field comes first.
        return ByteBuffer(string: "GET \(target) HTTP/1.1\r\nHost: \(url.hostField)\r\n\(fields)\r\n")
    }

    private static func fields(for proxy: HTTPProxy, of target: AppName) throws(InvalidRequest) -> String {
        guard let username = proxy.username else { return "" }
        guard !username.utf8.contains(UInt8(ascii: ":")) else {
            throw InvalidRequest("the user name in proxy_url of target \(target) has a colon, which cannot be sent")
        }
        let password = try proxy.password.map { secret throws(InvalidRequest) in try resolve(secret, mayBeEmpty: true) } ?? ""
        guard username.isHTTPFieldValue, password.isHTTPFieldValue else {
            throw InvalidRequest("the user name or password in proxy_url of target \(target) has control characters")
        }
        return "Proxy-Authorization: Basic \(Base64.encode(Array("\(username):\(password)".utf8)))\r\n"
    }

    private static func privateFields(of target: Target) throws(InvalidRequest) -> String {
        var fields = ""
        var hasAuthorization = false
        if let credentials = target.credentials {
            fields += "Authorization: \(try authorization(credentials, of: target.name))\r\n"
            hasAuthorization = true
        }
        for header in target.headers {
            let name = header.name.lowercased()
            if hasAuthorization, name == "authorization" { continue }
            guard Target.Header.setByClient[name] == nil else {
                throw InvalidRequest("header \(header.name) of target \(target.name) is set by the client itself")
            }
            guard header.name.isHTTPToken else { throw InvalidRequest("a header of target \(target.name) has an invalid name") }
            guard header.value.isHTTPFieldValue else {
                throw InvalidRequest("a header of target \(target.name) has control characters in its value")
            }
            fields += "\(header.name): \(header.value)\r\n"
        }
        return fields
    }

    /// RFC 7617 for basic; `TYPE CREDENTIALS` otherwise.
    private static func authorization(
        _ credentials: Target.Credentials, of target: AppName
    ) throws(InvalidRequest) -> String {
        switch credentials {
        case .basic(let username, let password):
            guard !username.utf8.contains(UInt8(ascii: ":")) else {
                throw InvalidRequest("the user name for target \(target) has a colon, which basic_auth cannot send")
            }
            let secret = try resolve(password, mayBeEmpty: true)
            guard username.isHTTPFieldValue, secret.isHTTPFieldValue else {
                throw InvalidRequest("the user name or password for target \(target) has control characters")
            }
            return "Basic \(Base64.encode(Array("\(username):\(secret)".utf8)))"
        case .authorization(let type, let secret):
            let credentials = try resolve(secret, mayBeEmpty: false)
            guard type.isHTTPToken, credentials.isHTTPFieldValue, !credentials.isEmpty else {
                throw InvalidRequest("the authorization for target \(target) is empty or has control characters")
            }
            return "\(type) \(credentials)"
        }
    }

    private static func resolve(
        _ secret: Secret, mayBeEmpty: Bool
    ) throws(InvalidRequest) -> String {
        switch secret {
        case .literal(let text): return text
        case .file(let file):
            let path = file.path
            guard let text = String(validating: file.bytes.withoutFinalLineBreak, as: UTF8.self) else {
                throw InvalidRequest("\(path) is not valid UTF-8", file: path)
            }
            guard text.isHTTPFieldValue else { throw InvalidRequest("\(path) has control characters or more than one line", file: path) }
            guard !text.isEmpty || mayBeEmpty else { throw InvalidRequest("\(path) is empty", file: path) }
            return text
        }
    }

    /// A request that cannot be sent; names the target or the file, never a secret.
    public struct InvalidRequest: Error, Equatable, Sendable, CustomStringConvertible {
        /// What is wrong, in lower case without a final period.
        public let description: String
        /// The file at fault, if it is one that the configuration names.
        public let file: String?

        init(_ description: String, file: String? = nil) {
            self.description = description
            self.file = file
        }
    }
}

extension TargetURL {
    /// The value of `Host` (RFC 9110 §7.2), with the port only if it is not the scheme's. A Unix socket has no host name.
    var hostField: String {
        switch origin {
        case .http(let host, let port): TargetURL.hostField(host, port, default: 80)
        case .https(let host, let port): TargetURL.hostField(host, port, default: 443)
        case .unix: "localhost"
        }
    }

    private static func hostField(_ host: String, _ port: UInt16, default defaultPort: UInt16) -> String {
        port == defaultPort ? HostAndPort.bracketed(host) : HostAndPort.text(host, port)
    }

    /// Whether nothing in it could end the request line or the `Host` field early.
    fileprivate var isFitForRequest: Bool {
        (pathAndQuery + hostField).utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F } && pathAndQuery.utf8.first == UInt8(ascii: "/")
    }
}

extension String {
    /// RFC 9110 §5.5: visible characters, spaces and tabs.
    fileprivate var isHTTPFieldValue: Bool {
        utf8.allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }
    }
}
