/// What the routes need of an HTTP request; knows no socket.
public struct Request: Sendable {
    /// A request method; those that some route takes have a case.
    public enum Method: Hashable, Sendable {
        case get, head, post, put, delete
        case other(String)
    }

    /// What is asked for.
    public var method: Method
    /// The request target's path, percent-decoded; begins with `/`, or is `*`.
    public var path: String
    /// The query's pairs in order, percent-decoded.
    public var query: [QueryItem]
    /// The values of `Accept`, joined by `, `; `nil` without one.
    public var accept: String?
    /// Likewise of `Accept-Encoding`.
    public var acceptEncoding: String?
    /// The authority of an absolute request target, else `Host`: `host` or `host:port`; `nil` when neither says one.
    public var host: String?
    /// The value of `Authorization`.
    public var authorization: String?
    /// Whether it came over TLS.
    public var isTLS: Bool
    /// The exporter-proxy that polls with it; `nil` for any other client.
    public var instance: String?
    /// The value of `Origin`: where a browser says that the request comes from (RFC 6454 §7).
    public var origin: String?
    /// The value of `Sec-Fetch-Site`: how a browser relates that place to this one (W3C Fetch Metadata).
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

    /// A request made of its parts; `Request.parse` makes one of what a client sent.
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

    /// Makes a request of what a connection's handler read, without a copy in the ordinary case.
    /// - Parameters:
    ///   - target: the request target as sent: `/path?query`, `http://host/path?query`, or `*` (RFC 9112 §3.2).
    ///   - peer: the other end of its connection.
    ///   - requiresHost: whether a missing `Host` is refused, as HTTP/1.1 demands (RFC 9112 §3.2).
    ///   - header: the value of the header of that name in lower case, several joined by `, `; `nil` without one.
    /// - Throws: `BadRequest` for a target or `Host` that is not valid, bad percent-encoding, a NUL byte, or text that is not UTF-8.
    public static func parse(
        method: String, target: String, isTLS: Bool, peer: Peer = .unknown, requiresHost: Bool = false, header: (String) -> String?
    ) throws(BadRequest) -> Request {
        let method = Method(method)
        let target = try RequestTarget(target, method: method)
        let host = header("host")
        if let host, !RequestTarget.isValidHost(host) { throw BadRequest("invalid Host header") }
        if requiresHost, host == nil { throw BadRequest("the Host header is missing") }
        return Request(
            method: method, path: target.path, query: target.query, accept: header("accept"),
            acceptEncoding: header("accept-encoding"),
            // The authority of an absolute target wins over Host (RFC 9112 §3.2.2). An empty Host says nothing.
            host: target.authority ?? (host == "" ? nil : host),
            authorization: header("authorization"), isTLS: isTLS, instance: header(instanceField),
            origin: header("origin"), fetchSite: header("sec-fetch-site"), peer: peer)
    }
}

extension Request.Method: CustomStringConvertible {
    /// Method names are case-sensitive (RFC 9110 §9.1).
    public init(_ name: String) {
        self =
            switch name {
            case "GET": .get
            case "HEAD": .head
            case "POST": .post
            case "PUT": .put
            case "DELETE": .delete
            default: .other(name)
            }
    }

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

/// A request that no route can answer because its head makes no sense: 400 (RFC 9110 §15.5.1).
public struct BadRequest: Error, Equatable {
    /// What is wrong with it, for the one who sent it.
    public let reason: String

    init(_ reason: String) { self.reason = reason }

    /// The answer to send.
    public var response: Response { .text(400, "bad request: \(reason)") }
}
