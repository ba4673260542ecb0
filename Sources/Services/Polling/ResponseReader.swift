import NIOCore
import NIOHTTP1
import Proxy

/// Reads one response: parts in, an answer out. A value that knows no channel.
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

    /// The head's bound, in bytes; informational responses count in.
    static let maxHead = ByteCount.kibibytes(64)
    /// Informational responses before the real one.
    static let maxInformational = 16
    /// A body that does not matter is read to its end to keep the connection, but not beyond this.
    static let maxDiscarded = 64 << 10

    private enum State {
        case awaitingHead(informational: Int)
        case reading(BodyReader, isKeptAlive: Bool, isChunked: Bool)
        case discarding(Answer, left: Int, isKeptAlive: Bool)
        case ended
    }

    private var state = State.awaitingHead(informational: 0)
    private let limit: ByteCount
    private let followsRedirects: Bool

    /// - Parameter limit: the largest body, uncompressed.
    init(limit: ByteCount, followsRedirects: Bool) {
        self.limit = limit
        self.followsRedirects = followsRedirects
    }

    /// How far it has come.
    var phase: PollFailure.Phase {
        if case .awaitingHead = state { .awaitingHead } else { .readingBody }
    }

    /// The failure that is already certain while the rest of a response is read only to keep the connection.
    var certainFailure: PollFailure? {
        if case .discarding(.failure(let failure), _, _) = state { failure } else { nil }
    }

    /// Takes the next part.
    /// - Returns: the end, or `nil` when more must come.
    mutating func take(_ part: HTTPClientResponsePart) -> End? {
        switch part {
        case .head(let head): takeHead(head)
        case .body(let piece): takeBody(piece)
        case .end: takeEnd()
        }
    }

    /// The connection ended or broke.
    /// - Parameter failure: what is known of it; a body known to be incomplete says more than most.
    mutating func end(by failure: PollFailure?) -> End? {
        defer { state = .ended }
        switch state {
        case .awaitingHead:
            return End(answer: .failure(failure ?? .connectionEnded(.awaitingHead, reason: nil)), isReusable: false)
        case .reading(let body, _, let isChunked):
            let isIncomplete = isChunked || body.expected != nil
            let says = failure == nil || failure == .truncatedByPeer
            let failure = says && isIncomplete ? .incompleteBody(received: body.received, expected: body.expected) : failure
            return End(answer: .failure(failure ?? .connectionEnded(.readingBody, reason: nil)), isReusable: false)
        case .discarding(let answer, _, _):
            return End(answer: answer, isReusable: false)
        case .ended:
            return nil
        }
    }

    private mutating func takeHead(_ head: HTTPResponseHead) -> End? {
        guard case .awaitingHead(let informational) = state else { return nil }
        let status = Int(head.status.code)
        if (100..<200).contains(status), status != 101 {
            guard informational < ResponseReader.maxInformational else { return fail(.tooManyInformationalResponses) }
            state = .awaitingHead(informational: informational + 1)
            return nil
        }
        let response = PollResponseHead(head)
        let expected = head.headers.first(name: "content-length").flatMap { Int($0) }
        switch response.verdict(followingRedirects: followsRedirects) {
        case .read(let coding):
            do throws(PollFailure) {
                let body = try BodyReader(coding: coding, expected: expected, limit: limit)
                state = .reading(body, isKeptAlive: head.isKeepAlive, isChunked: response.transferEncoding != nil)
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

    private mutating func discard(_ answer: Answer, _ head: HTTPResponseHead, _ expected: Int?) -> End? {
        guard head.isKeepAlive, head.status != .switchingProtocols, expected ?? 0 <= ResponseReader.maxDiscarded else {
            state = .ended
            return End(answer: answer, isReusable: false)
        }
        state = .discarding(answer, left: ResponseReader.maxDiscarded, isKeptAlive: true)
        return nil
    }

    private mutating func takeBody(_ piece: ByteBuffer) -> End? {
        switch state {
        case .reading(var body, let isKeptAlive, let isChunked):
            // Two owners of the body's buffer would copy it with each piece.
            state = .ended
            do throws(PollFailure) {
                try body.append(piece)
            } catch {
                return fail(error)
            }
            state = .reading(body, isKeptAlive: isKeptAlive, isChunked: isChunked)
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
            do throws(PollFailure) {
                return End(answer: .metrics(try body.finish()), isReusable: isKeptAlive)
            } catch {
                return End(answer: .failure(error), isReusable: isKeptAlive)
            }
        case .discarding(let answer, _, let isKeptAlive):
            state = .ended
            return End(answer: answer, isReusable: isKeptAlive)
        case .awaitingHead, .ended:
            return nil
        }
    }

    private mutating func fail(_ failure: PollFailure) -> End {
        state = .ended
        return End(answer: .failure(failure), isReusable: false)
    }
}

extension PollResponseHead {
    fileprivate init(_ head: HTTPResponseHead) {
        let headers = head.headers
        self.init(status: Int(head.status.code), reason: head.status.reasonPhrase)
        for (name, value) in headers {
            // By length first: this runs for each field of each poll.
            switch name.utf8.count {
            case 12 where name.isSameFieldName(as: "content-type"): contentType = joined(contentType, value)
            case 16 where name.isSameFieldName(as: "content-encoding"): contentEncoding = joined(contentEncoding, value)
            case 17 where name.isSameFieldName(as: "transfer-encoding"): transferEncoding = joined(transferEncoding, value)
            case 8 where name.isSameFieldName(as: "location"): location = location ?? value
            default: continue
            }
        }
    }
}

/// A repeated field counts as one list (RFC 9110 §5.3).
private func joined(_ before: String?, _ value: String) -> String {
    before.map { "\($0), \(value)" } ?? value
}

extension String {
    /// Whether it is `other`, which is in lower case, but for case.
    fileprivate func isSameFieldName(as other: String) -> Bool {
        utf8.elementsEqual(other.utf8) { byte, expected in
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 == expected : byte == expected
        }
    }
}
