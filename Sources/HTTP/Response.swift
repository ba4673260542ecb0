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

/// Writes heads as bytes. A general-purpose encoder would cost as much as the rest of a small answer.
public enum HeadEncoder {
    /// Appends the head of `response` to `buffer`, up to and including the empty line. The same for HEAD as for GET;
    /// the body that follows is `response.pieces(answering:)`.
    /// - Parameters:
    ///   - keepAlive: whether the connection stays open; if not, the head says `Connection: close`.
    ///   - isHTTP10: whether the request was HTTP/1.0; its answer says `Connection: keep-alive` (RFC 9112 §C.2.2).
    ///   - date: `Timestamp.httpDate` of now; the caller keeps the text for a second.
    public static func write(_ response: Response, to buffer: inout ByteBuffer, keepAlive: Bool, isHTTP10: Bool, date: String) {
        let size = response.headers.reduce(fixedSize + date.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { room in
            var head = HeadBytes(room)
            writeStatusLine(response.status, to: &head)
            for header in response.headers {
                head.append(fieldText: header.name)
                head.append(": ")
                head.append(fieldText: header.value)
                head.append("\r\n")
            }
            if Response.hasBody(response.status) {
                head.append("Content-Length: ")
                head.append(decimal: response.contentLength)
                head.append("\r\n")
            }
            if !keepAlive {
                head.append("Connection: close\r\n")
            } else if isHTTP10 {
                head.append("Connection: keep-alive\r\n")
            }
            head.append("Date: ")
            head.append(fieldText: date)
            head.append("\r\n\r\n")
            return head.count
        }
    }

    /// An upper limit for status line, `Content-Length`, `Connection`, the name of `Date` and the empty line.
    private static let fixedSize = 192

    private static func writeStatusLine(_ status: Int, to head: inout HeadBytes) {
        if status == 200 {
            head.append("HTTP/1.1 200 OK\r\n")
            return
        }
        head.append("HTTP/1.1 ")
        head.append(decimal: status)
        head.append(" ")
        head.append(fieldText: Response.reasonPhrase(status))
        head.append("\r\n")
    }
}

/// A head that is being written. It checks the free room once for each part, while `ByteBuffer` checks its storage at each write.
private struct HeadBytes {
    private let room: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

    mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { bytes in take(bytes.count).copyMemory(from: UnsafeRawBufferPointer(bytes)) }
    }

    /// A line break in a field would end the header and begin another, or a second response: it becomes a space, as all
    /// control characters do (RFC 9110 §5.5).
    mutating func append(fieldText text: String) {
        var text = text
        text.withUTF8 { bytes in
            let place = take(bytes.count)
            for index in 0..<bytes.count {
                let byte = bytes[index]
                place[index] = byte < 0x20 || byte == 0x7F ? UInt8(ascii: " ") : byte
            }
        }
    }

    mutating func append(decimal number: Int) {
        var digits = 1
        var rest = number / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        let place = take(digits)
        rest = number
        for index in (0..<digits).reversed() {
            place[index] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
    }

    private mutating func take(_ size: Int) -> UnsafeMutableRawBufferPointer {
        precondition(size <= room.count - count, "a head is larger than was reserved for it")
        defer { count += size }
        return UnsafeMutableRawBufferPointer(rebasing: room[count..<(count + size)])
    }
}
