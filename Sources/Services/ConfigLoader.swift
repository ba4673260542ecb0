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

    /// Reads as `load` does, and returns the contents of every file for the watcher, also when there are errors. Blocks.
    /// - Parameter isReload: whether a configuration runs already. A file without any key is then an error, because it may be incomplete.
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

    /// Decodes the configuration file alone: the files that it names are not read. Blocks.
    /// - Throws: every problem found, in order of position, warnings among them.
    public func decode() throws(ConfigProblems) -> LoadedConfig {
        var readings: [String: FileWatcher.Reading] = [:]
        return try ConfigDecoder(file: file, folder: folder).decode(text(&readings))
    }

    /// Finds what a start would refuse or warn about, without starting anything. Blocks.
    /// - Parameter holders: the processes that hold sockets, if this user may not see them.
    /// - Returns: errors and warnings in order of position, as many as are shown.
    public func check(_ holders: SocketHolders? = nil) -> [ConfigProblem] {
        do throws(ConfigProblems) {
            var files: [String: FileWatcher.Reading] = [:]
            let (loaded, problems, _) = try read(&files)
            let found = withPreparation(of: loaded, problems, renewalNotice: .certificateNotice)
            // Of a key with an error, `loaded` has the default, which the file does not ask for.
            let refused = Set(found.filter { $0.severity == .error }.map(\.keyWithoutIndex))
            let others = StartCheck.problems(with: loaded, holders).filter { !refused.contains($0.keyWithoutIndex) }
            return (found + others).inOrderOfPosition.limited
        } catch {
            return error.problems.limited
        }
    }

    /// Adds the problems of the files and accounts that the configuration names, as far as they can be found.
    /// - Parameter loaded: the configuration, or the part of it that could be read.
    private func withPreparation(
        of loaded: LoadedConfig, _ problems: [ConfigProblem], renewalNotice: Duration = .zero
    ) -> [ConfigProblem] {
        var problems = problems
        do throws(ConfigProblems) {
            problems += try PreparedConfig(loaded, renewalNotice: renewalNotice).contexts.warnings
        } catch {
            // Report one error for each key: later ones follow from the first.
            let known = Set(problems.filter { $0.severity == .error }.map(\.key))
            problems += error.problems.filter { !known.contains($0.key) }
        }
        return problems.inOrderOfPosition
    }

    private var emptyFile: ConfigProblem {
        ConfigProblem(
            file: file, position: nil, key: nil,
            message:
                "has no keys, so it may be incomplete; to run with the defaults, write one key, such as self_metrics = true in [exporter]"
        )
    }

    /// Reads the file, then the files that it names, even when something is wrong with it.
    /// - Parameter readings: gets the contents of each file, by path.
    /// - Throws: when nothing could be decoded.
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

    /// The files that the decoder has read.
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

extension ConfigProblem {
    /// `exporter.scrape_expose_endpoint` for each address in it.
    fileprivate var keyWithoutIndex: Substring? { key?.prefix { $0 != "[" } }
}

/// The result of reading the configuration, and the files to watch from then on.
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
