import Glibc
import Proxy

/// Reads the whole of a regular file. Blocks: never call it on an event loop.
/// - Parameter limit: the largest size in bytes that is read.
func readFile(_ path: String, limit: Int) throws(FileReadError) -> FileReading {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FileReadError(errnoText(errno)) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileReadError(errnoText(errno)) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw FileReadError("is a directory")
    default: throw FileReadError("is not a regular file")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(min(Int(status.st_size), limit) + 1)
    var block = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = read(descriptor, &block, block.count)
        if count < 0 {
            if errno == EINTR { continue }
            throw FileReadError(errnoText(errno))
        }
        if count == 0 { return FileReading(bytes: bytes, isReadableByOthers: status.st_mode & S_IROTH != 0) }
        bytes += block[..<count]
        guard bytes.count <= limit else { throw FileReadError("is larger than \(limit) bytes", isTooLarge: true) }
    }
}

/// The system's words for an error number, in lower case: `no such file or directory`.
func errnoText(_ number: Int32) -> String {
    guard let text = strerror(number) else { return "error \(number)" }
    return String(cString: text).lowercased()
}
