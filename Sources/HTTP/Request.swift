public import NIOCore

/// An HTTP request, as the routes see it.
public struct Request: Sendable {
    /// A request method. The methods that a route uses have a case.
    public enum Method: Hashable, Sendable {
        case get, head, post, put, delete
        case other(String)
    }

    /// The method.
    public var method: Method
    /// The request target's path, percent-decoded; begins with `/`, or is `*`.
    public var path: String
    /// The query's pairs in order, percent-decoded.
    public var query: [QueryItem]
    /// The values of `Accept`, joined by `, `; `nil` without one.
    public var accept: String?
    /// The values of `Accept-Encoding`, joined the same way.
    public var acceptEncoding: String?
    /// The authority of an absolute request target, else `Host`: `host` or `host:port`; `nil` if both are missing.
    public var host: String?
    /// The value of `Authorization`.
    public var authorization: String?
    /// Whether it came over TLS.
    public var isTLS: Bool
    /// The exporter-proxy that sent it; `nil` for another client.
    public var instance: String?
    /// The value of `Origin`: the site whose page made the browser send the request (RFC 6454 §7).
    public var origin: String?
    /// The value of `Sec-Fetch-Site`: how that site relates to this one (W3C Fetch Metadata).
    public var fetchSite: String?
    /// The other end of the connection.
    public var peer: Peer

    /// One `name=value` of the query.
    public struct QueryItem: Equatable, Sendable {
        /// Before the first `=`.
        public var name: String
        /// After it; empty without one.
        public var value: String

        /// A pair, already decoded.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Makes a request from its parts. `init(_:isTLS:peer:)` makes one from a head.
    public init(
        method: Method = .get, path: String, query: [QueryItem] = [], accept: String? = nil, acceptEncoding: String? = nil,
        host: String? = nil, authorization: String? = nil, isTLS: Bool = false, instance: String? = nil,
        origin: String? = nil, fetchSite: String? = nil, peer: Peer = .unknown
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.accept = accept
        self.acceptEncoding = acceptEncoding
        self.host = host
        self.authorization = authorization
        self.isTLS = isTLS
        self.instance = instance
        self.origin = origin
        self.fetchSite = fetchSite
        self.peer = peer
    }
}

extension Request {
    /// The header field in which a polling exporter-proxy names itself, in lower case.
    public static let instanceField = "x-exporter-proxy-instance"

    /// Parses the head's target, in the ordinary case without a copy.
    /// - Parameter peer: the other end of the connection.
    /// - Throws: `BadRequest` for a target or `Host` that is not valid, bad percent-encoding, a NUL byte, or text that is not UTF-8.
    public init(_ head: RequestHead, isTLS: Bool, peer: Peer) throws(BadRequest) {
        let target = try RequestTarget(head.target, method: head.method)
        if let host = head.host, !RequestTarget.isValidHost(host) { throw BadRequest("invalid Host header") }
        self.init(
            method: head.method, path: target.path, query: target.query, accept: head.accept, acceptEncoding: head.acceptEncoding,
            // The authority of an absolute target wins over Host (RFC 9112 §3.2.2). An empty Host counts as none.
            host: target.authority ?? (head.host == "" ? nil : head.host), authorization: head.authorization, isTLS: isTLS,
            instance: head.instance, origin: head.origin, fetchSite: head.fetchSite, peer: peer)
    }
}

extension Request.Method: CustomStringConvertible {
    /// As in the request line.
    public var description: String {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .other(let name): name
        }
    }
}

/// A request that no route can answer because its head is malformed: 400 (RFC 9110 §15.5.1).
public struct BadRequest: Error, Equatable {
    /// What is wrong with it, for the client.
    public let reason: String

    init(_ reason: String) { self.reason = reason }

    /// The answer to send.
    public var response: Response { .text(400, "bad request: \(reason)") }
}

/// The other end of a connection. Made once for each connection, and cheap to pass on with each request.
public struct Peer: Equatable, Sendable {
    /// Its address; `nil` when the transport has none.
    public let address: SocketAddress?

    /// The peer at this address.
    public init(address: SocketAddress?) { self.address = address }

