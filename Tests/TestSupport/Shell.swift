import Foundation
import Synchronization

/// How a program ended.
public enum ExitStatus: Equatable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)
}

/// A program that has ended, and what it printed.
public struct ProgramResult: Sendable {
    /// Its exit code, or the signal that ended it.
    public let status: ExitStatus
    /// Standard output.
    public let outputBytes: [UInt8]
    /// Standard error.
    public let errors: String

    /// Standard output as text.
    public var output: String { String(decoding: outputBytes, as: UTF8.self) }
    /// Whether it exited with 0.
    public var succeeded: Bool { status == .exited(0) }
}

/// A program started by a test. Its output goes to files, so that it never waits for a reader and can be read while it runs.
public final class RunningProgram: Sendable {
    /// Its process id, and that of its process group.
    public let pid: Int32

    private let name: String
    private let outputFile: String
    private let errorsFile: String
    /// `nil` until the program has been reaped: only so long is `pid` its own.
    private let status = Mutex<ExitStatus?>(nil)

    /// Starts `program` (found in `PATH`, or a path) in its own process group.
    /// - Parameters:
    ///   - input: standard input; `nil` is `/dev/null`.
    ///   - environment: added to the test's own.
    ///   - folder: holds the files of input and output.
    ///   - workingFolder: where it runs; `folder` when it is `nil`.
    public init(
        _ program: String, _ arguments: [String] = [], input: [UInt8]? = nil, environment: [String: String] = [:],
        folder: TemporaryFolder, workingFolder: String? = nil
    ) throws {
        let unique = UUID().uuidString
        name = program
        outputFile = folder.path("\(unique).out")
        errorsFile = folder.path("\(unique).err")
        let inputFile = try input.map { try folder.write("\(unique).in", $0) }

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, inputFile ?? "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, outputFile, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errorsFile, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        // Sockets of other tests must not live on in it. Closing what is not open is no error within the limit.
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        for descriptor in 3..<Int32(min(limit.rlim_cur, 1024)) { posix_spawn_file_actions_addclose(&actions, descriptor) }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for number in [SIGPIPE, SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, number) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

        let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        // env changes the folder and becomes the program: posix_spawn's own way is hidden from Swift.
        let command = ["env", "--chdir", workingFolder ?? folder.path, program] + arguments
        var argv = command.map { strdup($0) } + [nil]
        var envp = merged.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var child: pid_t = 0
        let error = posix_spawnp(&child, "env", &actions, &attributes, &argv, &envp)
        guard error == 0 else { throw ProgramNotStarted(description: "cannot start \(program): \(String(cString: strerror(error)))") }
        pid = child
    }

    /// Standard output so far.
    public var outputBytes: [UInt8] { FileManager.default.contents(atPath: outputFile).map { [UInt8]($0) } ?? [] }
    /// Standard error so far.
    public var errors: String { String(decoding: FileManager.default.contents(atPath: errorsFile) ?? Data(), as: UTF8.self) }
    /// How it ended; `nil` while it runs.
    public var exitStatus: ExitStatus? { status.withLock { reap(&$0) } }

    /// Sends a signal, unless it has ended.
    public func send(signal: Int32) {
        status.withLock { status in
            if reap(&status) == nil { _ = Foundation.kill(pid, signal) }
        }
    }

    /// Waits for its end.
    /// - Throws: `WaitTimedOut`; it is killed then.
    public func exit(within deadline: Duration = patience) async throws -> ProgramResult {
        do {
            let status = try await wait(for: "\(name) to end", within: deadline) { exitStatus }
            return ProgramResult(status: status, outputBytes: outputBytes, errors: errors)
        } catch {
            await end()
            throw error
        }
    }

    /// Kills it and all that it started, and waits until it is gone.
    public func end() async {
        status.withLock { status in
            // Its group outlives it when it left children behind.
            _ = Foundation.kill(-pid, SIGKILL)
            _ = reap(&status)
        }
        // SIGKILL cannot be refused; a cancelled test must not leave without having reaped it.
        while exitStatus == nil { await Task.yield() }
    }

    private func reap(_ status: inout ExitStatus?) -> ExitStatus? {
        if status != nil { return status }
        var raw: Int32 = 0
        guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
        let signal = raw & 0x7F
        status = signal == 0 ? .exited((raw >> 8) & 0xFF) : .killed(signal: signal)
        return status
    }
}

/// Thrown when a program could not be started at all.
public struct ProgramNotStarted: Error, CustomStringConvertible {
    /// Which program, and why.
    public let description: String
}

/// Runs a program to its end.
public func run(
    _ program: String, _ arguments: [String] = [], input: [UInt8]? = nil, environment: [String: String] = [:],
    workingFolder: String? = nil, within deadline: Duration = patience
) async throws -> ProgramResult {
    try await withTemporaryFolder { folder in
        let running = try RunningProgram(
            program, arguments, input: input, environment: environment, folder: folder, workingFolder: workingFolder)
        return try await running.exit(within: deadline)
    }
}

/// Runs a program as long as `body` does, then kills it.
public func withProgram<Result>(
    _ program: String, _ arguments: [String] = [], environment: [String: String] = [:], workingFolder: String? = nil,
    _ body: (RunningProgram) async throws -> Result
) async throws -> Result {
    try await withTemporaryFolder { folder in
        let running = try RunningProgram(program, arguments, environment: environment, folder: folder, workingFolder: workingFolder)
        do {
            let result = try await body(running)
            await running.end()
            return result
        } catch {
            await running.end()
            throw error
        }
    }
}

/// The folder of the checkout that these tests were built from.
public let checkout: String = {
    // Tests/TestSupport/Shell.swift is three steps down.
    var url = URL(fileURLWithPath: #filePath)
    for _ in 1...3 { url.deleteLastPathComponent() }
    return url.path
}()
