public import Proxy

/// Reads the configuration file and every file that it names.
public struct ConfigLoader: Sendable {
    /// The largest configuration file read, in bytes.
    public static let maxConfigSize = 1 << 20
    /// The largest certificate, key or password file read, in bytes; the system's whole CA bundle is a quarter of a megabyte.
    public static let maxFileSize = 8 << 20

    /// The configuration file, as it was named.
    public let file: String

    /// A loader of this file, which need not be there yet.
    public init(file: String) {
        self.file = file
    }

    /// The folder that relative paths in the file are relative to: as the file was named, symbolic links not resolved.
    public var folder: String {
        guard let slash = file.lastIndex(of: "/") else { return "." }
        return slash == file.startIndex ? "/" : String(file[..<slash])
    }

    /// Blocks: never call it on an event loop.
    /// - Throws: every problem found.
    public func load() throws(ConfigProblems) -> LoadedConfig {
        let text: [UInt8]
        do throws(FileReadError) {
            text = try readFile(file, limit: ConfigLoader.maxConfigSize)
        } catch {
            throw ConfigProblems([
                ConfigProblem(file: file, position: nil, key: nil, message: "cannot read the configuration file: \(error)")
            ])
        }
        let decoded = try ConfigDecoder(file: file, folder: folder).decode(text)
        var files: [String: [UInt8]] = [:]
        var problems: [ConfigProblem] = []
        for reference in decoded.references where files[reference.path] == nil {
            do throws(FileReadError) {
                files[reference.path] = try readFile(reference.path, limit: ConfigLoader.maxFileSize)
            } catch {
                problems.append(decoded.origin.problem(reference.key, "\(reference.key): cannot read \(reference.path): \(error)"))
            }
        }
        guard problems.isEmpty else { throw ConfigProblems(problems + decoded.warnings) }
        return LoadedConfig(
            config: decoded.config, files: files, references: decoded.references, origin: decoded.origin, warnings: decoded.warnings)
    }
}
