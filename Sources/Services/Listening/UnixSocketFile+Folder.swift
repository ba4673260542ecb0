import CFiles
import Glibc
import Proxy

extension UnixSocketFile {
    /// An open folder. It stays the same one if its path changes.
    final class Folder: Sendable {
        let path: String
        let descriptor: CInt

        private init(path: String, descriptor: CInt) {
            self.path = path
            self.descriptor = descriptor
        }

        deinit { close(descriptor) }

        /// - Parameter file: the path of a file, which need not be there.
        /// - Returns: its folder, and its name in it.
        static func open(of file: String) throws(ListenError) -> (folder: Folder, name: String) {
            let parts = FilePath(file)
            let path = parts.folder
            let descriptor = cfiles_open_folder(path)
            guard descriptor >= 0 else {
                switch errno {
                case ENOENT: throw ListenError(file, "the folder \(path) does not exist")
                case ENOTDIR: throw ListenError(file, "\(path) is not a folder")
                case let error: throw ListenError(file, "cannot open the folder \(path): \(SystemError.text(error))")
                }
            }
            return (Folder(path: path, descriptor: descriptor), parts.name)
        }

        /// - Returns: `nil`, and sets `errno`, if it cannot be opened.
        func entry(_ name: String) -> Entry? { Entry(cfiles_open_entry(descriptor, name)) }

        /// - Parameters:
        ///   - file: the configured path, for the error.
        ///   - absence: the reason if there is no such entry. If it cannot be opened, the system's reason is reported.
        func entry(_ name: String, of file: String, orElse absence: String) throws(ListenError) -> Entry {
            guard let entry = self.entry(name) else { throw ListenError(file, errno == ENOENT ? absence : SystemError.text(errno)) }
            return entry
        }

        /// A path to an entry of this very folder, of a length that always fits a socket's address.
        func path(to name: String) -> String { "/proc/self/fd/\(descriptor)/\(name)" }

        /// Removes an entry, unless another file has its name.
        /// - Returns: whether it was removed. If not, `errno` is set.
        @discardableResult
        func remove(_ name: String, ifItIs identity: FileIdentity) -> Bool {
            guard let standing = entry(name) else { return false }
            guard standing.identity == identity else {
                errno = ENOENT
                return false
            }
            // Another process may replace the entry at any moment. Under a new name it can be checked and then removed.
            let aside = Self.temporaryName()
            guard cfiles_move(descriptor, name, aside) == 0 else { return false }
            let moved = entry(aside)
            let reason = moved == nil ? errno : EEXIST
            guard moved?.identity == identity else {
                _ = cfiles_move(descriptor, aside, name)
                errno = reason
                return false
            }
            return unlinkat(descriptor, aside, 0) == 0
        }

        /// A name that is not used by anything else.
        static func temporaryName() -> String { ".exporter-proxy-\(String(UInt64.random(in: .min ... .max), radix: 36))" }
    }

    /// One file, opened with O_PATH. It stays the same one if its path changes.
    final class Entry {
        /// The mode of a socket that was just bound. Other files do not have it.
        static let mark: mode_t = 0o1000

        let descriptor: CInt
        private let status: stat

        /// - Parameter descriptor: closed by this object; negative when there is none.
        init?(_ descriptor: CInt) {
            guard descriptor >= 0 else { return nil }
            var status = stat()
            guard fstat(descriptor, &status) == 0 else {
                close(descriptor)
                return nil
            }
            self.descriptor = descriptor
            self.status = status
        }

        deinit { close(descriptor) }

        var identity: FileIdentity { FileIdentity(status) }
        var isSocket: Bool { status.st_mode & S_IFMT == S_IFSOCK }
        var isMarked: Bool { status.st_mode & 0o7777 == Self.mark }
        var user: uid_t { status.st_uid }
        /// Whether the effective user may write to it, and so connect to a socket.
        var isWritable: Bool { faccessat(AT_FDCWD, "/proc/self/fd/\(descriptor)", W_OK, AT_EACCESS) == 0 || errno != EACCES }
    }

    /// The owner of a socket file. Names are looked up already.
    struct Owner {
        /// `nil` leaves it as it is: that of the process.
        private let user: uid_t?
        private let group: gid_t?
        private let description: String

        init(_ config: UnixSocketConfig) throws(ListenError) {
            switch config.user {
            case .current: user = nil
            case .id(let id): user = id
            case .name(let name): user = try Self.number(of: name, address: config.path, key: "unix_socket_user", SystemAccounts.user)
            }
            switch config.group {
            case .current: group = nil
            case .id(let id): group = id
            case .name(let name): group = try Self.number(of: name, address: config.path, key: "unix_socket_group", SystemAccounts.group)
            }
            description = "user \(Self.text(config.user)) and group \(Self.text(config.group))"
        }

        func apply(to file: Entry, mode: UInt16, address: String) throws(ListenError) {
            try give(file.descriptor, address: address)
            // After the owner, because a change of owner may clear bits of the mode. The umask does not apply here.
            guard cfiles_set_mode(file.descriptor, mode_t(mode)) == 0 else {
                throw ListenError(address, "cannot set the mode of the socket: \(SystemError.text(errno))")
            }
        }

        /// Gives it a socket without a file, for which the same rights are needed.
        func tryOut(address: String) throws(ListenError) {
            let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { return }
            defer { close(descriptor) }
            try give(descriptor, address: address)
        }

        private func give(_ descriptor: CInt, address: String) throws(ListenError) {
            guard user != nil || group != nil else { return }
            // (uid_t)-1 leaves the user, (gid_t)-1 the group as it is (chown(2)).
            guard cfiles_set_owner(descriptor, user ?? .max, group ?? .max) == 0 else {
                let why = errno == EPERM ? "only root may do that, or a member of the group" : SystemError.text(errno)
                throw ListenError(
                    address, "cannot give the socket to \(description): \(why)", key: user != nil ? "unix_socket_user" : "unix_socket_group"
                )
            }
        }

        private static func text(_ principal: UnixSocketConfig.Principal) -> String {
            switch principal {
            case .current: "of the process"
            case .name(let name): name
            case .id(let id): "\(id)"
            }
        }

        private static func number(
            of name: String, address: String, key: String, _ lookUp: (String) throws(UnknownSystemAccount) -> UInt32
        ) throws(ListenError) -> UInt32 {
            do throws(UnknownSystemAccount) { return try lookUp(name) } catch { throw ListenError(address, error.description, key: key) }
        }
    }
}
