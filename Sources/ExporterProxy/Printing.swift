import Glibc

/// Prints a line on standard error, at once.
func printError(_ line: String) {
    var line = line + "\n"
    line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
}

/// Writes it all, unless the reader is gone.
func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: CInt) {
    var rest = bytes
    while !rest.isEmpty {
        let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
        if written < 0 {
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Whoever shares the descriptor with us has made it non-blocking.
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
                continue
            default: return
            }
        }
        if written > 0 { rest = UnsafeRawBufferPointer(rebasing: rest[written...]) }
    }
}
