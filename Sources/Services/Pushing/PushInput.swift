import Glibc
import NIOCore

/// What `push` sends: a file, a pipe, or standard input.
struct PushInput {
    /// No receiver takes a larger message (`max_message_size`).
    static let maxSize = 1 << 30
    private static let readSize = 64 << 10

    /// `nil` is standard input.
    let file: String?

    /// All of it. Blocks until the writer has ended.
    func read() throws(PushFailure) -> ByteBuffer {
        guard let file else { return try read(STDIN_FILENO, name: "standard input") }
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw PushFailure("cannot read \(file): \(errorText(errno))") }
        defer { close(descriptor) }
        return try read(descriptor, name: file)
    }

    private func read(_ descriptor: CInt, name: String) throws(PushFailure) -> ByteBuffer {
        var buffer = ByteBuffer()
        while true {
            var failure: CInt = 0
            let count = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: PushInput.readSize) { space in
                let count = Glibc.read(descriptor, space.baseAddress, space.count)
                if count < 0 { failure = errno }
                return max(0, count)
            }
            guard buffer.readableBytes <= PushInput.maxSize else {
                throw PushFailure("\(name) is larger than \(PushInput.maxSize) bytes, which no receiver takes")
            }
            switch failure {
            case 0 where count == 0: return buffer
            case 0, EINTR: continue
            default: throw PushFailure("cannot read \(name): \(errorText(failure))")
            }
        }
    }
}