    /// An unknown peer, for tests.
    public static let unknown = Peer(address: nil)
}

extension Peer: CustomStringConvertible {
    /// `127.0.0.1:6554`, `[::1]:6554`, or `unknown`.
    public var description: String {
        guard let ip = address?.ipAddress, let port = address?.port else { return "unknown" }
        return HostAndPort.text(ip, port)
    }
}

/// A parsed and percent-decoded request target (RFC 9112 §3.2, RFC 3986).
struct RequestTarget: Equatable {
    /// Host and port of an absolute target.
    var authority: String?
    /// Begins with `/`, or is `*`.
    var path: String
    var query: [Request.QueryItem] = []

    init(_ text: String, method: Request.Method) throws(BadRequest) {
        // The ordinary scrape has nothing to decode.
        if text == "/metrics" {
            path = text
            return
        }
        for byte in text.utf8 {
            if byte <= 0x20 || byte == 0x7F { throw BadRequest("the request target has a space or control character") }
            if byte == UInt8(ascii: "#") { throw BadRequest("the request target has a fragment") }
        }
        if text == "*", method == .other("OPTIONS") {
            path = text
            return
        }
        var rest = text.utf8[...]
        if rest.first != UInt8(ascii: "/") {
            let authority = try RequestTarget.takeOrigin(from: &rest)
            self.authority = authority
        }
        let questionMark = rest.firstIndex(of: UInt8(ascii: "?")) ?? rest.endIndex
        let path = try RequestTarget.decode(rest[..<questionMark], plusIsSpace: false)
        self.path = path.isEmpty ? "/" : path
        guard questionMark < rest.endIndex else { return }
        for pair in rest[rest.index(after: questionMark)...].split(separator: UInt8(ascii: "&")) {
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            // HTML forms and Prometheus's `params` write a space as `+`.
            let name = try RequestTarget.decode(pair[..<equals], plusIsSpace: true)
            let value = try RequestTarget.decode(pair[equals...].dropFirst(), plusIsSpace: true)
            query.append(Request.QueryItem(name: name, value: value))
        }
    }

    /// Whether `text` is valid in `Host`: `host` or `host:port` and nothing else (RFC 3986 §3.2.2).
    static func isValidHost(_ text: String) -> Bool {
        guard let parts = HostAndPort(text[...]) else { return false }
        return parts.host.utf8.allSatisfy { isHostByte($0) || (parts.isBracketed && $0 == UInt8(ascii: ":")) }
            && parts.port?.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains) != false
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "-._~!$&'()*+,;=%".utf8.contains(byte)
        }
    }

    /// Removes `http://host:port` from the front.
    private static func takeOrigin(from rest: inout Substring.UTF8View) throws(BadRequest) -> String {
        let scheme = rest.prefix { $0 != UInt8(ascii: ":") }
        let afterScheme = rest[scheme.endIndex...]
        guard ["http", "https"].contains(String(Substring(scheme)).lowercased()), afterScheme.starts(with: "://".utf8) else {
            throw BadRequest("the request target is neither a path nor an http URL")
        }
        let hierarchy = afterScheme.dropFirst(3)
        let authority = hierarchy.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
        let text = String(Substring(authority))
        guard !text.isEmpty, isValidHost(text) else { throw BadRequest("the request target has an invalid host") }
        rest = hierarchy[authority.endIndex...]
        return text
    }

    private static func decode(_ encoded: Substring.UTF8View, plusIsSpace: Bool) throws(BadRequest) -> String {
        let isPlain = !encoded.contains { $0 == UInt8(ascii: "%") || (plusIsSpace && $0 == UInt8(ascii: "+")) }
        if isPlain { return String(Substring(encoded)) }
        guard let bytes = PercentEncoding.decode(encoded, plusIsSpace: plusIsSpace) else {
            throw BadRequest("a % in the request target is not followed by two hexadecimal digits")
        }
        if bytes.contains(0) { throw BadRequest("the request target has a NUL byte") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw BadRequest("the request target is not valid UTF-8") }
        return text
    }
}
