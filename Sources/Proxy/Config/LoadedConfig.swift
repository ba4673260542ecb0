/// A configuration together with the contents of every file that it names, all read at one moment.
public struct LoadedConfig: Sendable {
    /// What the file says.
    public var config: Config
    /// The contents of each file that `config` names, by the path in `config`.
    public var files: [String: [UInt8]]
    /// Which key names which file.
    public var references: [FileReference]
    /// Where each key stands, so that what goes wrong later (a busy port, an unknown user) can still name its line.
    public var origin: ConfigOrigin
    /// Problems that stop nothing; for the log.
    public var warnings: [ConfigProblem]

    /// A configuration with what was read for it.
    public init(
        config: Config, files: [String: [UInt8]] = [:], references: [FileReference] = [], origin: ConfigOrigin,
        warnings: [ConfigProblem] = []
    ) {
        self.config = config
        self.files = files
        self.references = references
        self.origin = origin
        self.warnings = warnings
    }
}

/// Where a configuration came from: the file's name, and where each key's value stands in it.
public struct ConfigOrigin: Equatable, Sendable {
    /// The config file, as it was named.
    public var file: String
    /// The position of each value given, by dotted key (`receiver.receiver_tcp_socket`, `poll_external.targets[0].url`).
    public var positions: [String: ConfigPosition]

    /// A file, and where its values stand.
    public init(file: String, positions: [String: ConfigPosition] = [:]) {
        self.file = file
        self.positions = positions
    }

    /// A problem with `key`'s value; without a position when the key is at its default.
    public func problem(_ key: String, _ message: String, severity: ConfigProblem.Severity = .error) -> ConfigProblem {
        ConfigProblem(severity: severity, file: file, position: positions[key], key: key, message: message)
    }
}

/// A file that the configuration names, for whoever reads them all.
public struct FileReference: Equatable, Sendable {
    /// The dotted key that names it.
    public var key: String
    /// The path, already resolved against the config file's folder.
    public var path: String

    /// One key and the path that it gives.
    public init(key: String, path: String) {
        self.key = key
        self.path = path
    }
}
