public import NIOCore

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
