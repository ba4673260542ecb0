import Glibc
import Proxy

/// Users and groups of this machine. Looking one up may read a file or ask a server: it blocks.
enum SystemAccounts {
    /// The number of a user.
    static func user(_ name: String) throws(UnknownSystemAccount) -> uid_t {
        try look("user", name) { buffer, size in
            var entry = passwd()
            var result: UnsafeMutablePointer<passwd>?
            let error = getpwnam_r(name, &entry, buffer, size, &result)
            return (error, result == nil ? nil : entry.pw_uid)
        }
    }

    /// The number of a group.
    static func group(_ name: String) throws(UnknownSystemAccount) -> gid_t {
        try look("group", name) { buffer, size in
            var entry = Glibc.group()
            var result: UnsafeMutablePointer<Glibc.group>?
            let error = getgrnam_r(name, &entry, buffer, size, &result)
            return (error, result == nil ? nil : entry.gr_gid)
        }
    }

    /// A group may have many members: the buffer grows until they fit, within reason.
    private static func look(
        _ kind: String, _ name: String, _ body: (UnsafeMutablePointer<CChar>, Int) -> (error: CInt, id: UInt32?)
    ) throws(UnknownSystemAccount) -> UInt32 {
        var size = 4096
        while true {
            let (error, id) = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                buffer.baseAddress.map { body($0, buffer.count) } ?? (ENOMEM, nil)
            }
            if let id { return id }
            guard error == ERANGE, size < 1 << 20 else { throw UnknownSystemAccount(kind, name, error) }
            size *= 4
        }
    }
}

/// A name that the system does not know, or cannot tell of.
struct UnknownSystemAccount: Error, CustomStringConvertible {
    let description: String

    /// Not found is 0 or one of several errors, as the system likes it (getpwnam_r(3)).
    fileprivate init(_ kind: String, _ name: String, _ error: CInt) {
        switch error {
        case 0, ENOENT, ESRCH, EBADF, EPERM: description = "unknown \(kind) \(name)"
        default: description = "cannot look up the \(kind) \(name): \(errorText(error))"
        }
    }
}

extension Owners {
    /// The owners of a configuration. Blocks.
    /// - Throws: every account that the system does not know, at its place.
    init(_ loaded: LoadedConfig) throws(ConfigProblems) {
        do throws(UnknownAccounts) {
            self = try Owners(loaded.config.receiver.owners, user: SystemAccounts.user, group: SystemAccounts.group)
        } catch {
            throw ConfigProblems(
                error.accounts.map { account in
                    let key = "receiver.owners[\(account.rule)].\(account.isGroup ? "groups" : "users")[\(account.index)]"
                    return loaded.origin.problem(key, "\(key): \(account.reason)")
                })
        }
    }
}
