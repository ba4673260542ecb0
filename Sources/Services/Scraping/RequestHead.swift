import HTTP

/// What a connection needs of one request's head; framing already checked.
struct RequestHead: Equatable {
    enum Body: Equatable {
        case none
        case length(Int)
        case chunked
    }

    var method: String
    /// As sent.
    var target: String
    /// HTTP/1.0; otherwise HTTP/1.1 or a later minor version of it.
    var isHTTP10: Bool
    /// Whether the client lets the connection stay open.
    var keepsAlive: Bool
    /// Whether the client waits for `100 Continue` before it sends the body.
    var expectsContinue = false
    var body = Body.none
    var host: String?
    var accept: String?
    var acceptEncoding: String?
    var authorization: String?
    var instance: String?
    var origin: String?
    var fetchSite: String?

    /// Those headers that any route asks for, by lower-case name.
    func header(_ name: String) -> String? {
        switch name {
        case "host": host
        case "accept": accept
        case "accept-encoding": acceptEncoding
        case "authorization": authorization
        case Request.instanceField: instance
        case "origin": origin
        case "sec-fetch-site": fetchSite
        default: nil
        }
    }
}

/// A request that cannot be read any further: it is answered, and the connection closed.
struct RequestError: Error, Equatable {
    /// The status to answer with.
    let status: Int
    /// For the one who sent it.
    let reason: String

    init(_ status: Int, _ reason: String) {
        self.status = status
        self.reason = reason
    }
}
