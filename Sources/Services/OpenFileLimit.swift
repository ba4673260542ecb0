import Glibc

/// The process's limit of open descriptors, one of which each connection takes.
enum OpenFileLimit {
    /// Raises the soft limit to the hard one (getrlimit(2)); the usual soft limit of 1024 is less than one listener's connections.
    /// - Returns: the limit in force, or `nil` when it could not be read or raised.
    static func raise() -> UInt64? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        limit.rlim_cur = limit.rlim_max
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return UInt64(limit.rlim_cur)
    }
}
