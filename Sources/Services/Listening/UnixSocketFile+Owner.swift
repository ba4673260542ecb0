import Glibc
import Proxy

extension UnixSocketFile {
    /// Who a socket file belongs to: names already looked up.
    struct Owner {
        /// `nil` leaves it as it is: that of the process.
        private let user: uid_t?
        private let group: gid_t?
        private let description: String

        init(_ config: UnixSocketConfig) throws(ListenError) {
            switch config.user {
            case .current: user = nil
            case .id(let id): user = id
            case .name(let name): user = try Self.userID(name, address: config.path)
            }
            switch config.group {
            case .current: group = nil
            case .id(let id): group = id
            case .name(let name): group = try Self.groupID(name, address: config.path)
            }
            description = "user \(Self.text(config.user)) and group \(Self.text(config.group))"
        }

        func apply(to file: String, mode: UInt16, address: String) throws(ListenError) {
            if user != nil || group != nil {
                // (uid_t)-1 leaves the user, (gid_t)-1 the group as it is (chown(2)).
                guard lchown(file, user ?? .max, group ?? .max) == 0 else {
                    let why = errno == EPERM ? "only root may do that, or a member of the group" : errorText(errno)
                    throw ListenError(
                        address, "cannot give the socket to \(description): \(why)",
                        key: user != nil ? "unix_socket_user" : "unix_socket_group")
                }
            }
            guard chmod(file, mode_t(mode)) == 0 else {
                throw ListenError(address, "cannot set the mode of the socket: \(errorText(errno))")
            }
        }

        private static func text(_ principal: UnixSocketConfig.Principal) -> String {
            switch principal {
            case .current: "of the process"
            case .name(let name): name
            case .id(let id): "\(id)"
            }
        }

        private static func userID(_ name: String, address: String) throws(ListenError) -> uid_t {
            var id: uid_t?
            let error = withGrowingBuffer { buffer, size in
                var entry = passwd()
                var result: UnsafeMutablePointer<passwd>?
                let error = getpwnam_r(name, &entry, buffer, size, &result)
                id = result == nil ? nil : entry.pw_uid
                return error
            }
            if let id { return id }
            throw ListenError(address, lookUpFailure("user", name, error), key: "unix_socket_user")
        }

        private static func groupID(_ name: String, address: String) throws(ListenError) -> gid_t {
            var id: gid_t?
            let error = withGrowingBuffer { buffer, size in
                var entry = group_entry()
                var result: UnsafeMutablePointer<group_entry>?
                let error = getgrnam_r(name, &entry, buffer, size, &result)
                id = result == nil ? nil : entry.gr_gid
                return error
            }
            if let id { return id }
            throw ListenError(address, lookUpFailure("group", name, error), key: "unix_socket_group")
        }

        /// Not found is 0 or one of several errors, as the system likes it (getpwnam_r(3)).
        private static func lookUpFailure(_ kind: String, _ name: String, _ error: CInt) -> String {
            switch error {
            case 0, ENOENT, ESRCH, EBADF, EPERM: "unknown \(kind) \(name)"
            default: "cannot look up the \(kind) \(name): \(errorText(error))"
            }
        }

        /// A group may have many members: the buffer grows until they fit, within reason.
        private static func withGrowingBuffer(_ body: (UnsafeMutablePointer<CChar>, Int) -> CInt) -> CInt {
            var size = 4096
            while true {
                let error = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
                    buffer.baseAddress.map { body($0, buffer.count) } ?? ENOMEM
                }
                guard error == ERANGE, size < 1 << 20 else { return error }
                size *= 4
            }
        }
    }
}

/// `group` is also the name of a property here.
private typealias group_entry = Glibc.group
