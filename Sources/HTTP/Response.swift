public import NIOCore
import Synchronization

/// An answer: status, headers, and the body as pieces that are sent one after another without a copy.
public struct Response: Sendable {
    /// The status code (RFC 9110 §15).
    public var status: Int
    /// In order. `HeadEncoder` adds `Content-Length`, `Connection` and `Date`.
    public var headers: [(name: String, value: String)]
    /// The pieces, in order.
    public var body: [ByteBuffer]
    /// The sum of the pieces' readable bytes.
    public var contentLength: Int
    /// The lease of each piece that several answers share; `nil`, or missing at the end, for a piece of only this answer.
    public var leases: [PieceLease?] = []

    /// Makes an answer from its parts; `contentLength` must be that of `body`.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [ByteBuffer], contentLength: Int) {
        self.status = status
        self.headers = headers
        self.body = body
        self.contentLength = contentLength
    }

    /// A short `text/plain` answer; a newline is added to `text`.
    public static func text(_ status: Int, _ text: String, headers: [(name: String, value: String)] = []) -> Response {
        Response(status: status, contentType: "text/plain; charset=utf-8", headers: headers, body: ByteBuffer(string: text + "\n"))
    }

    /// An answer in one piece. Browsers are told not to guess its type.
    public init(status: Int, contentType: String, headers: [(name: String, value: String)] = [], body: ByteBuffer) {
        self.init(
            status: status, headers: [("Content-Type", contentType), ("X-Content-Type-Options", "nosniff")] + headers,
            body: [body], contentLength: body.readableBytes)
    }

    /// The header field in which an exporter-proxy lists the instances that its answer contains, in lower case.
    public static let instancesField = "x-exporter-proxy-instances"

    /// For answers that change with time and must not be cached.
    public static let neverStored = (name: "Cache-Control", value: "no-store")

    /// The body as it is sent. It is empty for HEAD, whose headers are those of GET (RFC 9110 §9.3.2), and for a status without a body.
    public func pieces(answering method: Request.Method) -> [ByteBuffer] {
        method == .head || !Response.hasBody(status) ? [] : body
    }

    /// Whether answers of this status have a body, and with it a `Content-Length` (RFC 9110 §6.4.1, §8.6).
    static func hasBody(_ status: Int) -> Bool {
        status >= 200 && status != 204 && status != 304
    }

    /// The reason phrase of a status; empty for a code that the program neither sends nor expects.
    public static func reasonPhrase(_ status: Int) -> String {
        switch status {
        case 100: "Continue"
        case 200: "OK"
        case 202: "Accepted"
        case 204: "No Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        case 507: "Insufficient Storage"
        case 508: "Loop Detected"
        default: ""
        }
    }
}

/// Turns requests into responses.
public protocol Responder: Sendable {
    /// Never blocks; called on the connection's event loop.
    func respond(to request: Request, on eventLoop: any EventLoop) -> Answer
}

/// A response now or later. The ordinary scrape is `.now`, without a task or a suspension.
public enum Answer {
    case now(Response)
    /// For work that would block the event loop (a large compression). The future belongs to the given event loop and never fails.
    case later(EventLoopFuture<Response>)
}

/// Counts the memory of a piece of a body that several answers share.
///
/// While the store keeps the piece, it does not count. When the store has replaced it, only answers keep it in memory: it then counts
/// once for all of them. Each method returns the change in bytes, which the caller adds to the budget. Any thread may use it.
public final class PieceLease: Sendable {
    private struct State {
        /// Answers that keep the piece.
        var holders = 0
        var isStored: Bool
        /// The size of the piece, from the first answer that kept it.
        var bytes = 0

        var counted: Int { holders > 0 && !isStored ? bytes : 0 }
    }

    /// Guards the counts of those that keep the piece.
    private let state: Mutex<State>

    /// - Parameter isStored: whether something else keeps the piece too, until `retire` is called.
    public init(isStored: Bool) { state = Mutex(State(isStored: isStored)) }

    /// An answer keeps the piece until it calls `release`.
    /// - Parameter bytes: the memory that the piece takes: its storage, which may be more than its readable bytes.
    public func hold(bytes: Int) -> Int {
        change { state in
            state.holders += 1
            state.bytes = bytes
        }
    }

    /// The answer no longer keeps the piece.
    public func release() -> Int {
        change { state in
            assert(state.holders > 0, "released more often than held")
            state.holders -= 1
        }
    }

    /// The store no longer keeps the piece.
    public func retire() -> Int { change { $0.isStored = false } }

    /// Whether only answers keep the piece, so that ending them frees its memory.
    public var isRetired: Bool { state.withLock { !$0.isStored } }

    private func change(_ body: (inout State) -> Void) -> Int {
        state.withLock { state in
            let before = state.counted
            body(&state)
            return state.counted - before
        }
    }
}
