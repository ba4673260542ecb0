/// What the routes need of an HTTP request; knows no socket.
public struct Request: Sendable {
    /// A request method; those that some route takes have a case.
    public enum Method: Hashable, Sendable {
        case get, head, post, delete
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
    /// The exporter-proxy that polls with it; `nil` for anybody else.
    public var instance: String?

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
        host: String? = nil, authorization: String? = nil, isTLS: Bool = false, instance: String? = nil
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
    }
}
