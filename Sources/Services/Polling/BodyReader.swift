import NIOCore
import Proxy

/// Gathers one response's body, unzipped, and stops where the limit is passed.
struct BodyReader {
    /// A length that is only promised does not get more memory than this at once.
    private static let maxReservation = 1 << 20
    /// What a zipped body may have beyond the limit as it is sent: stored blocks and headers add a little, an endless row of empty blocks a lot.
    private static let zippedAllowance = 64 << 10

    private let limit: Int
    /// `Content-Length`, when there is one.
    let expected: Int?
    /// Bytes that came, as they were sent.
    private(set) var received = 0
    private var body = ByteBuffer()
    private var gunzip: Gunzip?

    /// - Throws: `.bodyTooLarge` when the length already says so; a zipped body's length says nothing.
    init(coding: PollResponseHead.BodyCoding, expected: Int?, limit: ByteCount) throws(PollFailure) {
        self.limit = limit.bytes
        self.expected = expected
        switch coding {
        case .gzip:
            gunzip = Gunzip(limit: limit.bytes)
        case .identity:
            guard let expected else { return }
            guard expected <= limit.bytes else { throw .bodyTooLarge(limit: limit) }
            // One more for the newline that may be missing.
            body = .withExactCapacity(min(expected + 1, BodyReader.maxReservation))
        }
    }

    /// Takes the next piece.
    mutating func append(_ piece: consuming ByteBuffer) throws(PollFailure) {
        received += piece.readableBytes
        if let gunzip {
            guard received <= limit + BodyReader.zippedAllowance else { throw .bodyTooLarge(limit: ByteCount(limit)) }
            do throws(GunzipError) {
                try gunzip.inflate(piece, into: &body)
            } catch {
                throw PollFailure(error)
            }
            return
        }
        guard body.readableBytes + piece.readableBytes <= limit else { throw .bodyTooLarge(limit: ByteCount(limit)) }
        body.writeBuffer(&piece)
    }

    /// The metrics, once the body is whole.
    consuming func finish() throws(PollFailure) -> Exposition {
        do throws(GunzipError) {
            try gunzip?.finish()
        } catch {
            throw PollFailure(error)
        }
        return try Exposition(polledBody: body)
    }
}

extension PollFailure {
    fileprivate init(_ error: GunzipError) {
        switch error {
        case .tooLarge(let limit): self = .bodyTooLarge(limit: ByteCount(limit))
        case .truncated: self = .truncatedGzip
        case .corrupt: self = .corruptGzip("it is not gzip, or its check value is wrong")
        case .trailingGarbage: self = .corruptGzip("other bytes follow it")
        case .outOfMemory: self = .corruptGzip("no memory is left to uncompress it")
        }
    }
}
