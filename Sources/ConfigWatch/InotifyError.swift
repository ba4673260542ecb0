import Glibc

/// Why changes cannot be noticed through inotify.
enum InotifyError: Error, Equatable, CustomStringConvertible {
    /// The kernel gave no inotify instance; its error number.
    case notAvailable(Int32)
    /// libinotifytools exists once per process, and somebody has it.
    case inUse
    /// Its descriptor was not found in /proc/self/fd (is /proc mounted?).
    case descriptorNotFound
    /// libinotifytools waits with select(2), which aborts from descriptor 1024 on.
    case descriptorTooHigh(Int32)

    var description: String {
        switch self {
        case .notAvailable(EMFILE):
            "no inotify instance: too many in use or too many open files; raise fs.inotify.max_user_instances or the open files limit"
        case .notAvailable(let code): "no inotify instance: \(System.text(ofError: code))"
        case .inUse: "libinotifytools is in use elsewhere in this process"
        case .descriptorNotFound: "the inotify descriptor is not in /proc/self/fd; is /proc mounted"
        case .descriptorTooHigh(let descriptor): "inotify descriptor \(descriptor) is above the 1023 that libinotifytools can wait for"
        }
    }
}
