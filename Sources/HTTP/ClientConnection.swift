public import NIOCore

/// The client's end of one HTTP/1 connection: it sends requests one after another and reads the responses. It is a value and knows no
/// socket: its methods take events and return actions.
public struct ClientConnection: Sendable {
    /// What to do with the received bytes. The caller asks again until it gets `wait`, `complete` or `failed`.
    public enum Step: Sendable, Equatable {
        /// Wait for more bytes.
        case wait
        /// The head of the response. `discardBody` may follow.
        case head(ResponseHead)
        /// The next piece of the body.
        case body(ByteBuffer)
        /// The response is complete, or its reader needs no more of it. The connection is idle or, if it cannot be used again, closed.
        case complete
        /// The connection cannot be used any more.
        case failed(ClientError)
    }

    /// Where the connection is.
    public enum Phase: Equatable, Sendable {
        /// It is not ready for a request, for example during a TLS handshake.
        case opening
        /// The next request may be sent.
        case idle
        case awaitingHead
        case readingBody
        /// No request can be sent any more.
        case closed
    }

    /// Informational responses before the real one.
    static let maxInformational = 16
    /// A body that is not needed is read to its end to keep the connection, but not beyond this number of bytes.
    static let maxDiscarded = 64 << 10

    private enum State {
        case opening
        case idle
        case awaitingHead(informational: Int)
        case reading(ResponseHead)
        case discarding(left: Int)
        case closed
    }

    private var state: State
    private var decoder = ResponseDecoder()
    private var pending = PendingBytes()
    /// The request that waits for the connection to be ready.
    private var queued: ByteBuffer?
    private var keepsConnection = true
    /// Whether any byte was received since the last request.
    public private(set) var hasReceived = false

    /// - Parameter awaitsOpening: whether `opened` is called before requests can be sent.
    public init(awaitsOpening: Bool) {
        state = awaitsOpening ? .opening : .idle
    }

    /// Where the connection is.
    public var phase: Phase {
        switch state {
        case .opening: .opening
        case .idle: .idle
        case .awaitingHead: .awaitingHead
        case .reading, .discarding: .readingBody
        case .closed: .closed
        }
    }

    /// The memory of bytes that were received and not consumed.
    public var held: Int { pending.held }

    // MARK: - Events

    /// Requests can be sent now.
    /// - Returns: the request that waits, to be written.
    public mutating func opened() -> ByteBuffer? {
        guard case .opening = state else { return nil }
        state = .idle
        return queued.flatMap { send($0, keepsConnection: keepsConnection) }
    }

    /// A request is to be sent. The connection must be opening, with no request waiting, or idle.
    /// - Parameter keepsConnection: whether the connection may serve another request afterwards.
    /// - Returns: the bytes to write now; `nil` while the connection is not ready.
    public mutating func send(_ request: ByteBuffer, keepsConnection: Bool) -> ByteBuffer? {
        self.keepsConnection = keepsConnection
        hasReceived = false
        switch state {
        case .opening:
            queued = request
            return nil
        case .idle:
            queued = nil
            decoder = ResponseDecoder()
            state = .awaitingHead(informational: 0)
            return request
        case .awaitingHead, .reading, .discarding, .closed:
            assertionFailure("one request at a time")
            return nil
        }
    }

    /// Bytes were received. `next` returns what they mean.
    public mutating func receive(_ bytes: consuming ByteBuffer) {
        hasReceived = true
        pending.append(bytes)
    }

    /// What to do with the received bytes.
    public mutating func next() -> Step {
        while true {
            switch state {
            case .awaitingHead, .reading, .discarding:
                if let step = read() { return step }
            case .opening, .idle:
                guard !pending.isEmpty else { return .wait }
                // Unsolicited bytes. They could be taken for the response to the next request.
                return fail(.unexpectedBytes)
            case .closed:
                return .wait
            }
        }
    }

    /// The body is not needed: it is read only to keep the connection, and `next` returns no more of it.
    public mutating func discardBody() {
        guard case .reading(let head) = state else { return }
        let length = if case .length(let length) = head.framing { length } else { 0 }
        keepsConnection = keepsConnection && head.keepsAlive && length <= ClientConnection.maxDiscarded
        state = .discarding(left: ClientConnection.maxDiscarded)
    }

