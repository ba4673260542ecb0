import HTTP

/// A file that the configuration names, and its bytes at the moment when the configuration was read.
///
/// A configuration in use has the contents of every file that it names. A file that cannot be read is an error.
public struct FileContent: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// As configured, already resolved against the config file's folder.
    public var path: String
    /// The whole of the file.
    public var bytes: [UInt8]

    /// A file with these bytes.
    public init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }

    /// Only the path, because contents must not appear in messages.
    public var description: String { path }
    /// Only the path.
    public var debugDescription: String { path }
    /// Only the path.
    public var customMirror: Mirror { Mirror(self, children: ["path": path]) }
}

/// A file with secret contents: a private key, a password, a token. A file that every user may read causes a warning.
public struct SecretFile: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The file.
    public var content: FileContent
    /// As configured, already resolved against the config file's folder.
    public var path: String { content.path }
    /// The whole of the file.
    public var bytes: [UInt8] { content.bytes }

    /// A secret file with these bytes.
    public init(path: String, bytes: [UInt8]) { content = FileContent(path: path, bytes: bytes) }

    /// Only the path.
    public var description: String { path }
    /// Only the path.
    public var debugDescription: String { path }
}

extension [UInt8] {
    /// Without the line break that text editors add: LF, CR LF or CR.
    public var withoutFinalLineBreak: [UInt8] {
        let text = last == UInt8(ascii: "\n") ? dropLast() : self[...]
        return Array(text.last == UInt8(ascii: "\r") ? text.dropLast() : text)
    }
}

/// A password or token: never printed.
public enum Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    case literal(String)
    /// A final line break of the file does not count.
    case file(SecretFile)

    /// Whether both are the same bytes from the same place.
    public static func == (a: Secret, b: Secret) -> Bool {
        switch (a, b) {
        case (.literal(let text), .literal(let other)): text.hasSameBytes(as: other)
        case (.file(let file), .file(let other)): file == other
        default: false
        }
    }

    /// Never the secret, so that no log holds it.
    public var description: String { "<secret>" }
    /// Never the secret.
    public var debugDescription: String { description }
    /// Never the secret.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// The result of reading a file, for the decoder.
public struct FileReading: Sendable {
    /// The whole of the file.
    public var bytes: [UInt8]
    /// Whether its mode lets every user of the system read it.
    public var isReadableByOthers: Bool

    /// Makes a result from its parts.
    public init(bytes: [UInt8], isReadableByOthers: Bool = false) {
        self.bytes = bytes
        self.isReadableByOthers = isReadableByOthers
    }
}

/// Why a file could not be read.
public struct FileReadError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Lower case, without the path.
    public var description: String
    /// Whether the file is there and is only larger than allowed.
    public var isTooLarge: Bool

    /// A reason, in lower case and without the path.
    public init(_ description: String, isTooLarge: Bool = false) {
        self.description = description
        self.isTooLarge = isTooLarge
    }
}

/// A configuration with the contents of every file that it names, all read at one moment.
public struct LoadedConfig: Sendable, CustomStringConvertible, CustomReflectable {
    /// The configuration in the file.
    public var config: Config
    /// The position of each key, so that later problems (a port in use, an unknown user) can name their line.
    public var origin: ConfigOrigin
    /// Problems that do not stop a start or reload; for the log.
    public var warnings: [ConfigProblem]
    /// Every setting as it is written, for the log's description of changes.
    var settings: ConfigSettings

    /// A configuration and its origin.
    public init(config: Config, origin: ConfigOrigin, warnings: [ConfigProblem] = []) {
        self.init(config: config, origin: origin, warnings: warnings, settings: ConfigSettings())
    }

    init(config: Config, origin: ConfigOrigin, warnings: [ConfigProblem], settings: ConfigSettings) {
        self.config = config
        self.origin = origin
        self.warnings = warnings
        self.settings = settings
    }

    /// The file's name.
    public var description: String { origin.file }
    /// The configuration without anything that may be secret.
    public var customMirror: Mirror { Mirror(self, children: ["file": origin.file, "config": config, "warnings": warnings]) }
}

/// The origin of a configuration: the file's name, the position of each value, and the files that it names.
public struct ConfigOrigin: Equatable, Sendable {
    /// The config file, as it was named.
    public var file: String
    /// The position of each value given, by dotted key (`receiver.receiver_tcp_socket`, `poll_external.targets[0].url`).
    public var positions: [String: ConfigPosition]
    /// Each file that is in use, with the key that names it, in the order of the file.
    public var files: [NamedFile] = []
    /// Each path that is given, also of a file that is not in use, with its key.
    public var paths: [NamedPath] = []
    /// Each cipher suite and curve that is given, with its key, also in tables that are not in use.
    public var tlsNames: [NamedTLSName] = []
    /// The dotted key of each polled target: `poll_external.targets[0]`, `poll_external.other_scrape_endpoints[0]`.
    public var targets: [TargetURL: String] = [:]

    /// A file in use, and the dotted key that names it.
    public struct NamedFile: Equatable, Sendable {
        /// The dotted key.
        public var key: String
        /// What it names.
        public var content: FileContent
    }

    /// A path, and the dotted key that gives it.
    public struct NamedPath: Equatable, Sendable {
        /// The dotted key.
        public var key: String
        /// The path, already resolved against the config file's folder.
        public var path: String
    }

    /// The name of a cipher suite or curve, and the dotted key that gives it.
    public struct NamedTLSName: Equatable, Sendable {
        /// What the name is of.
        public enum Kind: Sendable {
            case cipherSuite
            case curve
        }

        /// The dotted key, with the name's place in the array.
        public var key: String
        /// What the name is of.
        public var kind: Kind
        /// As it is written.
        public var name: String
    }

    /// A file, and the positions of its values.
    public init(file: String, positions: [String: ConfigPosition] = [:]) {
        self.file = file
        self.positions = positions
    }

    /// A problem with `key`'s value; without a position when the key is at its default.
    public func problem(_ key: String, _ message: String, severity: ConfigProblem.Severity = .error) -> ConfigProblem {
        ConfigProblem(severity: severity, file: file, position: positions[key], key: key, message: message)
    }

    /// The first key in `table` that names the file at `path`.
    public func key(naming path: String, in table: String) -> String? {
        files.first { $0.content.path == path && $0.key.hasPrefix("\(table).") }?.key
    }
}

/// Paths as the config file names them.
enum ConfigPath {
    /// `path` itself if it is absolute, else below `folder`. Empty and `.` components are removed. `..` stays and links are not resolved,
    /// because a folder that is a link (a ConfigMap's `..data`) must be followed again each time.
    static func resolve(_ path: String, against folder: String) -> String {
        let whole = path.begins(with: "/") || folder.isEmpty ? path : "\(folder)/\(path)"
        let joined = whole.parts(at: "/").filter { !$0.isEmpty && $0 != "." }.joined(separator: "/")
        if whole.begins(with: "/") { return "/" + joined }
        return joined.isEmpty ? "." : joined
    }
}
