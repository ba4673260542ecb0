/// What `config.toml` says, before any of the files that it names is read.
public struct DecodedConfig: Equatable, Sendable {
    /// The configuration, defaults applied.
    public var config: Config
    /// The files that `config` needs, in order of their keys' positions; those of parts that are switched off are not among them.
    public var references: [FileReference]
    /// Where each given value stands.
    public var origin: ConfigOrigin
    /// Problems that stop nothing, in order of position.
    public var warnings: [ConfigProblem]
    /// Whether the file gives no key at all: all defaults at a start, a file still being written on a reload.
    public var isEmpty: Bool

    /// A configuration as decoded.
    public init(config: Config, references: [FileReference], origin: ConfigOrigin, warnings: [ConfigProblem], isEmpty: Bool) {
        self.config = config
        self.references = references
        self.origin = origin
        self.warnings = warnings
        self.isEmpty = isEmpty
    }
}
