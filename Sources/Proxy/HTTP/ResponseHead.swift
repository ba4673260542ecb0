public import NIOCore

/// Writes status line and headers as bytes: the general-purpose encoder costs as much as the rest of a small answer.
public enum ResponseHead {
    /// Appends the head of `response` to `buffer`, up to and including the empty line. The same for HEAD as for GET;
    /// the body that follows is `response.pieces(answering:)`.
    /// - Parameters:
    ///   - keepAlive: whether the connection stays open; if not, the head says `Connection: close`.
    ///   - isHTTP10: whether the request was HTTP/1.0, to which staying open must be said (RFC 9112 §C.2.2).
    ///   - date: `Timestamp.httpDate` of now; the caller keeps the text for a second.
    public static func write(_ response: Response, to buffer: inout ByteBuffer, keepAlive: Bool, isHTTP10: Bool, date: String) {
        buffer.reserveCapacity(minimumWritableBytes: 384)
        writeStatusLine(response.status, to: &buffer)
        for header in response.headers {
            writeField(header.name, header.value, to: &buffer)
        }
        if Response.hasBody(response.status) {
            buffer.writeStaticString("Content-Length: ")
            writeDecimal(response.contentLength, to: &buffer)
            buffer.writeStaticString("\r\n")
        }
        if !keepAlive {
            buffer.writeStaticString("Connection: close\r\n")
        } else if isHTTP10 {
            buffer.writeStaticString("Connection: keep-alive\r\n")
        }
        buffer.writeStaticString("Date: ")
        buffer.writeString(date)
        buffer.writeStaticString("\r\n\r\n")
    }

    private static func writeStatusLine(_ status: Int, to buffer: inout ByteBuffer) {
        if status == 200 {
            buffer.writeStaticString("HTTP/1.1 200 OK\r\n")
            return
        }
        buffer.writeStaticString("HTTP/1.1 ")
        writeDecimal(status, to: &buffer)
        buffer.writeStaticString(" ")
        buffer.writeString(Response.reasonPhrase(status))
        buffer.writeStaticString("\r\n")
    }

    private static func writeField(_ name: String, _ value: String, to buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        buffer.writeString(name)
        buffer.writeStaticString(": ")
        buffer.writeString(value)
        removeControlCharacters(from: start, in: &buffer)
        buffer.writeStaticString("\r\n")
    }

    /// A line break in a value would end the header and begin another, or a second response: it becomes a space (RFC 9110 §5.5).
    private static func removeControlCharacters(from start: Int, in buffer: inout ByteBuffer) {
        let isClean = buffer.withUnsafeReadableBytes { bytes in
            bytes[(start - buffer.readerIndex)...].allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        }
        if isClean { return }
        for index in start..<buffer.writerIndex {
            guard let byte = buffer.getInteger(at: index, as: UInt8.self), byte < 0x20 || byte == 0x7F else { continue }
            buffer.setInteger(UInt8(ascii: " "), at: index)
        }
    }

    private static func writeDecimal(_ number: Int, to buffer: inout ByteBuffer) {
        // Up to 15 digits a String lives without an allocation.
        buffer.writeString(String(number))
    }
}
