import ArgumentParser
import Glibc

/// The option for the configuration file, for every command that reads one.
struct ConfigOptions: ParsableArguments {
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "The configuration file. Without it: ./config.toml, then /etc/exporter-proxy/config.toml.", valueName: "path"),
        completion: .file(extensions: ["toml"]))
    var config: String?

    private static let defaults = ["./config.toml", "/etc/exporter-proxy/config.toml"]

    /// The file to read. A named file is returned without a check; reading it reports an error.
    /// - Throws: when no file is named and no default file exists.
    func file() throws -> String {
        if let config { return config }
        // The next file is used only if this one is missing: a file that cannot be read must not be skipped silently.
        guard let file = ConfigOptions.defaults.first(where: { access($0, F_OK) == 0 || errno != ENOENT }) else {
            throw NoConfigFile(
                description:
                    "no configuration file: neither ./config.toml nor /etc/exporter-proxy/config.toml is there; name one with --config PATH"
            )
        }
        return file
    }
}

struct NoConfigFile: Error, CustomStringConvertible {
    var description: String
}
