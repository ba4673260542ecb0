import Glibc
import Services

/// Prints a line on standard error, at once.
func printError(_ line: String) {
    var line = line + "\n"
    line.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: STDERR_FILENO) }
}
