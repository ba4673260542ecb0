import ConfigWatch
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
    public var folder: String { FilePath(file).folder }

    /// Blocks: never call it on an event loop.
    /// - Throws: every problem found, in order of position, warnings among them.
    public func load() throws(ConfigProblems) -> LoadedConfig {
        try read().result.get()
    }

    /// The same, and what was read for it, good or not. Blocks.
    /// - Parameter again: whether a configuration runs already: a file without any key is then taken for one that is still being written.
    func read(isReload: Bool = false) -> ConfigReading {
        var reading = ConfigReading(result: .failure(ConfigProblems([])), files: [:])
        do throws(ConfigProblems) {
            var (loaded, problems, isEmpty) = try read(&reading.files)
            if isReload, isEmpty { problems.append(emptyFile) }
            guard !problems.holdError else { throw ConfigProblems(withPreparation(of: loaded, problems)) }
            reading.result = .success(loaded)
        } catch {
            reading.result = .failure(error)
        }
        return reading
    }

    /// What the file says, none of the files that it names read. Blocks.
    /// - Throws: every problem found, in order of position, warnings among them.
    public func decode() throws(ConfigProblems) -> LoadedConfig {
        var readings: [String: FileWatcher.Reading] = [:]
        return try ConfigDecoder(file: file, folder: folder).decode(text(&readings))
    }

    /// How long before its end `check` warns of a certificate.
    private static let renewalNotice = Duration.seconds(14 * 86_400)

    /// What a start would refuse or warn about, found without starting anything. Blocks.
    /// - Returns: errors and warnings in order of position; empty when all is well.
    public func check() -> [ConfigProblem] {
        do throws(ConfigProblems) {
            var files: [String: FileWatcher.Reading] = [:]
            let (loaded, problems, _) = try read(&files)
            return withPreparation(of: loaded, problems + StartCheck.problems(with: loaded), renewalNotice: ConfigLoader.renewalNotice)
        } catch {
            return error.problems
        }
    }

    /// The problems of the file and, where that can be told, those of what it asks for.
    /// - Parameter loaded: as far as it could be read.
    private func withPreparation(
        of loaded: LoadedConfig, _ problems: [ConfigProblem], renewalNotice: Duration = .zero
    ) -> [ConfigProblem] {
        var problems = problems
        do throws(ConfigProblems) {
            problems += try PreparedConfig(loaded, renewalNotice: renewalNotice).contexts.warnings
        } catch {
            // A key that has been found wrong already says no more by what follows from it.
            let known = Set(problems.filter { $0.severity == .error }.map(\.key))
            problems += error.problems.filter { !known.contains($0.key) }
        }
        return problems.inOrderOfPosition
    }

    private var emptyFile: ConfigProblem {
        ConfigProblem(
            file: file, position: nil, key: nil,
            message:
                "holds no key: taken for a file that is still being written; a key with its default, such as worker_threads, makes it whole"
        )
    }

    /// Reads the file, then the files that it names, even when something is wrong with it.
    /// - Parameter readings: gets what was read of each file, by path.
    /// - Throws: when there is no configuration to speak of.
    private func read(
        _ readings: inout [String: FileWatcher.Reading]
    ) throws(ConfigProblems) -> (loaded: LoadedConfig, problems: [ConfigProblem], isEmpty: Bool) {
        let named = Readings()
        defer { readings.merge(named.files) { $1 } }
        let decoder = ConfigDecoder(file: file, folder: folder) { path in
            let result = Result { () throws(FileReadError) in try readFile(path, limit: ConfigLoader.maxFileSize) }
            named.files[path] = FileWatcher.Reading(result)
            return result
        }
        return try decoder.examine(text(&readings))
    }

    /// What the decoder had read.
    private final class Readings {
        var files: [String: FileWatcher.Reading] = [:]
    }

    private func text(_ readings: inout [String: FileWatcher.Reading]) throws(ConfigProblems) -> FileReading {
        let result = Result { () throws(FileReadError) in try readFile(file, limit: ConfigLoader.maxConfigSize) }
        readings[file] = FileWatcher.Reading(result)
        do throws(FileReadError) {
            return try result.get()
        } catch {
            throw ConfigProblems([
                ConfigProblem(file: file, position: nil, key: nil, message: "cannot read the configuration file: \(error)")
            ])
        }
    }
}

/// What came of reading the configuration, and what to watch from then on.
struct ConfigReading: Sendable {
    var result: Result<LoadedConfig, ConfigProblems>
    /// The configuration file and every file that it names, by path, also when something is wrong with them: fixing one triggers a reload.
    var files: [String: FileWatcher.Reading]
}

extension FileWatcher.Reading {
    fileprivate init(_ result: Result<FileReading, FileReadError>) {
        switch result {
        case .success(let reading): self = .bytes(reading.bytes)
        case .failure(let error): self = error.isTooLarge ? .unknown : .unreadable
        }
    }
}
