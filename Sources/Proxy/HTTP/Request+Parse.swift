extension Request {
    /// Makes a request of what a connection's handler read, without a copy in the ordinary case.
    /// - Parameters:
    ///   - target: the request target as sent: `/path?query`, `http://host/path?query`, or `*` (RFC 9112 §3.2).
    ///   - requiresHost: whether a missing `Host` is refused, as HTTP/1.1 demands (RFC 9112 §3.2).
    ///   - header: the value of the header of that name in lower case, several joined by `, `; `nil` without one.
    /// - Throws: `BadRequest` for a target or `Host` that is not valid, bad percent-encoding, a NUL byte, or text that is not UTF-8.
    public static func parse(
        method: String, target: String, isTLS: Bool, requiresHost: Bool = false, header: (String) -> String?
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
            authorization: header("authorization"), isTLS: isTLS, instance: header(ProgramInstance.header))
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
        case .delete: "DELETE"
        case .other(let name): name
        }
    }
}
