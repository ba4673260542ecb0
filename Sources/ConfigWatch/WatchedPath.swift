/// Everything that decides where a path leads: each directory on the way, with the symbolic links that are followed, and the file itself.
struct WatchedPath: Equatable {
    /// The directories on the way, with the names that are looked up in each.
    private(set) var directories: [FileIdentity: Directory] = [:]
    /// What the path leads to.
    private(set) var end: End = .missing

    struct Directory: Equatable {
        /// Without symbolic links, when it was resolved.
        let path: String
        var names: Set<String>
    }

    enum End: Equatable {
        /// A file that is not a directory: its path without symbolic links, and its identity.
        case file(path: String, FileIdentity)
        case directory
        /// A name on the way does not exist, is not a directory, or may not be looked up.
        case missing
        case tooManyLinks
    }

    /// As many symbolic links as Linux follows (path_resolution(7)).
    static let maximumLinks = 40

    private struct Place {
        let path: String
        let identity: FileIdentity

        func path(of name: String) -> String {
            path == "/" ? "/" + name : path + "/" + name
        }
    }

    /// Follows `path`, which is absolute, step by step as the kernel would.
    init(resolving path: String) {
        guard let status = FileStatus(of: "/") else { return }
        let root = Place(path: "/", identity: status.identity)
        var trail = [root]
        var pending = Self.names(in: path)
        var links = 0
        end = .directory
        while let name = pending.popLast() {
            if name == ".." {
                if trail.count > 1 { trail.removeLast() }
                continue
            }
            let here = trail.last ?? root
            directories[here.identity, default: Directory(path: here.path, names: [])].names.insert(name)
            let next = here.path(of: name)
            guard let status = FileStatus(of: next) else {
                end = .missing
                return
            }
            switch status.kind {
            case .directory:
                trail.append(Place(path: next, identity: status.identity))
            case .link:
                links += 1
                guard links <= Self.maximumLinks else {
                    end = .tooManyLinks
                    return
                }
                guard let target = System.target(ofLink: next) else {
                    end = .missing
                    return
                }
                if target.hasPrefix("/") { trail = [root] }
                pending += Self.names(in: target)
            case .file, .other:
                end = pending.isEmpty ? .file(path: next, status.identity) : .missing
                return
            }
        }
    }

    /// The names in a path, the last one first, without `.` and empty ones.
    private static func names(in path: String) -> [String] {
        path.utf8.split(separator: UInt8(ascii: "/")).reversed().compactMap { name in
            name.elementsEqual(".".utf8) ? nil : String(name)
        }
    }
}
