import NIOCore
import Proxy

/// Gathers one response's body, unzipped, and stops where the limit is passed.
struct BodyReader {
    /// A length that is only promised does not get more memory than this at once.
    private static let maxReservation = 1 << 20

    private let limit: Int
    /// `Content-Length`, when there is one.
    let expected: Int?
    /// Bytes that came, as they were sent.
    private(set) var received = 0
    private var body = ByteBuffer()
    private var inflater: Inflater?

    /// - Throws: `.bodyTooLarge` when the length already says so; a zipped body's length says nothing.
    init(coding: PollResponseHead.BodyCoding, expected: Int?, limit: ByteCount) throws(PollFailure) {
        self.limit = limit.bytes
        self.expected = expected
        switch coding {
        case .gzip:
            inflater = Inflater()
        case .identity:
            guard let expected else { return }
            guard expected <= limit.bytes else { throw .bodyTooLarge(limit: limit) }
            // One more for the newline that may be missing.
            body.reserveCapacity(min(expected + 1, BodyReader.maxReservation))
        }
    }

    /// Takes the next piece.
    mutating func append(_ piece: consuming ByteBuffer) throws(PollFailure) {
        received += piece.readableBytes
        guard inflater == nil else {
            try inflate(piece)
            return
        }
        guard body.readableBytes + piece.readableBytes <= limit else { throw .bodyTooLarge(limit: ByteCount(limit)) }
        body.writeBuffer(&piece)
    }

    /// The metrics, once the body is whole.
    consuming func finish() throws(PollFailure) -> Exposition {
        if let inflater, !inflater.isFinished { throw .truncatedGzip }
        return try Exposition(polledBody: body)
    }
}
