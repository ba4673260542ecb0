import ArgumentParser
import Glibc

/// Which configuration file, as every command that reads one takes it.
struct ConfigOptions: ParsableArguments {
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "The configuration file. Without it: ./config.toml, then /etc/exporter-proxy/config.toml.", valueName: "path"),
        completion: .file(extensions: ["toml"]))
    var config: String?

    private static let defaults = ["./config.toml", "/etc/exporter-proxy/config.toml"]

    /// The file to read. A file that is named is taken as it is: whether it can be read is said where it is read.
    /// - Throws: when none is named and no default is there.
    func file() throws -> String {
        if let config { return config }
        // Only a file that is missing makes way for the next: one that cannot be read must not be passed over in silence.
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
