import Foundation

/// The built program, running with a configuration of its own in a folder of its own. Made by `withProxy`.
public struct ProxyProcess: Sendable {
    /// Holds `config.toml`, and `certs/` with the development certificates when they were asked for.
    public let folder: TemporaryFolder
    /// The program itself: its log, its end.
    public let program: RunningProgram
    /// `HOST:PORT` of the scrape listeners, in the order in which they were logged.
    public let scrapeAddresses: [String]
    /// `HOST:PORT` of the TCP receiver.
    public let tcpAddress: String?
    /// The path of the receiving Unix socket.
    public let unixSocket: String?
    /// `HOST:PORT` of the HTTP receiver.
    public let httpAddress: String?

    /// `HOST:PORT` of the first scrape listener.
    public var scrape: String { scrapeAddresses[0] }
    /// The port of the first scrape listener.
    public var scrapePort: String { port(of: scrape) }
    /// `HOST:PORT` of the HTTP receiver; empty without one.
    public var pushes: String { httpAddress ?? "" }
    /// The port of the TCP receiver; empty without one.
    public var tcpPort: String { tcpAddress.map(port(of:)) ?? "" }
    /// What it logged so far.
    public var log: String { program.errors }
    /// The development authority's certificate.
    public var caFile: String { folder.path("certs/ca.pem") }

    private func port(of address: String) -> String { address.split(separator: ":").last.map(String.init) ?? "" }

    /// Where the built program lies: beside the running test bundle, unless the environment variable `EXPORTER_PROXY` names another.
    public static let executable: String = {
        if let named = ProcessInfo.processInfo.environment["EXPORTER_PROXY"] { return named }
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("exporter-proxy").path
    }()

    /// Puts the development certificates (`certs/make`) into `certs/` of the folder.
    public static func makeCertificates(in folder: TemporaryFolder) async throws {
        let made = try await run("\(checkout)/certs/make", ["--into", folder.path("certs")])
        guard made.succeeded else { throw ProxyFailed(description: "certs/make: \(made.errors)") }
    }
}

/// Thrown when the program ended before it listened, or a test with it failed.
public struct ProxyFailed: Error, CustomStringConvertible {
    /// What went wrong, and the log.
    public let description: String
}

/// Runs `body` with the built program listening as `config` says, and kills the program afterwards.
/// - Parameters:
///   - config: the text of `config.toml`, with port 0 for each address and paths relative to the folder.
///   - certificates: whether `certs/` of the folder holds the development certificates.
///   - configFile: where the configuration lies in the folder.
///   - wrapper: a program and its arguments that becomes the proxy, such as `prlimit`.
///   - prepare: puts further files into the folder before the start.
public func withProxy<Result>(
    _ config: String, configFile: String = "config.toml", arguments: [String] = [], environment: [String: String] = [:],
    certificates: Bool = false, wrapper: [String] = [],
    prepare: (TemporaryFolder) async throws -> Void = { _ in },
    _ body: (ProxyProcess) async throws -> Result
) async throws -> Result {
    try await Places.proxies.hold {
        try await withTemporaryFolder { folder in
            if certificates { try await ProxyProcess.makeCertificates(in: folder) }
            try await prepare(folder)
            try folder.write(configFile, config)
            let command = wrapper + [ProxyProcess.executable] + arguments + ["--config", folder.path(configFile)]
            let program = try RunningProgram(command[0], Array(command.dropFirst()), environment: environment, folder: folder)
            do {
                let proxy = try await listening(program, config: config, folder: folder)
                let result = try await body(proxy)
                await program.end()
                return result
            } catch {
                await program.end()
                throw ProxyFailed(description: "\(error); the proxy's log:\n\(program.errors)")
            }
        }
    }
}

/// Runs the program in a folder with `config.toml` until it ends by itself, for starts that must fail.
public func runProxy(
    _ config: String, arguments: [String] = ["--config", "config.toml"], certificates: Bool = false,
    prepare: (TemporaryFolder) async throws -> Void = { _ in }
) async throws -> ProgramResult {
    try await withTemporaryFolder { folder in
        if certificates { try await ProxyProcess.makeCertificates(in: folder) }
        try await prepare(folder)
        try folder.write("config.toml", config)
        let program = try RunningProgram(ProxyProcess.executable, arguments, folder: folder)
        return try await program.exit()
    }
}

/// Waits until the log names every listener that the configuration asks for.
private func listening(_ program: RunningProgram, config: String, folder: TemporaryFolder) async throws -> ProxyProcess {
    // Each address is in quotes.
    let addresses = config.split(separator: "\n").first { $0.hasPrefix("scrape_expose_endpoint") }
    let wantsScrape = max(1, (addresses?.count { $0 == "\"" } ?? 0) / 2)
    let wantsTCP = config.contains("receive_on_tcp_socket = true")
    let wantsHTTP = config.contains("receive_on_http_socket = true")
    let wantsUnix = config.contains("receive_on_unix_socket = true")
    return try await wait(for: "the proxy to listen") {
        // Asked first: what it logged before its end is complete then.
        let ended = program.exitStatus
        let listeners = Listener.all(in: program.errors)
        let scrape = listeners.filter { $0.kind.contains("scrape") }.map(\.address)
        let tcp = listeners.first { $0.kind.contains("tcp") }?.address
        let unix = listeners.first { $0.kind.contains("unix") }?.address
        let http = listeners.first { $0.kind.contains("http") }?.address
        if scrape.count >= wantsScrape, !wantsTCP || tcp != nil, !wantsUnix || unix != nil, !wantsHTTP || http != nil {
            return ProxyProcess(
                folder: folder, program: program, scrapeAddresses: scrape, tcpAddress: tcp, unixSocket: unix, httpAddress: http)
        }
        if let ended { throw ProxyFailed(description: "the proxy ended with \(ended)") }
        return nil
    }
}

/// One `listening` line of the log.
private struct Listener {
    var address: String
    var kind: String

    static func all(in log: String) -> [Listener] {
        // A last line without its newline is still being written.
        log.split(separator: "\n", omittingEmptySubsequences: false).dropLast().compactMap { line in
            guard line.contains(" listening"), let address = value(of: "listener", in: line), let kind = value(of: "kind", in: line)
            else {
                return nil
            }
            return Listener(address: address, kind: kind)
        }
    }

    private static func value(of key: String, in line: Substring) -> String? {
        line.split(separator: " ").first { $0.hasPrefix("\(key)=") }.map {
            $0.dropFirst(key.count + 1).trimmingCharacters(in: CharacterSet(charactersIn: "\""))
        }
    }
}
