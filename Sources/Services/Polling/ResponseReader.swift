import NIOCore
import Proxy

/// Reads one response: bytes in, an answer out. A value that knows no channel.
struct ResponseReader {
    /// What the response means for the poll.
    enum Answer {
        case metrics(Exposition)
        case redirect(location: String)
        case failure(PollFailure)
    }

    /// The end of reading.
    struct End {
        let answer: Answer
        /// Whether the connection is at the start of the next response and both sides keep it.
        let isReusable: Bool
    }

    /// Informational responses before the real one.
    static let maxInformational = 16
    /// A body that does not matter is read to its end to keep the connection, but not beyond this.
    static let maxDiscarded = 64 << 10

    private enum State {
        case awaitingHead(informational: Int)
        case reading(BodyReader, isKeptAlive: Bool, framing: FramedResponseHead.Framing)
        case discarding(Answer, left: Int, isKeptAlive: Bool)
        case ended
    }

    private var state = State.awaitingHead(informational: 0)
    private var parser = ResponseParser()
    /// Bytes that came and are not parsed yet. Nothing else may own this buffer while it grows.
    private var waiting = ByteBuffer()
    private let limit: ByteCount
    private let followsRedirects: Bool

    /// - Parameter limit: the largest body, uncompressed.
    init(limit: ByteCount, followsRedirects: Bool) {
        self.limit = limit
        self.followsRedirects = followsRedirects
    }

    /// The memory that bytes take which are not parsed yet.
    var waitingCapacity: Int { waiting.storageCapacity }

    /// How far it has come.
    var phase: PollFailure.Phase {
        if case .awaitingHead = state { .awaitingHead } else { .readingBody }
    }

    /// The failure that is already certain while the rest of a response is read only to keep the connection.
    var certainFailure: PollFailure? {
        if case .discarding(.failure(let failure), _, _) = state { failure } else { nil }
    }

    /// Takes what has come.
    /// - Returns: the end, or `nil` when more must come.
    mutating func take(_ bytes: consuming ByteBuffer) -> End? {
        if waiting.readableBytes == 0 { waiting = bytes } else { waiting.writeBuffer(&bytes) }
        while true {
            let step: ResponseParser.Step
            do throws(PollFailure) {
                step = try parser.next(&waiting)
            } catch {
                return broken(error)
            }
            switch step {
            case .incomplete:
                dropConsumedBytes()
                return nil
            case .head(let head): if let end = takeHead(head) { return end }
            case .body(let piece): if let end = takeBody(piece) { return end }
            case .end: return takeEnd()
            }
        }
    }

    /// Keeps nothing of what was parsed: a buffer that is written to before it was read to its end grows by every byte that ever came.
    private mutating func dropConsumedBytes() {
        if waiting.readableBytes == 0 {
            waiting = ByteBuffer()
        } else if waiting.readerIndex > 0 {
            // At most a head, or a line between chunks; moved once, since the next pieces are added behind it.
            waiting = ByteBuffer(copyingReadableBytesOf: waiting)
        }
    }

    /// The connection ended or broke.
    /// - Parameter failure: what is known of it; a body known to be incomplete says more than most.
    mutating func end(by failure: PollFailure?) -> End? {
        defer { state = .ended }
        switch state {
        case .awaitingHead:
            return End(answer: .failure(failure ?? .connectionEnded(.awaitingHead, reason: nil)), isReusable: false)
        case .reading(let body, _, .untilEnd) where failure == nil:
            return finish(body, isKeptAlive: false)
        case .reading(let body, _, let framing):
            let isIncomplete = framing != .untilEnd
            let says = failure == nil || failure == .truncatedByPeer
            let failure = says && isIncomplete ? .incompleteBody(received: body.received, expected: body.expected) : failure
            return End(answer: .failure(failure ?? .connectionEnded(.readingBody, reason: nil)), isReusable: false)
        case .discarding(let answer, _, _):
            return End(answer: answer, isReusable: false)
        case .ended:
            return nil
        }
    }

    private mutating func takeHead(_ head: FramedResponseHead) -> End? {
        guard case .awaitingHead(let informational) = state else { return nil }
        if head.isInformational {
            guard informational < ResponseReader.maxInformational else { return fail(.tooManyInformationalResponses) }
            state = .awaitingHead(informational: informational + 1)
            return nil
        }
        let expected: Int? = if case .length(let length) = head.framing { length } else { nil }
        switch head.fields.verdict(followingRedirects: followsRedirects) {
        case .read(let coding):
            do throws(PollFailure) {
                let body = try BodyReader(coding: coding, expected: expected, limit: limit)
                state = .reading(body, isKeptAlive: head.keepsAlive, framing: head.framing)
                return nil
            } catch {
                return fail(error)
            }
        case .redirect(let location):
            return discard(.redirect(location: location), head, expected)
        case .fail(let failure):
            return discard(.failure(failure), head, expected)
        }
    }

    private mutating func discard(_ answer: Answer, _ head: FramedResponseHead, _ expected: Int?) -> End? {
        guard head.keepsAlive, expected ?? 0 <= ResponseReader.maxDiscarded else {
            state = .ended
            return End(answer: answer, isReusable: false)
        }
        state = .discarding(answer, left: ResponseReader.maxDiscarded, isKeptAlive: true)
        return nil
    }

    private mutating func takeBody(_ piece: ByteBuffer) -> End? {
        switch state {
        case .reading(var body, let isKeptAlive, let framing):
            // Two owners of the body's buffer would copy it with each piece.
            state = .ended
            do throws(PollFailure) {
                try body.append(piece)
            } catch {
                return fail(error)
            }
            state = .reading(body, isKeptAlive: isKeptAlive, framing: framing)
            return nil
        case .discarding(let answer, let left, let isKeptAlive):
            guard piece.readableBytes <= left else {
                state = .ended
                return End(answer: answer, isReusable: false)
            }
            state = .discarding(answer, left: left - piece.readableBytes, isKeptAlive: isKeptAlive)
            return nil
        case .awaitingHead, .ended:
            return nil
        }
    }

    private mutating func takeEnd() -> End? {
        switch state {
        case .reading(let body, let isKeptAlive, _):
            state = .ended
            return finish(body, isKeptAlive: isKeptAlive)
        case .discarding(let answer, _, let isKeptAlive):
            state = .ended
            return End(answer: answer, isReusable: isKeptAlive && isAtEnd)
        case .awaitingHead, .ended:
            return nil
        }
    }

    private func finish(_ body: BodyReader, isKeptAlive: Bool) -> End {
        do throws(PollFailure) {
            return End(answer: .metrics(try body.finish()), isReusable: isKeptAlive && isAtEnd)
        } catch {
            return End(answer: .failure(error), isReusable: isKeptAlive && isAtEnd)
        }
    }

    /// Whether nothing came after the response. For what did nobody has asked: such a peer is not understood.
    private var isAtEnd: Bool { waiting.readableBytes == 0 }

    /// The bytes cannot be understood any further; a failure that was certain before stays the reason.
    private mutating func broken(_ failure: PollFailure) -> End {
        guard let certainFailure else { return fail(failure) }
        return fail(certainFailure)
    }

    private mutating func fail(_ failure: PollFailure) -> End {
        state = .ended
        return End(answer: .failure(failure), isReusable: false)
    }
}

extension ByteBuffer {
    /// The readable bytes in a buffer of their own, without the memory around them.
    fileprivate init(copyingReadableBytesOf other: ByteBuffer) {
        self.init()
        writeImmutableBuffer(other)
    }
}
