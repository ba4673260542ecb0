public import NIOCore
import Proxy

/// gzip in one go, for targets and requests of tests.
public enum Gzip {
    /// `buffer`'s readable bytes as one gzip member.
    public static func compress(_ buffer: ByteBuffer) -> ByteBuffer {
        var result = ByteBuffer()
        for piece in GzipMember(CollectionOfOne(DeflateSegment(compressing: buffer))).finished().pieces {
            result.writeImmutableBuffer(piece)
        }
        return result
    }
}
