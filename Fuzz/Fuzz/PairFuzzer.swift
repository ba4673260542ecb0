import HTTP
import NIOCore

/// What the codec writes it reads: the same status, fields and body, whatever the fields hold.
enum PairFuzzer {
    private static let statuses = [200, 204, 304, 400, 404, 500, 299]

    static func run(_ input: UnsafeRawBufferPointer) {
        guard input.count >= 2 else { return }
        let status = statuses[Int(input[0]) % statuses.count]
        let keepAlive = input[1] & 1 == 0
        let isHTTP10 = input[1] & 2 == 0
        let parts = input.dropFirst(2).split(separator: 0xFF, maxSplits: 2, omittingEmptySubsequences: false)
        let type = String(decoding: parts[0], as: UTF8.self)
        let location = parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : ""
        let body = parts.count > 2 ? ByteBuffer(bytes: parts[2]) : ByteBuffer()
        let response = Response(
            status: status, headers: [("Content-Type", type), ("Location", location)], body: [body], contentLength: body.readableBytes)

        var bytes = ByteBuffer()
        HeadEncoder.write(response, to: &bytes, keepAlive: keepAlive, isHTTP10: isHTTP10, date: "now")
        for piece in response.pieces(answering: .get) { bytes.writeImmutableBuffer(piece) }
        check(bytes, status: status, type: readable(type), location: readable(location), keepAlive: keepAlive, body: body)
    }

    private static func check(
        _ stream: ByteBuffer, status: Int, type: String, location: String, keepAlive: Bool, body: ByteBuffer
    ) {
        var stream = stream
        var decoder = ResponseDecoder()
        guard case .head(let head)? = try? decoder.next(&stream) else {
            // The writer does not limit what the program itself says; the reader does.
            precondition(type.utf8.count + location.utf8.count > 60_000, "no head")
            return
        }
        precondition(head.status == status && head.keepsAlive == keepAlive, "\(head)")
        precondition(head.contentType == type && head.location == location, "\(head)")
        var read = ByteBuffer()
        while let event = try? decoder.next(&stream), case .body(var piece) = event { read.writeBuffer(&piece) }
        precondition(read == (status == 204 || status == 304 ? ByteBuffer() : body), "another body")
        precondition(stream.readableBytes == 0, "bytes are left")
    }

    /// Control characters become spaces when they are written, and white space around a value is none of it.
    private static func readable(_ text: String) -> String {
        let bytes = text.utf8.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        let trimmed = bytes.drop { $0 == 0x20 }.reversed().drop { $0 == 0x20 }.reversed()
        return String(decoding: trimmed, as: UTF8.self)
    }
}