    /// The connection has ended.
    /// - Parameter isClean: whether the peer ended it, and nothing is missing for TLS.
    /// - Returns: the error of the current request. `nil` when there is none, or when this end completes the response.
    public mutating func ended(isClean: Bool) -> ClientError? {
        defer { close() }
        switch state {
        case .opening: return queued == nil ? nil : .endedWhileOpening
        case .idle, .closed: return nil
        case .awaitingHead: return .endedBeforeHead
        case .reading(let head) where head.framing == .untilEnd: return isClean ? nil : .endedWithinBody(isFramed: false)
        case .reading: return .endedWithinBody(isFramed: true)
        case .discarding: return nil
        }
    }

    /// No request is sent and no byte is read any more.
    public mutating func close() {
        state = .closed
        pending = PendingBytes()
        queued = nil
    }

    // MARK: - Reading

    /// - Returns: `nil` when the reader does not need the step.
    private mutating func read() -> Step? {
        if case .discarding = state, !keepsConnection { return complete() }
        let event: ResponseDecoder.Event
        do throws(ResponseError) {
            event = try decoder.next(&pending.bytes)
        } catch {
            if case .discarding = state { return complete(isReusable: false) }
            return fail(.response(error))
        }
        switch event {
        case .incomplete:
            pending.releaseIfEmpty()
            return .wait
        case .head(let head):
            return take(head)
        case .body(let piece):
            guard case .discarding(let left) = state else { return .body(piece) }
            if piece.readableBytes > left { return complete(isReusable: false) }
            state = .discarding(left: left - piece.readableBytes)
            return nil
        case .end:
            return complete()
        }
    }

    private mutating func take(_ head: ResponseHead) -> Step? {
        guard case .awaitingHead(let informational) = state else { return nil }
        if head.isInformational {
            guard informational < ClientConnection.maxInformational else { return fail(.tooManyInformationalResponses) }
            state = .awaitingHead(informational: informational + 1)
            return nil
        }
        keepsConnection = keepsConnection && head.keepsAlive
        state = .reading(head)
        return .head(head)
    }

    private mutating func complete(isReusable: Bool = true) -> Step {
        // Unsolicited bytes follow the response. Do not reuse the connection.
        if isReusable, keepsConnection, pending.isEmpty {
            state = .idle
            pending = PendingBytes()
        } else {
            close()
        }
        return .complete
    }

    private mutating func fail(_ error: ClientError) -> Step {
        close()
        return .failed(error)
    }
}

/// Why a request has no complete response.
public enum ClientError: Error, Equatable, Sendable {
    /// The response cannot be read.
    case response(ResponseError)
    /// More informational responses (1xx) than are skipped.
    case tooManyInformationalResponses
    /// Bytes were received before any request.
    case unexpectedBytes
    /// The connection ended before the request was sent.
    case endedWhileOpening
    /// The connection ended before the head of the response was complete.
    case endedBeforeHead
    /// The connection ended within the body.
    /// - Parameter isFramed: whether the framing shows that the body is incomplete: a length, or chunks without the last one.
    case endedWithinBody(isFramed: Bool)
}

/// Asks an HTTP proxy for a tunnel (RFC 9110 §9.3.6). A value: it takes the bytes of the answer and returns what they mean.
public struct ClientTunnel: Sendable {
    /// What the answer means so far.
    public enum Step: Equatable, Sendable {
        /// More bytes are needed.
        case wait
        /// All further bytes belong to the tunnel.
        case open
        /// The proxy opens no tunnel.
        case refused(status: Int, reason: String)
        /// The answer cannot be read.
        case failed(ClientError)
    }

    private var decoder = ResponseDecoder()
    private var pending = PendingBytes()

    /// A tunnel without an answer yet.
    public init() {}

    /// Bytes of the answer were received.
    public mutating func receive(_ bytes: consuming ByteBuffer) -> Step {
        pending.append(bytes)
        while true {
            let event: ResponseDecoder.Event
            do throws(ResponseError) {
                event = try decoder.next(&pending.bytes)
            } catch {
                return .failed(.response(error))
            }
            guard case .head(let head) = event else { return .wait }
            if head.isInformational { continue }
            guard (200..<300).contains(head.status) else { return .refused(status: head.status, reason: head.reason) }
            // A server sends TLS only after the client does. An answer with 2xx has no body, whatever its head says.
            return pending.isEmpty ? .open : .failed(.unexpectedBytes)
        }
    }
}
