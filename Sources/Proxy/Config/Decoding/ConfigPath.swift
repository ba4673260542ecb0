/// Paths as the config file names them.
enum ConfigPath {
    /// `path` itself when absolute, else below `folder`. Empty and `.` components go; `..` stays and links are not resolved, for a
    /// folder that is a link (a ConfigMap's `..data`) must be followed anew each time.
    static func resolve(_ path: String, against folder: String) -> String {
        let whole = path.hasPrefix("/") || folder.isEmpty ? path : "\(folder)/\(path)"
        let components = whole.split(separator: "/").filter { $0 != "." }
        let joined = components.joined(separator: "/")
        if whole.hasPrefix("/") { return "/" + joined }
        return joined.isEmpty ? "." : joined
    }
}
